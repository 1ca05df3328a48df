import { type Given, type HasSettings, number, options, type Verifier } from '@posttrain/interfaces';
import { stepScoresOf, verdictsOf, verifierOption } from './members.js';

const hybridRewardOptions = options('hybridReward', {
  /** Gives `stepScores`. */
  process: verifierOption,
  /** Gives the score of the outcome. */
  outcome: verifierOption,
  /** w_p. Default 1. */
  processWeight: number({ default: 1, min: 0 }),
  /** w_o. Default 1. */
  outcomeWeight: number({ default: 1, min: 0 }),
});
/** Options of `hybridReward`. */
export type HybridRewardOptions = Given<typeof hybridRewardOptions>;

/**
 * A reward of steps and of the outcome (arXiv 2211.14275, 2305.20050): step t of T is paid r_t = w_p · process_t + w_o · 1[t = T] · outcome, in
 * `stepScores`, and `score` is their sum. With one weight 0 it is the other reward alone. A completion whose outcome is not
 * scorable is not, nor is one without steps.
 *
 * @throws PosttrainError STEP_SCORES for a process verifier that gives none; what the two throw
 */
export function hybridReward(given: HybridRewardOptions): Verifier & HasSettings {
  const { process, outcome, processWeight, outcomeWeight } = hybridRewardOptions.read(given);
  return {
    name: 'hybridReward',
    settings: hybridRewardOptions.settings(given),
    async verify(requests) {
      const [steps, ends] = await Promise.all([verdictsOf(process, requests), verdictsOf(outcome, requests)]);
      return steps.map((verdict, i) => {
        const scores = stepScoresOf(process, verdict);
        const end = ends[i]!.score;
        if (end === null || scores.length === 0) return { score: null, stepScores: [] };
        const last = scores.length - 1;
        const stepScores = scores.map((score, t) => processWeight * score + (t === last ? outcomeWeight * end : 0));
        return { score: stepScores.reduce((sum, score) => sum + score, 0), stepScores };
      });
    },
  };
}
