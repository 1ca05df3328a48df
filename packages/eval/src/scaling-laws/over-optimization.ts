import { assertArgument, type Given, integer, oneOf, options } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { EvaluationError } from '../errors.js';

/** What a policy reaches at a distance from the one it began as. */
export interface OverOptimizationPoint {
  /** KL(policy ‖ initial policy), nats; of best-of-n `bestOfNKl` of `@posttrain/tts`. */
  readonly kl: number;
  /** Gold reward, less that of the initial policy. */
  readonly reward: number;
}

const overOptimizationOptions = options('fitOverOptimization', {
  /** How the policy was optimised: by best-of-n, R = d (α − β d), or by reinforcement learning, R = d (α − β ln d). */
  law: oneOf(['best-of-n', 'rl'], {}),
  /** Bootstrap resamples of the points, for the intervals. Default 0: no intervals. */
  resamples: integer({ default: 0, min: 0 }),
  /** Of the resamples. Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `fitOverOptimization`. */
export type OverOptimizationOptions = Given<typeof overOptimizationOptions>;

/** A fitted law of reward over-optimisation. */
export interface OverOptimizationLaw {
  readonly alpha: number;
  readonly beta: number;
  /** Root of the mean squared residual. */
  readonly residual: number;
  /** Where the gold reward is highest, and how high; `null` where β ≤ 0, so that it never falls, or at no KL that is a number. */
  readonly peak: { readonly kl: number; readonly reward: number } | null;
  /** 95 % bootstrap intervals, when resamples were asked for. */
  readonly intervals?: Readonly<Record<'alpha' | 'beta', readonly [low: number, high: number]>>;
  /** The gold reward that it predicts at a KL. */
  predict(kl: number): number;
}

/** What β counts, by law. */
const bend = { 'best-of-n': (d: number) => d * d, rl: (d: number) => d * Math.log(d) } as const;

/**
 * Fits a law of reward-model over-optimisation (arXiv 2210.10760 §3): with d = √KL(π ‖ π_init), the gold reward that optimising a proxy
 * reaches is
 *
 *   best-of-n:  R(d) = d (α − β d),     highest at d = α / 2β
 *   RL:         R(d) = d (α − β ln d),  highest at d = e^{α/β − 1}
 *
 * by least squares, which is linear in α and β. Rewards are differences from the initial policy's, whose point (KL 0, reward 0) every
 * law goes through and adds nothing to the fit.
 *
 * @throws OptionError; EvaluationError `TOO_FEW_POINTS` with fewer than two KLs above 0, in the points or in all resamples; `BAD_POINT` for a negative KL or what is no number
 */
export function fitOverOptimization(
  points: readonly OverOptimizationPoint[],
  given: OverOptimizationOptions,
): OverOptimizationLaw {
  const { law, resamples, seed } = overOptimizationOptions.read(given);
  const { where } = overOptimizationOptions;
  assertArgument(where, 'points', points, Array.isArray(points), 'a list of { kl, reward }');
  const odd = points.findIndex((point: Partial<OverOptimizationPoint> | null) => {
    const { kl, reward } = point ?? {};
    return !(Number.isFinite(kl) && kl! >= 0 && Number.isFinite(reward));
  });
  if (odd >= 0) {
    throw new EvaluationError(
      'BAD_POINT',
      `${where}: point ${odd} is ${JSON.stringify(points[odd])}; a KL is at least 0, and both are numbers.`,
    );
  }
  const moved = points.filter(({ kl }) => kl > 0);
  const { alpha, beta } = leastSquares(moved, law) ?? tooFew();
  const predict = (kl: number): number => {
    const d = Math.sqrt(kl);
    return d === 0 ? 0 : alpha * d - beta * bend[law](d);
  };
  const squares = moved.map(({ kl, reward }) => (reward - predict(kl)) ** 2);
  const peakAt = law === 'best-of-n' ? alpha / (2 * beta) : Math.exp(alpha / beta - 1);
  const hasPeak = beta > 0 && (law === 'rl' || alpha > 0) && Number.isFinite(predict(peakAt ** 2));
  const fitted: OverOptimizationLaw = {
    ...{ alpha, beta, predict },
    residual: Math.sqrt(squares.reduce((a, b) => a + b, 0) / squares.length),
    peak: hasPeak ? { kl: peakAt ** 2, reward: predict(peakAt ** 2) } : null,
  };
  if (resamples === 0) return fitted;
  const random = createRandom(seed, where);
  const fits = Array.from({ length: resamples }, () =>
    // A resample of one point alone has no line.
    leastSquares(
      moved.map(() => moved[random.integer(0, moved.length - 1)]!),
      law,
    ),
  ).filter((fit) => fit !== undefined);
  if (fits.length === 0) {
    throw new EvaluationError(
      'TOO_FEW_POINTS',
      `${where}: none of ${resamples} resamples of ${moved.length} points has two KLs; give more resamples or points.`,
    );
  }
  const interval = (name: 'alpha' | 'beta') => {
    const sorted = fits.map((fit) => fit[name]).sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
    return [at(0.025), at(0.975)] as const;
  };
  return { ...fitted, intervals: { alpha: interval('alpha'), beta: interval('beta') } };
}

function tooFew(): never {
  throw new EvaluationError(
    'TOO_FEW_POINTS',
    'fitOverOptimization: a law of two constants needs points at two KLs above 0 at least.',
  );
}

/** The α and β of least Σ (reward − α d + β b(d))²; `undefined` where the points are of one d. */
function leastSquares(points: readonly OverOptimizationPoint[], law: keyof typeof bend) {
  let [dd, db, bb, dr, br] = [0, 0, 0, 0, 0];
  for (const { kl, reward } of points) {
    const d = Math.sqrt(kl);
    const b = bend[law](d);
    [dd, db, bb] = [dd + d * d, db + d * b, bb + b * b];
    [dr, br] = [dr + d * reward, br + b * reward];
  }
  const determinant = dd * bb - db * db;
  if (!(determinant > 1e-12 * dd * bb)) return undefined;
  return { alpha: (bb * dr - db * br) / determinant, beta: (db * dr - dd * br) / determinant };
}
