import { type Given, options } from '@posttrain/interfaces';
import type { TokenizedPair } from '../preference/preference-loss.js';
import type { PromptRow } from '../rewards/reward.js';
import type { SampledRollout } from '../rollout.js';
import { completionMetrics, type JudgedOptions, judgedShape, judgedSource, preferencesOf } from './judged-prompts.js';
import type { PreferenceSource } from './preference-source.js';

const onlinePairsOptions = options('onlinePairs', judgedShape);

/** Options of `onlinePairs`. */
export type OnlinePairsOptions<Row extends PromptRow = PromptRow> = JudgedOptions<
  Given<typeof onlinePairsOptions>,
  Row
>;

/**
 * Online DPO (OAIF, arXiv 2402.04792): in every step the policy samples two completions of each prompt, rewards or a judge say which
 * is better, and the loss of `trainPreferences` trains on the pairs, whose tokens are those that were sampled. Pairs of which none is
 * better are left out (TRL's OnlineDPOTrainer takes the first). Metrics, under TRL's names: `objective/scores` and
 * `objective/scores_margin` where there are rewards, `val/contain_eos_token`; and `completions/mean_length`, `frac_undecided`.
 *
 * @throws OptionError, PromptRowError before the first step; RewardError; what the judge throws
 */
export function onlinePairs<Row extends PromptRow = PromptRow>(given: OnlinePairsOptions<Row>): PreferenceSource {
  const { settings, feed, members } = judgedSource(onlinePairsOptions, given);
  return {
    ...{ name: 'online-pairs', ...members },
    async next(request) {
      const rollouts = await feed.sample(request, { completionsPerPrompt: 2 });
      const couples = Array.from(
        { length: request.count },
        (_, i) => [rollouts[2 * i]!, rollouts[2 * i + 1]!] as const,
      );
      const { preferences, metrics } = await preferencesOf('onlinePairs', settings, couples, request);
      const rows = couples.flatMap((couple, i) => preferredPair(couple, preferences[i]!) ?? []);
      const undecided = { frac_undecided: 1 - rows.length / request.count };
      return { rows, metrics: { ...metrics, ...completionMetrics(rollouts), ...undecided } };
    },
  };
}

type Sampled = Pick<SampledRollout, 'promptTokens' | 'completionTokens'>;

/** The pair of two completions. @param preference above 0: the first is better; below: the second; 0 or null: neither */
export function preferredPair(
  [first, second]: readonly [Sampled, Sampled],
  preference: number | null,
): TokenizedPair | undefined {
  if (preference === null || preference === 0) return undefined;
  const [chosen, rejected] = preference > 0 ? [first, second] : [second, first];
  return {
    promptTokens: first.promptTokens,
    chosenTokens: chosen.completionTokens,
    rejectedTokens: rejected.completionTokens,
  };
}
