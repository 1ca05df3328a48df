import type { Key } from '@posttrain/core-tensor';
import type { NumericEnvironment } from '../rollout/numeric-environment.js';
import type { NumericPolicy } from '../rollout/play.js';
import { checkPolicy, type FiniteMdp, MdpError, type PolicyTable } from './finite-mdp.js';

/** Which of several a draw between 0 and 1 falls on. */
function pick(probabilities: readonly number[], draw: number): number {
  let left = draw;
  const found = probabilities.findIndex((p) => {
    left -= p;
    return left < 0;
  });
  // Rounding: the last one that is possible.
  return found < 0 ? probabilities.findLastIndex((p) => p > 0) : found;
}

const drawOf = (key: Key): number => key.uniformHost(1)[0]!;

/**
 * An MDP as a world to act in, for `play` and whatever else takes episodes: what is seen is the number of the state. γ is no part of it.
 */
export function mdpEnvironment(mdp: FiniteMdp): NumericEnvironment {
  return {
    name: `mdp(${mdp.name})`,
    observationSize: 1,
    actions: { kind: 'discrete', count: mdp.actions },
    start({ key }) {
      let state: number | null = pick(mdp.start, drawOf(key.child(0)));
      let steps = 0;
      return {
        observation: [state],
        step(action) {
          if (state === null) throw new MdpError(mdp.name, 'the episode is over');
          if (typeof action !== 'number') throw new MdpError(mdp.name, 'an action is one number');
          const outcomes = mdp.outcomes(state, action);
          steps += 1;
          const chances = outcomes.map(({ probability }) => probability);
          const { next, reward } = outcomes[pick(chances, drawOf(key.child(steps)))]!;
          state = next;
          return { observation: [next ?? -1], reward, terminated: next === null };
        },
      };
    },
  };
}

/** A table as a policy of `mdpEnvironment`, which draws its actions. @throws MdpError for a table that is none of this MDP */
export function tablePolicy(mdp: FiniteMdp, policy: PolicyTable): NumericPolicy {
  checkPolicy(mdp, policy);
  return {
    name: 'table',
    act: (episodes, keys) =>
      episodes.map(({ observations }, i) => pick(policy[observations.at(-1)![0]!]!, drawOf(keys[i]!))),
  };
}
