import { type Given, integer, number, options } from '@posttrain/interfaces';
import { DataOptionError } from '../errors.js';

const doremiOptions = options('doReMi', {
  /** Step size η of the weights. Default 1. */
  stepSize: number({ default: 1, above: 0 }),
  /** How much of uniform weights is mixed in. Default 1e-3. */
  smoothing: number({ default: 1e-3, min: 0, max: 1 }),
  /** Steps of the proxy model. */
  steps: integer({ min: 1 }),
});
/** Options of `doReMi`. */
export type DoReMiOptions = Given<typeof doremiOptions>;

/** What came of one step. */
export interface DoReMiStep {
  readonly weights: readonly number[];
  readonly excess: readonly number[];
}

/**
 * One update of DoReMi's domain weights (arXiv 2305.10429, algorithm 1): α' ∝ α · exp(η · λ), λ the excess loss of each domain, not below 0, and then (1 − c) α' + c / k.
 *
 * @throws DataOptionError for lists of other lengths, and losses that are no numbers
 */
export function doReMiUpdate(
  weights: readonly number[],
  excess: readonly number[],
  stepSize = 1,
  smoothing = 1e-3,
): number[] {
  if (excess.length !== weights.length) {
    throw new DataOptionError('doReMi', `there are ${weights.length} weights and ${excess.length} losses.`);
  }
  if (!excess.every(Number.isFinite)) throw new DataOptionError('doReMi', `an excess loss is no number: ${excess}.`);
  const clipped = excess.map((one) => stepSize * Math.max(0, one));
  const most = Math.max(...clipped);
  const raised = weights.map((weight, i) => weight * Math.exp(clipped[i]! - most));
  const total = raised.reduce((sum, one) => sum + one, 0);
  return raised.map((one) => (1 - smoothing) * (one / total) + smoothing / weights.length);
}

/**
 * DoReMi: a proxy model is trained on a mixture whose weights rise where it is furthest above a reference, and the average of the weights over all steps is the mixture for the large model.
 *
 * @param domains names, in the order of all lists
 * @param excessAt trains the proxy one step on these weights and gives the excess loss of each domain, proxy less reference, per token (clipped at 0 here; the paper clips it token by token, which is the callback's to do)
 * @throws OptionError, DataOptionError
 */
export async function doReMi(
  domains: readonly string[],
  excessAt: (weights: readonly number[], step: number) => Promise<readonly number[]> | readonly number[],
  given: DoReMiOptions,
): Promise<{ readonly weights: Readonly<Record<string, number>>; readonly steps: readonly DoReMiStep[] }> {
  const { stepSize, smoothing, steps: count } = doremiOptions.read(given);
  if (domains.length === 0 || new Set(domains).size < domains.length)
    throw new DataOptionError('doReMi', 'domains must be different names, at least one.');
  let weights: readonly number[] = domains.map(() => 1 / domains.length);
  const steps: DoReMiStep[] = [];
  for (let step = 0; step < count; step++) {
    const excess = await excessAt(weights, step);
    weights = doReMiUpdate(weights, excess, stepSize, smoothing);
    steps.push({ weights, excess });
  }
  const mean = domains.map((_, i) => steps.reduce((sum, one) => sum + one.weights[i]!, 0) / count);
  return { weights: Object.fromEntries(domains.map((name, i) => [name, mean[i]!])), steps };
}
