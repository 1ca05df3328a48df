import { stopGradient, type Tensor } from '@posttrain/core-tensor';
import { custom, type Given, OptionError, options, showValue } from '@posttrain/interfaces';
import type { Ratio } from './ratio.js';

const STATISTICS = [
  ...['token_k1', 'token_k2', 'token_k3', 'seq_sum_k1', 'seq_sum_k2', 'seq_sum_k3'],
  ...['seq_mean_k1', 'seq_mean_k2', 'seq_mean_k3', 'seq_max_k2', 'seq_max_k3'],
] as const;

/** What must hold of a token, or of a completion, for it to be learnt from; names are verl's `rollout_rs`. */
export interface MismatchCriterion {
  /**
   * Of u = log π_old - log p_sampler: k1 = -u, k2 = u²/2, k3 = e^u - 1 - u; of each token, or the sum, the mean or the largest over a completion.
   */
  readonly statistic: `token_k${1 | 2 | 3}` | `seq_${'sum' | 'mean'}_k${1 | 2 | 3}` | `seq_max_k${2 | 3}`;
  /** The smallest e^k1, a ratio of p_sampler to π_old; of k1 only. Default 1 / high. */
  readonly low?: number;
  /** The largest e^k1, or the largest k2 or k3. */
  readonly high: number;
}

const rejectMismatchOptions = options('rejectMismatch', {
  /** All must hold. */
  criteria: custom<readonly MismatchCriterion[]>()(
    `a list of { statistic, low, high } with a statistic of ${STATISTICS.join(', ')}`,
    (value) => Array.isArray(value) && value.length > 0 && value.every((one) => STATISTICS.includes(one?.statistic)),
    {
      settings: (criteria) =>
        criteria.map(({ statistic, low, high }) => `${statistic} ${low ?? ''}_${high}`).join(', '),
    },
  ),
});
/** Options of `rejectMismatch`. */
export type RejectMismatchOptions = Given<typeof rejectMismatchOptions>;

/** As far as a log-ratio counts. */
const LARGEST = 20;

const ESTIMATES = {
  k1: (u: Tensor) => u.neg(),
  k2: (u: Tensor) => u.square().mul(0.5),
  k3: (u: Tensor) => u.exp().sub(1).sub(u),
};

/** The bounds of a criterion, in the unit of its statistic. @throws OptionError */
function boundsOf({ statistic, low, high }: MismatchCriterion): { readonly least: number; readonly most: number } {
  const wrong = (problem: string) =>
    new OptionError('INVALID_OPTION', 'rejectMismatch', 'criteria', `${statistic}: ${problem}.`);
  if (!(high > 0)) throw wrong(`high must be above 0, not ${showValue(high)}`);
  if (!statistic.endsWith('k1')) {
    if (low !== undefined) throw wrong('only k1 has a low; leave it out');
    return { least: Number.NEGATIVE_INFINITY, most: high };
  }
  const least = low ?? 1 / high;
  if (!(least > 0 && least <= high)) throw wrong(`low must be above 0 and not above high, and is ${showValue(least)}`);
  return { least: Math.log(least), most: Math.log(high) };
}

/** A statistic of every token, [b, t]; those of completions are the same for all of its tokens. */
function statisticOf(statistic: MismatchCriterion['statistic'], logRatio: Tensor, mask: Tensor): Tensor {
  const estimate = ESTIMATES[statistic.slice(-2) as keyof typeof ESTIMATES];
  // Outside of the mask u is 0, and so is every estimate.
  const each = estimate(logRatio.clamp(-LARGEST, LARGEST));
  if (statistic.startsWith('token')) return each;
  const sum = each.sum(1, { keepDims: true });
  const whole = statistic.startsWith('seq_max')
    ? each.max(1, { keepDims: true })
    : statistic.startsWith('seq_sum')
      ? sum
      : sum.div(mask.sum(1, { keepDims: true }).maximum(1));
  return whole.broadcastTo(logRatio.shape);
}

/**
 * Rejection of what trainer and sampler think too differently of (verl's `rollout_corr_helper`; geometric masks of arXiv 2510.18855 and SkyRL): the loss of a
 * token, or of a whole completion, is multiplied by 0 where a criterion does not hold; that of others is as `ratio` corrects it
 * (`truncatedImportance`), or as it is. What is left out stays in the means, as in TRL; verl leaves it out of these too.
 * `samplerMismatch` reports what thresholds would meet.
 *
 * @throws OptionError
 */
export function rejectMismatch(ratio: Ratio, given: RejectMismatchOptions): Ratio {
  const { criteria } = rejectMismatchOptions.read(given);
  const bounds = criteria.map((criterion) => ({ statistic: criterion.statistic, ...boundsOf(criterion) }));
  return {
    ...ratio,
    name: `reject-mismatch(${ratio.name})`,
    settings: { ...ratio.settings, ...rejectMismatchOptions.settings(given) },
    correct(logRatio, mask) {
      const weights = ratio.correct?.(logRatio, mask);
      return bounds.reduce(
        (left, { statistic, least, most }) => {
          const value = stopGradient(statisticOf(statistic, logRatio, mask));
          const kept = value.lessEqual(most).and(value.greaterEqual(least)).cast('float32');
          return left.mul(kept);
        },
        weights ?? stopGradient(logRatio.mul(0).add(1)),
      );
    },
  };
}
