import { assertArgument } from '@posttrain/interfaces';
import { bestOfK } from '@posttrain/interfaces/estimators';
import { EvaluationError } from '../errors.js';
import { type MeanEstimate, meanWithStandardError } from '../statistics/standard-error.js';

/** Samples of a problem, as two rewards see them. */
export interface ProxiedSamples {
  /** The reward that is optimised, a sample each. */
  readonly proxy: readonly number[];
  /** The reward that is meant. */
  readonly gold: readonly number[];
}

/** What best-of-n by the proxy reaches, by both rewards. */
export interface OverOptimizationRow {
  readonly n: number;
  /** ln n − (n − 1) / n: the KL of best-of-n from one sample, nats. */
  readonly kl: number;
  readonly proxy: MeanEstimate;
  readonly gold: MeanEstimate;
}

/**
 * Both rewards of best-of-n by the proxy at every `n` (arXiv 2112.09332 §I, 2210.10760 §2): the mean over all subsets of n of a problem's N
 * samples, in closed form (`bestOfK`). Samples of equal proxy are chosen equally often. Errors are over problems.
 * A problem may have 1000 samples.
 *
 * @throws OptionError for an `n` that is no whole number from 1 to the fewest samples; EvaluationError `BAD_SAMPLES` for lists of
 *   different lengths and what is no number
 */
export function overOptimizationCurve(
  problems: readonly ProxiedSamples[],
  ns: readonly number[],
): OverOptimizationRow[] {
  const where = 'overOptimizationCurve';
  assertArgument(where, 'problems', problems, Array.isArray(problems) && problems.length > 0, 'a list of samples');
  assertArgument(where, 'ns', ns, Array.isArray(ns), 'a list of whole numbers');
  for (const [i, samples] of problems.entries()) {
    const { proxy, gold }: Partial<ProxiedSamples> = samples ?? {};
    const isNumbers = Array.isArray(proxy) && Array.isArray(gold) && [...proxy, ...gold].every(Number.isFinite);
    if (isNumbers && proxy.length > 0 && proxy.length === gold.length) continue;
    throw new EvaluationError(
      'BAD_SAMPLES',
      `${where}: problem ${i} needs a proxy and a gold number for every sample.`,
    );
  }
  const fewest = Math.min(...problems.map(({ proxy }) => proxy.length));
  for (const n of ns) {
    assertArgument(
      where,
      'n',
      n,
      Number.isSafeInteger(n) && n >= 1 && n <= fewest,
      `a whole number from 1 to ${fewest}`,
    );
  }
  return ns.map((n) => {
    const chosen = (reward: keyof ProxiedSamples) =>
      meanWithStandardError(
        problems.map(
          (samples) =>
            bestOfK(
              samples[reward].map((value, i) => ({ value, rank: samples.proxy[i]! })),
              n,
            )!,
        ),
      );
    return { n, kl: Math.log(n) - (n - 1) / n, proxy: chosen('proxy'), gold: chosen('gold') };
  });
}
