import { logSigmoid, softplus, type Tensor } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import type { PreferenceLoss } from './preference-loss.js';

const orpoOptions = options('orpoLoss', {
  /** λ of the paper: how much the odds ratio counts beside the likelihood. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `orpoLoss`. */
export type OrpoLossOptions = Given<typeof orpoOptions>;

/** The smallest 1 - p, which rounding may leave nothing of. */
const SMALLEST = 1e-30;

/** log(1 - e^x) for x ≤ 0, exact where e^x is near 1: 1 - e^x = (1 + e^x) tanh(-x/2). */
const log1mExp = (x: Tensor): Tensor => softplus(x).add(x.mul(-0.5).tanh().maximum(SMALLEST).log());

/**
 * Odds Ratio Preference Optimization (arXiv 2403.07691, eq. 6 and 7): NLL(x, y_w) - β log σ(log odds(y_w) - log odds(y_l)), with
 * odds = p / (1 - p) and log p the mean log-probability of a token. As in TRL, the likelihood is that of prompt and chosen
 * completion, a mean over all their tokens. It has no reference.
 */
export function orpoLoss(given: OrpoLossOptions = {}): PreferenceLoss {
  const { beta } = orpoOptions.read(given);
  return {
    name: 'orpo',
    settings: orpoOptions.settings(given),
    beta,
    reference: false,
    logProbs: 'mean',
    nll: { weight: 1, over: 'sequence' },
    compute({ chosen, rejected }) {
      const logOdds = chosen.sub(rejected).sub(log1mExp(chosen).sub(log1mExp(rejected)));
      const ratio = logSigmoid(logOdds);
      return { losses: ratio.mul(-beta), metrics: { log_odds_chosen: logOdds, log_odds_ratio: ratio } };
    },
  };
}
