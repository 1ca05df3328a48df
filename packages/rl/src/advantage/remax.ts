import type { Annotator } from '../annotator.js';
import { groupsOf } from '../rollout.js';
import type { Advantage } from './advantage.js';

/**
 * The advantage of ReMax (arXiv 2310.10505): A_i = r_i - r(greedy completion of the same prompt), a baseline that does not
 * depend on the completion and so leaves the gradient unbiased, with one completion a prompt (SCST, arXiv 1612.00563, is the
 * same). It needs `baseline`, which `greedyBaseline()` gives.
 */
export function reMax(): Advantage {
  return {
    name: 'remax',
    settings: {},
    needs: ['baseline'],
    compute: (rollouts) =>
      rollouts.map(({ reward, baseline }) => {
        const advantage = (reward ?? Number.NaN) - baseline!;
        // Either is not scorable.
        return Number.isNaN(advantage) ? 0 : advantage;
      }),
  };
}

/** Gives every rollout the reward of the greedy completion of its prompt as its `baseline`: one more completion a prompt. */
export function greedyBaseline(): Annotator {
  return {
    name: 'greedy-baseline',
    settings: {},
    gives: ['baseline'],
    async annotate(rollouts, { sample, score }) {
      const groups = groupsOf(rollouts);
      const greedy = await sample(groups.map(([rollout]) => ({ rollout: rollout!, sampling: { temperature: 0 } })));
      const scored = await score(greedy.map(([rollout]) => rollout!));
      const rewards = new Map(scored.map(({ group, reward }) => [group, reward ?? Number.NaN]));
      return rollouts.map((rollout) => ({ ...rollout, baseline: rewards.get(rollout.group)! }));
    },
  };
}
