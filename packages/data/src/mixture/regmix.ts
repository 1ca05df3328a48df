import { createRandom, type Random } from '@posttrain/interfaces/random';
import { DataOptionError } from '../errors.js';

/** A small run: its mixture, which sums to 1, and the loss that it came to. */
export interface MixtureRun {
  readonly weights: readonly number[];
  readonly loss: number;
}

/** Mixtures from a Dirichlet distribution of equal parameters `concentration` about `prior`, each scaled by its share. @throws DataOptionError for shares that are none */
export function randomMixtures(
  prior: readonly number[],
  count: number,
  { concentration = 1, seed = 0 }: { concentration?: number; seed?: number } = {},
): number[][] {
  const isShare = (share: number) => Number.isFinite(share) && share >= 0;
  if (!prior.every(isShare) || !prior.some((share) => share > 0) || !(concentration > 0 && concentration < Infinity))
    throw new DataOptionError('regMix', 'prior must be shares of at least 0, one above it, and concentration above 0.');
  const random = createRandom(seed, 'mixtures');
  return Array.from({ length: count }, () =>
    dirichlet(
      random,
      prior.map((share) => share * prior.length * concentration),
    ),
  );
}

function dirichlet(random: Random, parameters: readonly number[]): number[] {
  const drawn = parameters.map((one) => gamma(random, one));
  const total = drawn.reduce((sum, one) => sum + one, 0);
  return total > 0 ? drawn.map((one) => one / total) : parameters.map(() => 1 / parameters.length);
}

/** Marsaglia and Tsang; below 1 by a power of a uniform number. */
function gamma(random: Random, shape: number): number {
  if (shape < 1) return gamma(random, shape + 1) * (random.float() || 2 ** -60) ** (1 / shape);
  const d = shape - 1 / 3;
  for (;;) {
    const [u, v] = [random.float() || 2 ** -60, random.float()];
    const x = Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
    const y = (1 + x / Math.sqrt(9 * d)) ** 3;
    if (y > 0 && Math.log(random.float() || 2 ** -60) < x ** 2 / 2 + d * (1 - y + Math.log(y))) return d * y;
  }
}

/** A loss that is linear in the mixture, by least squares with a ridge on the slopes (scikit-learn's `Ridge`). */
export function fitMixtureLoss(
  runs: readonly MixtureRun[],
  ridge = 1e-6,
): { readonly slopes: readonly number[]; readonly intercept: number; predict(weights: readonly number[]): number } {
  const k = runs[0]?.weights.length ?? 0;
  if (
    runs.length < 2 ||
    runs.some(({ weights, loss }) => weights.length !== k || ![...weights, loss].every(Number.isFinite))
  ) {
    throw new DataOptionError(
      'regMix',
      'needs two runs or more, with mixtures of as many weights and a loss, all numbers.',
    );
  }
  const mean = Array.from({ length: k }, (_, i) => runs.reduce((sum, one) => sum + one.weights[i]!, 0) / runs.length);
  const meanLoss = runs.reduce((sum, { loss }) => sum + loss, 0) / runs.length;
  const rows = runs.map(({ weights, loss }) => ({ x: weights.map((one, i) => one - mean[i]!), y: loss - meanLoss }));
  const system = mean.map((_, i) => [
    ...mean.map((__, j) => rows.reduce((sum, { x }) => sum + x[i]! * x[j]!, i === j ? ridge : 0)),
    rows.reduce((sum, { x, y }) => sum + x[i]! * y, 0),
  ]);
  const slopes = solve(system);
  const intercept = meanLoss - slopes.reduce((sum, one, i) => sum + one * mean[i]!, 0);
  return {
    slopes,
    intercept,
    predict: (weights) => weights.reduce((sum, one, i) => sum + one * slopes[i]!, intercept),
  };
}

/** Gauss with pivots, of a matrix with its right side as the last column. */
function solve(system: number[][]): number[] {
  const n = system.length;
  for (let c = 0; c < n; c++) {
    const pivot = system
      .slice(c)
      .reduce((best, row, i) => (Math.abs(row[c]!) > Math.abs(system[best]![c]!) ? c + i : best), c);
    [system[c], system[pivot]] = [system[pivot]!, system[c]!];
    for (let r = 0; r < n; r++) {
      if (r === c) continue;
      const factor = system[r]![c]! / system[c]![c]!;
      for (let j = c; j <= n; j++) system[r]![j]! -= factor * system[c]![j]!;
    }
  }
  return system.map((row, i) => row[n]! / row[i]!);
}

/**
 * RegMix (arXiv 2407.01492): from small runs of random mixtures a regression of the loss, which predicts it for many more mixtures; the mean of the best of them is the mixture. The regression is the paper's linear one; give
 * `predict` for another (its best is LightGBM's).
 *
 * @param prior the sizes of the domains as shares, about which mixtures are drawn
 * @throws DataOptionError for runs or a prior that are none, or of other domains
 */
export function regMix(
  runs: readonly MixtureRun[],
  prior: readonly number[],
  {
    candidates = 10_000,
    average = 100,
    seed = 1,
    predict = fitMixtureLoss(runs).predict,
  }: { candidates?: number; average?: number; seed?: number; predict?: (weights: readonly number[]) => number } = {},
): number[] {
  if (runs.some(({ weights }) => weights.length !== prior.length))
    throw new DataOptionError(
      'regMix',
      `prior has ${prior.length} domains, and the mixtures of the runs other numbers.`,
    );
  const best = randomMixtures(prior, candidates, { seed })
    .map((weights) => ({ weights, loss: predict(weights) }))
    .sort((a, b) => a.loss - b.loss)
    .slice(0, average);
  return prior.map((_, i) => best.reduce((sum, { weights }) => sum + weights[i]!, 0) / best.length);
}
