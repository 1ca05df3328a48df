import { EvaluationError } from '../errors.js';
import { studentQuantile } from './distributions.js';
import { assertFinite, meanWithStandardError } from './standard-error.js';

/** A mean over seeds and problems, and what it is uncertain of. */
export interface SeededEstimate {
  readonly value: number;
  /** For new seeds and new problems. */
  readonly standardError: number;
  /** Of problems alone: what it would be with these very seeds. */
  readonly problemError: number;
  /** Of seeds alone: what it would be with these very problems. */
  readonly seedError: number;
  /** 95 % interval: Student's with the fewer of seeds − 1 and problems − 1 degrees of freedom. */
  readonly interval: readonly [low: number, high: number];
}

/**
 * The mean of a run that was made with several seeds over the same problems. Scores of one seed and scores of one problem are both not independent: the
 * variance is clustered both ways (Cameron, Gelbach and Miller 2011), V = V_seeds + V_problems − V_cells. Three seeds know little of seeds, which
 * the interval says by its degrees of freedom.
 *
 * @param scores [seed][problem], of differences of two runs as well
 * @throws EvaluationError `TOO_FEW_SEEDS` for less than 2 of either; `UNPAIRED` for seeds over other numbers of problems; `NOT_FINITE`
 */
export function acrossSeeds(scores: readonly (readonly number[])[]): SeededEstimate {
  const problems = scores[0]?.length ?? 0;
  if (scores.length < 2 || problems < 2) {
    const got = `${scores.length} seeds and ${problems} problems`;
    throw new EvaluationError('TOO_FEW_SEEDS', `acrossSeeds needs 2 seeds and 2 problems or more, but got ${got}.`);
  }
  const odd = scores.findIndex((row) => row.length !== problems);
  if (odd >= 0) {
    throw new EvaluationError(
      'UNPAIRED',
      `acrossSeeds: seed ${odd} has ${scores[odd]!.length} problems, and seed 0 has ${problems}.`,
    );
  }
  const values = scores.flat();
  assertFinite('acrossSeeds:', values);
  const bySeed = scores.flatMap((row, seed) => row.map(() => String(seed)));
  const byProblem = scores.flatMap((row) => row.map((_, problem) => String(problem)));
  const seedError = meanWithStandardError(values, bySeed).standardError!;
  const problemError = meanWithStandardError(values, byProblem).standardError!;
  const { value, standardError: cellError } = meanWithStandardError(values);
  // Where cells vary by themselves more than seeds and problems do, the difference can be negative.
  const variance = Math.max(seedError ** 2 + problemError ** 2 - cellError! ** 2, seedError ** 2, problemError ** 2);
  const standardError = Math.sqrt(variance);
  const reach = studentQuantile(0.975, Math.min(scores.length, problems) - 1) * standardError;
  return { value: value!, standardError, problemError, seedError, interval: [value! - reach, value! + reach] };
}
