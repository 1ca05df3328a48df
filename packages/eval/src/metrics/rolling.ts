import type { RollingProblem } from '../kinds/rolling.js';
import { type MeanEstimate, ratioWithStandardError } from '../statistics/standard-error.js';
import type { Metric } from '../task.js';

/** A metric of whole texts. */
export type RollingMetric = Metric<RollingProblem>;

/** exp(−Σ log-likelihood / Σ words) over all texts (`word_perplexity` of lm-evaluation-harness). */
export function wordPerplexity(): RollingMetric {
  return rollingMetric('word_perplexity', ({ words }) => words, Math.exp, Math.exp);
}

/** exp(−Σ log-likelihood / Σ bytes) over all texts (`byte_perplexity` of lm-evaluation-harness). */
export function bytePerplexity(): RollingMetric {
  return rollingMetric('byte_perplexity', ({ bytes }) => bytes, Math.exp, Math.exp);
}

/** −Σ log-likelihood / Σ bytes / ln 2 over all texts (`bits_per_byte` of lm-evaluation-harness). */
export function bitsPerByte(): RollingMetric {
  return rollingMetric(
    'bits_per_byte',
    ({ bytes }) => bytes,
    (nats) => nats / Math.LN2,
    () => 1 / Math.LN2,
  );
}

/** A function of Σ −log-likelihood / Σ units, with the standard error that the ratio's becomes by the function's slope there. */
function rollingMetric(
  name: string,
  units: (problem: RollingProblem) => number,
  of: (nats: number) => number,
  slope: (nats: number) => number,
): RollingMetric {
  return {
    name,
    value: (problem) => of(-problem.logProb / units(problem)),
    estimate(problems, clusters): MeanEstimate {
      const ratio = ratioWithStandardError(
        problems.map(({ logProb }) => -logProb),
        problems.map(units),
        clusters,
      );
      const { value, standardError, interval, count } = ratio;
      if (value === null) return ratio;
      return {
        value: of(value),
        standardError: standardError === null ? null : slope(value) * standardError,
        interval: interval && [of(interval[0]), of(interval[1])],
        count,
      };
    },
  };
}
