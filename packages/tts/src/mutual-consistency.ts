import type { Prompt } from '@posttrain/interfaces';
import type { Random } from '@posttrain/interfaces/random';
import type { Search } from './search.js';
import type { SearchNode } from './search-node.js';

/** A whole solution that a second model is to judge. */
export interface Trajectory {
  readonly node: SearchNode;
  readonly text: string;
  readonly answer: string;
  readonly reward: number;
}

/** How many of the completions of a trajectory's beginnings must come to its answer: one, half of them (rounded down), or all. */
export const CONSISTENCIES = ['loose', 'mid', 'strict'] as const;
export type Consistency = (typeof CONSISTENCIES)[number];

export interface MutualConsistency {
  /** The second model's prompt. Default: the problem's. */
  readonly prompt?: Prompt | undefined;
  /** Beginnings of each trajectory. */
  readonly masks: number;
  readonly consistency: Consistency;
  readonly random: Random;
}

/**
 * The discriminator of rStar (arXiv 2408.06195 §3.3): of each trajectory a second model (`generators.discriminator`) is given a beginning of 20 to
 * 80 % of its words, and completes it; the trajectory is consistent where it comes to the same answer.
 *
 * @returns the trajectories that both models agree on
 */
export async function consistentTrajectories(
  search: Search,
  trajectories: readonly Trajectory[],
  { prompt, masks, consistency, random }: MutualConsistency,
): Promise<Trajectory[]> {
  const begun = trajectories.map(({ text }) => {
    const words = text.split(/(?<=\s)/);
    return Array.from({ length: masks }, () =>
      words.slice(0, Math.ceil(words.length * (0.2 + 0.6 * random.float()))).join(''),
    );
  });
  const agreed = await Promise.all(
    trajectories.map(async ({ node, answer }, i) => {
      const completed = await Promise.all(
        begun[i]!.map((prefix) =>
          // Of its own, so that its text is the beginning and what comes after.
          search.expand(search.merge([node], { operation: 'mask' }, prefix), {
            ...{ n: 1, role: 'discriminator' },
            ...(prompt !== undefined && { prompt, prefix }),
          }),
        ),
      );
      const found = completed.flat();
      for (const { node } of found) node.reason = 'a completion of the discriminator';
      return found.filter((it) => it.answer === answer).length;
    }),
  );
  const needed = { loose: 1, mid: Math.max(1, Math.floor(masks / 2)), strict: masks }[consistency];
  return trajectories.filter((_, i) => agreed[i]! >= needed);
}

/**
 * The score of each answer as the authors' code adds it: of consistent trajectories F and all trajectories U
 *
 *   score(a) = Σ over F with answer a of reward / |F| + |F with a| / |U with a|
 *
 * and, where none is consistent, Σ over U with answer a of reward / |U|.
 */
export function consistencyScores(all: readonly Trajectory[], consistent: readonly Trajectory[]): Map<string, number> {
  const among = consistent.length > 0 ? consistent : all;
  const scores = new Map<string, number>();
  for (const { answer, reward } of among) scores.set(answer, (scores.get(answer) ?? 0) + reward / among.length);
  if (consistent.length === 0) return scores;
  const count = (list: readonly Trajectory[], answer: string) => list.filter((it) => it.answer === answer).length;
  for (const [answer, score] of scores) scores.set(answer, score + count(consistent, answer) / count(all, answer));
  return scores;
}
