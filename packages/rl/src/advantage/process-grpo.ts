import { type Given, integer, listOf, options } from '@posttrain/interfaces';
import { groupsOf, type Rollout, trainedTokens } from '../rollout.js';
import { type Advantage, nanMean, nanStd, STD_EPSILON } from './advantage.js';

export const processGrpoShape = {
  /** Token ids that end a step of reasoning: a line break. A completion's last token always does. */
  stepTokens: listOf(integer({ min: 0 }), {}),
};
const processGrpoOptions = options('processGrpo', processGrpoShape);
/** Options of `processGrpo`. */
export type ProcessGrpoOptions = Given<typeof processGrpoOptions>;

interface Step {
  /** Index of its last token. */
  readonly end: number;
  readonly reward: number;
}

/** What each step was paid: the rewards of its tokens, and with the last one the completion's own. */
function stepsOf({ completionTokens, mask, tokenRewards, reward }: Rollout, stepTokens: ReadonlySet<number>): Step[] {
  if (reward === null) return [];
  const trained = trainedTokens({ completionTokens, ...(mask && { mask }) });
  const last = trained.lastIndexOf(1);
  const steps: Step[] = [];
  let paid = 0;
  for (let t = 0; t <= last; t++) {
    paid += tokenRewards?.[t] ?? 0;
    if (t !== last && !(trained[t] && stepTokens.has(completionTokens[t]!))) continue;
    steps.push({ end: t, reward: t === last ? paid + reward : paid });
    paid = 0;
  }
  return steps;
}

/**
 * GRPO with process supervision (DeepSeekMath, arXiv 2402.03300, § 4.1.3): rewards of steps are normalised over all steps of all completions of a
 * prompt, r̃ = (r - mean) / (std + 1e-4), and a token's advantage is the sum of r̃ over the steps that end at it or later. `tokenRewards` come of
 * `stepRewards`; with one step a completion this is `groupNormalized()`.
 *
 * @throws OptionError
 */
export function processGrpo(given: ProcessGrpoOptions): Advantage {
  const ends = new Set(processGrpoOptions.read(given).stepTokens);
  return {
    name: 'process-grpo',
    settings: processGrpoOptions.settings(given),
    needsGroup: true,
    needs: ['tokenRewards'],
    compute(rollouts) {
      const advantages = rollouts.map(({ completionTokens }) => completionTokens.map(() => 0));
      for (const group of groupsOf(rollouts.map((rollout, i) => ({ i, group: rollout.group })))) {
        const own = group.map(({ i }) => ({ i, steps: stepsOf(rollouts[i]!, ends) }));
        const rewards = own.flatMap(({ steps }) => steps.map(({ reward }) => reward));
        if (rewards.length < 2) continue;
        const [mean, std] = [nanMean(rewards), nanStd(rewards)];
        for (const { i, steps } of own) {
          for (const { end, reward } of steps) {
            for (let t = 0; t <= end; t++) advantages[i]![t]! += (reward - mean) / (std + STD_EPSILON);
          }
        }
      }
      return advantages;
    },
  };
}
