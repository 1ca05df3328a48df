import { PosttrainError } from '@posttrain/interfaces';
import { episodeEnds, type Rollout } from '../rollout.js';
import type { Advantage } from './advantage.js';

/**
 * Advantages where an episode may have several rollouts, as its history was rewritten (H36): it counts once in every mean, and all its
 * rollouts have its advantage. Of an advantage of tokens each rollout has its own.
 *
 * @throws PosttrainError OBJECTIVE for an advantage of rollouts that gives one number a token
 */
export function advantagesPerEpisode(
  advantage: Advantage,
  rollouts: readonly Rollout[],
): readonly (number | ArrayLike<number>)[] {
  const ends = episodeEnds(rollouts);
  if (ends.length === rollouts.length || advantage.level === 'token') return advantage.compute(rollouts);
  const own = advantage.compute(ends.map((i) => rollouts[i]!));
  const place = new Map(
    ends.map((i, order) => [`${rollouts[i]!.group} ${rollouts[i]!.episode ?? `alone ${i}`}`, order]),
  );
  return rollouts.map(({ group, episode }, i) => {
    const value = own[place.get(`${group} ${episode ?? `alone ${i}`}`)!]!;
    if (typeof value === 'number' || ends.includes(i)) return value;
    const problem = `the advantage ${advantage.name} has one number a token, and an episode has several rollouts (its history was rewritten)`;
    throw new PosttrainError('OBJECTIVE', `${problem}; take one of a number for each, or refuse forks`);
  });
}
