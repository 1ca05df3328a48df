import { type Given, type HasSettings, number, options, type Verifier } from '@posttrain/interfaces';
import { stepScoresOf, verdictsOf, verifierOption } from './members.js';

const processAdvantageOptions = options('processAdvantage', {
  /** Gives in `stepScores` the prover's values Q^μ behind each step: trained on labels of `processAdvantages` (data). */
  verifier: verifierOption,
  /** α, what progress counts. Default 1. */
  alpha: number({ default: 1, min: 0 }),
  /** V^μ of the prompt, from which the first step makes progress. Default 0, which pays the first step all of its value. */
  startValue: number({ default: 0 }),
});
/** Options of `processAdvantage`. */
export type ProcessAdvantageOptions = Given<typeof processAdvantageOptions>;

/**
 * A process advantage verifier (PAV, arXiv 2410.08146, eq. 5): step h is paid α A^μ(s_h, a_h) = α (Q^μ_h - Q^μ_{h-1}), the progress that a prover
 * μ makes by it, in `stepScores`; `score` is their sum. Beside a reward of the outcome in a run, with `stepRewards`; or as a
 * verifier of steps in a search. A completion without steps is not scorable.
 *
 * @throws PosttrainError STEP_SCORES for a verifier that gives none; what it throws itself
 */
export function processAdvantage(given: ProcessAdvantageOptions): Verifier & HasSettings {
  const { verifier, alpha, startValue } = processAdvantageOptions.read(given);
  return {
    name: 'processAdvantage',
    settings: processAdvantageOptions.settings(given),
    async verify(requests) {
      return (await verdictsOf(verifier, requests)).map((verdict) => {
        const values = stepScoresOf(verifier, verdict);
        const stepScores = values.map((value, h) => alpha * (value - (h === 0 ? startValue : values[h - 1]!)));
        if (stepScores.length === 0 || verdict.score === null) return { score: null, stepScores };
        return { score: stepScores.reduce((sum, score) => sum + score, 0), stepScores };
      });
    },
  };
}
