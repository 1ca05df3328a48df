import { type Given, number, options } from '@posttrain/interfaces';
import { geometricMixture } from '@posttrain/lm';
import type { TokenizedCompletion } from '../preference/unpaired-rows.js';
import type { PromptRow } from '../rewards/reward.js';
import {
  completionMetrics,
  type JudgedOptions,
  judgedShape,
  judgedSource,
  preferencesOf,
  SECOND_SPEAKER,
} from './judged-prompts.js';
import type { PreferenceSource } from './preference-source.js';

const nashMdOptions = options('nashMdCompletions', {
  ...judgedShape,
  /** α: the reference's share of the opponent; TRL's `mixture_coef`. 0: the policy plays against itself. Default 0.5. */
  mixtureCoef: number({ default: 0.5, min: 0, max: 1 }),
});

/** Options of `nashMdCompletions`. */
export type NashMdCompletionsOptions<Row extends PromptRow = PromptRow> = JudgedOptions<
  Given<typeof nashMdOptions>,
  Row
>;

/**
 * The completions of Nash-MD (arXiv 2312.00886, algorithm 1), for `preferenceLosses.nash_md()`: one of the policy for each prompt, with the
 * probability that it is better than one of the opponent, the geometric mixture π^(1-α) π_ref^α token by token. With rewards that
 * probability is σ of their difference, as in TRL; of a judge what it says, or 1, 0 and for a tie ½. What is not said is left out, and counted in
 * `frac_undecided`. Metrics: those of `onlinePairs`, of both.
 *
 * @throws OptionError, PromptRowError before the first step; RewardError; what the judge throws
 */
export function nashMdCompletions<Row extends PromptRow = PromptRow>(
  given: NashMdCompletionsOptions<Row>,
): PreferenceSource {
  const { settings, feed, members } = judgedSource(nashMdOptions, given);
  return {
    ...{ name: 'nash-md-completions', ...members },
    async next(request) {
      const own = await feed.sample(request, { completionsPerPrompt: 1 });
      const mix = geometricMixture({ other: feed.referenceOf(request), alpha: settings.mixtureCoef });
      const key = request.key.child(SECOND_SPEAKER);
      const others = await feed.sample(request, { completionsPerPrompt: 1, mix, key });
      const couples = own.map((rollout, i) => [rollout, others[i]!] as const);
      const { preferences, scores, metrics } = await preferencesOf('nashMdCompletions', settings, couples, request);
      const rows = own.flatMap(({ promptTokens, completionTokens }, i): TokenizedCompletion[] => {
        const difference = preferences[i]!;
        if (difference === null) return [];
        const preference = scores ? 1 / (1 + Math.exp(-difference)) : (difference + 1) / 2;
        return [{ promptTokens, completionTokens, desirable: preference > 0.5, columns: { preference } }];
      });
      const undecided = { frac_undecided: 1 - rows.length / request.count };
      return { rows, metrics: { ...metrics, ...completionMetrics([...own, ...others]), ...undecided } };
    },
  };
}
