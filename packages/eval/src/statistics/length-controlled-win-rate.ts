import { type Given, integer, number, options } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { dot, inverted } from './linear-algebra.js';
import { assertFinite, Z_95 } from './standard-error.js';

const lengthControlledOptions = options('lengthControlledWinRate', {
  /** C of the L1 penalty, 1/λ; large ones leave coefficients as they are. Default 100. */
  c: number({ default: 100, above: 0 }),
  /**
   * Picks C by cross-validation with so many folds in the place of `c`, as AlpacaEval does with 5: of ten from 10⁻⁴ to 10⁴ the first whose cross-entropy of comparisons that were left out is least. Default: none.
   */
  folds: integer({ optional: true, min: 2 }),
});
/** Options of `lengthControlledWinRate`. */
export type LengthControlledOptions = Given<typeof lengthControlledOptions>;

/** One comparison of the model's answer with the baseline's. */
export interface LengthComparison {
  /** 1: the model's is preferred; 0: the baseline's; ½: a tie; or a probability. */
  readonly preference: number;
  /** Characters of the answers. */
  readonly length: number;
  readonly baselineLength: number;
  /** How hard the instruction is; of all comparisons or of none. */
  readonly difficulty?: number;
}

/** A win rate as it would be if answers were as long as the baseline's. */
export interface LengthControlledWinRate {
  /** 0 to 1. */
  readonly value: number;
  /** By the delta method from the robust covariance of the coefficients. */
  readonly standardError: number;
  readonly interval: readonly [low: number, high: number];
  /** The mean preference: without the control. */
  readonly raw: number;
  /** What was given, or picked. */
  readonly c: number;
  /** Coefficients: of tanh(Δ length), where it is positive a longer baseline's answer helps the model; of the model; of difficulty. */
  readonly coefficients: { readonly length: number; readonly model: number; readonly difficulty?: number };
}

/**
 * Length-controlled win rate (arXiv 2404.04475): a logistic regression of preferences on tanh of the difference of lengths (over its deviation), on the model and, where given, on difficulty,
 *
 *   logit P = φ tanh(Δ / sd Δ) + θ + ψ·difficulty,  Δ = baseline's length − length,  minimising ‖β‖₁ + C Σ cross-entropy
 *
 * and the mean of P with Δ = 0. It is AlpacaEval's `length_controlled_minimal` (with difficulty `length_controlled_noreg`), with `folds: 5` as it is run there, else at a fixed C. Its
 * standard error of this is that of the predictions, which are all alike.
 *
 * @throws OptionError; EvaluationError `TOO_FEW` for less than 2 comparisons, or than folds; `BAD_BATTLE`; `NOT_FINITE`
 */
export function lengthControlledWinRate(
  comparisons: readonly LengthComparison[],
  given: LengthControlledOptions = {},
): LengthControlledWinRate {
  const { c: fixed, folds } = lengthControlledOptions.read(given);
  const n = comparisons.length;
  if (n < 2) throw new EvaluationError('TOO_FEW', `lengthControlledWinRate needs 2 comparisons or more, but got ${n}.`);
  if (folds !== undefined && n < folds)
    throw new EvaluationError('TOO_FEW', `lengthControlledWinRate: ${n} comparisons make no ${folds} folds.`);
  const targets = comparisons.map(({ preference }) => preference);
  const bad = targets.findIndex((p) => !(p >= 0 && p <= 1));
  if (bad >= 0) {
    throw new EvaluationError(
      'BAD_BATTLE',
      `lengthControlledWinRate: preference ${bad} is ${targets[bad]}; it must be from 0 to 1.`,
    );
  }
  const differences = comparisons.map(({ length, baselineLength }) => baselineLength - length);
  assertFinite('lengthControlledWinRate: lengths,', differences);
  const meanOf = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
  const centre = meanOf(differences);
  const deviation = Math.sqrt(differences.reduce((sum, x) => sum + (x - centre) ** 2, 0) / (n - 1));
  const hard = comparisons.map(({ difficulty }) => difficulty);
  const isHard = hard.some((x) => x !== undefined);
  if (isHard)
    assertFinite(
      'lengthControlledWinRate: difficulty,',
      hard.map((x) => x ?? Number.NaN),
    );
  const rows = differences.map((x, i) => [
    deviation === 0 ? 0 : Math.tanh(x / deviation),
    1,
    ...(isHard ? [hard[i]!] : []),
  ]);
  const c = folds === undefined ? fixed : crossValidated(rows, targets, folds);
  const beta = fitLasso(rows, targets, c);

  const atZero = rows.map((row) => [0, ...row.slice(1)]);
  const chances = atZero.map((row) => logistic(dot(row, beta)));
  const value = meanOf(chances);
  // ∂ value / ∂β, and the sandwich H⁻¹ Σ g gᵀ H⁻¹ of the likelihood; a column of zeros has no information.
  const slope = beta.map((_, k) => meanOf(atZero.map((row, i) => row[k]! * chances[i]! * (1 - chances[i]!))));
  const information = beta.map((_, k) =>
    beta.map((__, l) => {
      const sum = rows.reduce((total, row) => {
        const p = logistic(dot(row, beta));
        return total + row[k]! * row[l]! * p * (1 - p);
      }, 0);
      return sum + (k === l ? 1e-9 : 0);
    }),
  );
  const direction = inverted(information).map((row) => dot(row, slope));
  const squares = rows.reduce((sum, row, i) => {
    const surplus = targets[i]! - logistic(dot(row, beta));
    return sum + (surplus * dot(row, direction)) ** 2;
  }, 0);
  const standardError = Math.sqrt((squares * n) / (n - 1));
  const [length, model, difficulty] = beta as [number, number, number?];
  return {
    value,
    standardError,
    interval: [Math.max(0, value - Z_95 * standardError), Math.min(1, value + Z_95 * standardError)],
    raw: meanOf(targets),
    c,
    coefficients: { length, model, ...(difficulty !== undefined && { difficulty }) },
  };
}

