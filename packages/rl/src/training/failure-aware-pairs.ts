import { custom, type Given, integer, number, options } from '@posttrain/interfaces';
import type { PromptRow, Rewards } from '../rewards/reward.js';
import { isRewards, REWARDS, rewardSettings, weightedRewardsOf } from '../rewards/score-completions.js';
import type { SampledRollout } from '../rollout.js';
import { completionMetrics, meanOf, promptFeed, promptsShape } from './judged-prompts.js';
import { preferredPair } from './online-pairs.js';
import { scoringOption } from './policy-options.js';
import type { PreferenceSource } from './preference-source.js';
import { scoreRollouts } from './rollouts.js';

const failureAwareOptions = options('failureAwarePairs', {
  ...promptsShape,
  /** What scores completions. */
  rewards: custom<Rewards<PromptRow>>()(REWARDS, isRewards, { settings: rewardSettings }),
  /** Completions of each prompt, of which a failure is sought. Default 4. */
  completionsPerPrompt: integer({ default: 4, min: 2 }),
  /** A completion whose reward is below this is a failure, any other a success. Default 0.5. */
  threshold: number({ default: 0.5 }),
  ...scoringOption,
});
/** Options of `failureAwarePairs`. */
export type FailureAwarePairsOptions = Given<typeof failureAwareOptions>;

/**
 * Failure-aware negatives: of the policy's own completions of a prompt that fail, the one that it holds likeliest, mean log π of its tokens,
 * is rejected for the success that it holds unlikeliest. These are the hard negatives of the policy as it is; prompts that are made harder on
 * purpose are rows like others (`map` of `data`). Prompts of which all completions succeed or all fail are left out, and counted in
 * `frac_undecided`. Metrics: `objective/scores`, `frac_failures`, and those of what was sampled.
 *
 * @throws OptionError, PromptRowError before the first step; RewardError
 */
export function failureAwarePairs(given: FailureAwarePairsOptions): PreferenceSource {
  const settings = failureAwareOptions.read(given);
  const { rewards, scoring = {}, completionsPerPrompt: n, threshold } = settings;
  weightedRewardsOf(rewards);
  const feed = promptFeed('failureAwarePairs', settings);
  return {
    name: 'failure-aware-pairs',
    settings: failureAwareOptions.settings(given),
    begin: feed.begin,
    async next(request) {
      const { count, step, signal } = request;
      const sampled = await feed.sample(request, { completionsPerPrompt: n });
      const all = await scoreRollouts(sampled, { rewards, scoring, step, signal });
      const known = all.filter(({ reward }) => reward !== null);
      const isFailure = ({ reward }: (typeof all)[number]) => reward! < threshold;
      const rows = Array.from({ length: count }, (_, group) => {
        const own = known.filter((one) => one.group === group);
        const [failures, successes] = [own.filter(isFailure), own.filter((one) => !isFailure(one))];
        if (failures.length === 0 || successes.length === 0) return undefined;
        return preferredPair([likeliest(successes, -1), likeliest(failures, 1)], 1);
      }).filter((pair) => pair !== undefined);
      return {
        rows,
        metrics: {
          ...(known.length > 0 && {
            'objective/scores': meanOf(known.map(({ reward }) => reward!)),
            frac_failures: known.filter(isFailure).length / known.length,
          }),
          ...completionMetrics(sampled),
          frac_undecided: 1 - rows.length / count,
        },
      };
    },
  };
}

/** Of several completions the one that the policy holds likeliest a token, or with sign -1 unlikeliest; of equal ones the first. */
function likeliest<R extends SampledRollout>(rollouts: readonly R[], sign: 1 | -1): R {
  const worth = ({ samplerLogProbs }: R) => sign * meanOf(Array.from(samplerLogProbs!));
  return rollouts.reduce((a, b) => (worth(b) > worth(a) ? b : a));
}
