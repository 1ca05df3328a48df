import { type Given, options } from '@posttrain/interfaces';
import type { PromptRow } from '../rewards/reward.js';
import {
  completionMetrics,
  type JudgedOptions,
  judgedShape,
  judgedSource,
  meanOf,
  preferencesOf,
  SECOND_SPEAKER,
} from './judged-prompts.js';
import { preferredPair } from './online-pairs.js';
import type { PreferenceSource } from './preference-source.js';

const xpoPairsOptions = options('xpoPairs', judgedShape);

/** Options of `xpoPairs`. */
export type XpoPairsOptions<Row extends PromptRow = PromptRow> = JudgedOptions<Given<typeof xpoPairsOptions>, Row>;

/**
 * The pairs of XPO (arXiv 2405.21046, algorithm 1), for `preferenceLosses.xpo()`: of each prompt a completion of the policy and one of
 * the reference, of which rewards or a judge say which is better; the column `is_reference_chosen` says whose it is. Pairs of which none
 * is better are left out (TRL's XPOTrainer takes the policy's). Metrics: `objective/model_scores` and `objective/ref_scores` where there
 * are rewards, and those of `onlinePairs`, of both.
 *
 * @throws OptionError, PromptRowError before the first step; RewardError; what the judge throws
 */
export function xpoPairs<Row extends PromptRow = PromptRow>(given: XpoPairsOptions<Row>): PreferenceSource {
  const { settings, feed, members } = judgedSource(xpoPairsOptions, given);
  return {
    ...{ name: 'xpo-pairs', ...members },
    async next(request) {
      const own = await feed.sample(request, { completionsPerPrompt: 1 });
      const key = request.key.child(SECOND_SPEAKER);
      const others = await feed.sample(request, { completionsPerPrompt: 1, from: feed.referenceOf(request), key });
      const couples = own.map((rollout, i) => [rollout, others[i]!] as const);
      const { preferences, scores, metrics } = await preferencesOf('xpoPairs', settings, couples, request);
      const rows = couples.flatMap((couple, i) => {
        const pair = preferredPair(couple, preferences[i]!);
        return pair ? [{ ...pair, columns: { is_reference_chosen: Number(preferences[i]! < 0) } }] : [];
      });
      const known = (values: readonly (number | null)[]) => values.filter((score) => score !== null);
      const [ofModel, ofReference] = [
        known(scores?.slice(0, own.length) ?? []),
        known(scores?.slice(own.length) ?? []),
      ];
      return {
        rows,
        metrics: {
          ...metrics,
          ...(ofModel.length > 0 && { 'objective/model_scores': meanOf(ofModel) }),
          ...(ofReference.length > 0 && { 'objective/ref_scores': meanOf(ofReference) }),
          ...completionMetrics([...own, ...others]),
          frac_undecided: 1 - rows.length / request.count,
        },
      };
    },
  };
}