/** The C that scikit-learn's grid and scorer pick. Comparison i is in fold (n − 1 − i) mod folds, as its GroupKFold has groups of one size. */
function crossValidated(rows: readonly (readonly number[])[], targets: readonly number[], folds: number): number {
  const n = rows.length;
  const foldOf = (i: number) => (n - 1 - i) % folds;
  const lossOf = (c: number): number => {
    let sum = 0;
    for (let fold = 0; fold < folds; fold++) {
      const inside = rows.map((_, i) => i).filter((i) => foldOf(i) !== fold);
      const outside = rows.map((_, i) => i).filter((i) => foldOf(i) === fold);
      const beta = fitLasso(
        inside.map((i) => rows[i]!),
        inside.map((i) => targets[i]!),
        c,
      );
      const losses = outside.map((i) => {
        const p = Math.min(1 - 1e-15, Math.max(1e-15, logistic(dot(rows[i]!, beta))));
        return -targets[i]! * Math.log(p) - (1 - targets[i]!) * Math.log(1 - p);
      });
      sum += losses.reduce((total, loss) => total + loss, 0) / outside.length;
    }
    return sum / folds;
  };
  const grid = Array.from({ length: 10 }, (_, k) => 10 ** (-4 + (8 * k) / 9));
  const losses = grid.map(lossOf);
  return grid[losses.indexOf(Math.min(...losses))]!;
}

const logistic = (x: number): number => 1 / (1 + Math.exp(-x));

/** ‖β‖₁ + C Σ cross-entropy, coordinate by coordinate: each goes to the minimum of its quadratic bound, whose curvature is at most C Σ x²/4. */
function fitLasso(rows: readonly (readonly number[])[], targets: readonly number[], c: number): number[] {
  const beta = rows[0]!.map(() => 0);
  const margins = new Float64Array(rows.length);
  const curvatures = beta.map((_, k) => (c * rows.reduce((sum, row) => sum + row[k]! ** 2, 0)) / 4);
  for (let round = 0; round < 100_000; round++) {
    let moved = 0;
    for (const [k, curvature] of curvatures.entries()) {
      if (curvature === 0) continue;
      let slope = 0;
      for (let i = 0; i < rows.length; i++) slope += c * rows[i]![k]! * (logistic(margins[i]!) - targets[i]!);
      const free = beta[k]! - slope / curvature;
      const next = Math.sign(free) * Math.max(0, Math.abs(free) - 1 / curvature);
      const shift = next - beta[k]!;
      beta[k] = next;
      for (let i = 0; i < rows.length; i++) margins[i]! += shift * rows[i]![k]!;
      moved = Math.max(moved, Math.abs(shift));
    }
    if (moved < 1e-11) break;
  }
  return beta;
}
