import { type Given, oneOf, options } from '@posttrain/interfaces';
import { DataOptionError } from '../errors.js';

/** Counts of confident learning: labels down, what they seem to be across. */
export type ConfidentJoint = readonly (readonly number[])[];

/** Probabilities that differ by less are equal. */
const CLOSE = 1e-6;

const labelErrorsOptions = options('findLabelErrors', {
  /**
   * Which rows of a class are taken to be wrong: as many of each as the calibrated joint says, those with the greatest margin of the other class
   * (`prune_by_noise_rate`); as many as it says of the class, those with the least probability (`prune_by_class`); those that both take (`both`); or those that the joint
   * counts off its diagonal (`confident_learning`). Default `prune_by_noise_rate`.
   */
  filterBy: oneOf(['prune_by_noise_rate', 'prune_by_class', 'both', 'confident_learning'], {
    default: 'prune_by_noise_rate',
  }),
});
/** Options of `findLabelErrors`. */
export type FindLabelErrorsOptions = Given<typeof labelErrorsOptions>;

/** Of each class the mean probability of the rows that have its label: t_j; of a class without rows infinite. */
export function confidentThresholds(labels: readonly number[], probabilities: readonly ArrayLike<number>[]): number[] {
  const classes = checked(labels, probabilities);
  const [sums, counts] = [new Array<number>(classes).fill(0), new Array<number>(classes).fill(0)];
  for (const [i, label] of labels.entries()) {
    sums[label]! += probabilities[i]![label]!;
    counts[label]!++;
  }
  return sums.map((sum, k) => (counts[k] === 0 ? Number.POSITIVE_INFINITY : Math.max(sum / counts[k]!, 2 * CLOSE)));
}

/**
 * The confident joint (confident learning, arXiv 1911.00068 eq. 1): C[i][j] counts the rows with label i whose p_j is at least t_j; where several are, the
 * likeliest of all classes. `guesses[n]` is the j of row n, where it has one.
 */
export function confidentJoint(
  labels: readonly number[],
  probabilities: readonly ArrayLike<number>[],
): { readonly joint: number[][]; readonly guesses: (number | undefined)[] } {
  const thresholds = confidentThresholds(labels, probabilities);
  const joint = thresholds.map(() => thresholds.map(() => 0));
  const guesses = labels.map((label, n) => {
    const row = Array.from(probabilities[n]!);
    const confident = row.flatMap((p, j) => (p >= thresholds[j]! - CLOSE ? [j] : []));
    if (confident.length === 0) return undefined;
    const guess = confident.length === 1 ? confident[0]! : row.indexOf(Math.max(...row));
    joint[label]![guess]!++;
    return guess;
  });
  // A class that nobody is sure of keeps one row of its own, so that its share can be calibrated.
  for (const [k, row] of joint.entries()) if (row[k] === 0) row[k] = 1;
  return { joint, guesses };
}

/** The confident joint with rows that add up to the counts of the labels, and all of it to the number of rows. */
export function calibratedJoint(joint: ConfidentJoint, labels: readonly number[]): number[][] {
  const counts = joint.map((_, k) => labels.filter((label) => label === k).length);
  const scaled = joint.map((row, k) => {
    const sum = row.reduce((a, b) => a + b, 0);
    return row.map((value) => (sum === 0 ? 0 : (value / sum) * counts[k]!));
  });
  const total = scaled.flat().reduce((a, b) => a + b, 0);
  return scaled.map((row) => roundedLike(row.map((value) => (value / total) * labels.length)));
}

/**
 * Rows whose labels are likely wrong, by confident learning (arXiv 1911.00068; cleanlab's `find_label_issues`): indices, in order.
 *
 * `labels` are classes from 0; `probabilities` [row][class] come from models that have not seen the row (cross-validation).
 *
 * @throws OptionError; DataOptionError for labels and probabilities that do not fit together
 */
export function findLabelErrors(
  labels: readonly number[],
  probabilities: readonly ArrayLike<number>[],
  given: FindLabelErrorsOptions = {},
): number[] {
  const { filterBy } = labelErrorsOptions.read(given);
  const { joint, guesses } = confidentJoint(labels, probabilities);
  // A label that is as likely as the likeliest class is no error.
  const differs = (n: number) => {
    const row = Array.from(probabilities[n]!);
    return row.some(
      (p, k) => k !== labels[n] && (p > row[labels[n]!]! + CLOSE || (p === row[labels[n]!]! + CLOSE && k < labels[n]!)),
    );
  };
  if (filterBy === 'confident_learning') {
    return labels.flatMap((label, n) => (guesses[n] !== undefined && guesses[n] !== label && differs(n) ? [n] : []));
  }
  const calibrated = calibratedJoint(joint, labels);
  const byNoise = filterBy === 'prune_by_class' ? undefined : byNoiseRate(labels, probabilities, calibrated);
  const byClass = filterBy === 'prune_by_noise_rate' ? undefined : bySelfConfidence(labels, probabilities, calibrated);
  const taken =
    byNoise === undefined
      ? byClass!
      : byClass === undefined
        ? byNoise
        : new Set([...byNoise].filter((n) => byClass.has(n)));
  return [...taken].filter(differs).toSorted((a, b) => a - b);
}

/** How many rows of label i are to be taken for what they seem to be: a label keeps one right row at least, which its errors pay for in equal parts. */
function pruneCounts(joint: ConfidentJoint): number[][] {
  const reduced = joint.map((row, i) => {
    const missing = Math.max(1 - row[i]!, 0);
    const kinds = Math.max(row.filter((count) => count !== 0).length - 1, 1);
    return row.map((count, j) => (i === j ? count + missing : Math.trunc(Math.max(count - missing / kinds, 0))));
  });
  // Rounding keeps the sums of what rows seem to be.
  return transposed(transposed(reduced).map(roundedLike));
}

function byNoiseRate(
  labels: readonly number[],
  probabilities: readonly ArrayLike<number>[],
  joint: ConfidentJoint,
): Set<number> {
  const counts = pruneCounts(joint);
  const taken = new Set<number>();
  for (const [label, row] of counts.entries()) {
    const members = labels.flatMap((other, n) => (other === label ? [n] : []));
    if (members.length <= 1) continue;
    for (const [j, count] of row.entries()) {
      if (j === label) continue;
      const margin = (n: number) => probabilities[n]![j]! - probabilities[n]![label]!;
      for (const n of members.toSorted((a, b) => margin(b) - margin(a)).slice(0, count)) taken.add(n);
    }
  }
  return taken;
}

function bySelfConfidence(
  labels: readonly number[],
  probabilities: readonly ArrayLike<number>[],
  joint: ConfidentJoint,
): Set<number> {
  const counts = pruneCounts(joint);
  const taken = new Set<number>();
  for (const label of counts.keys()) {
    const members = labels.flatMap((other, n) => (other === label ? [n] : []));
    if (members.length <= 1) continue;
    const wrong = members.length - counts[label]![label]!;
    const least = members.toSorted((a, b) => probabilities[a]![label]! - probabilities[b]![label]!);
    for (const n of least.slice(0, Math.max(wrong, 0))) taken.add(n);
  }
  return taken;
}

const transposed = (matrix: readonly (readonly number[])[]): number[][] =>
  matrix.map((_, j) => matrix.map((row) => row[j]!));

/** Whole numbers with the sum of the given ones: the nearest ones, and where those add up to another sum, the ones that were rounded furthest the other way. */
function roundedLike(values: readonly number[]): number[] {
  // Halves to the even neighbour, as NumPy rounds.
  const whole = values.map((value) => (Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value)));
  let missing = Math.round(values.reduce((a, b) => a + b, 0)) - whole.reduce((a, b) => a + b, 0);
  const order = values.map((_, i) => i).toSorted((a, b) => values[b]! - whole[b]! - (values[a]! - whole[a]!));
  const step = Math.sign(missing);
  for (let i = 0; missing !== 0; i++, missing -= step)
    whole[step > 0 ? order[i % order.length]! : order.at(-1 - (i % order.length))!]! += step;
  return whole;
}

/** How many classes there are. */
function checked(labels: readonly number[], probabilities: readonly ArrayLike<number>[]): number {
  const refuse = (message: string): never => {
    throw new DataOptionError('findLabelErrors', message);
  };
  if (labels.length === 0 || labels.length !== probabilities.length) {
    refuse(
      `there must be probabilities for every label, got ${labels.length} labels and ${probabilities.length} rows of them.`,
    );
  }
  const classes = probabilities[0]!.length;
  for (const [n, row] of probabilities.entries()) {
    if (row.length !== classes || !Array.from(row).every((p) => p >= 0 && p <= 1)) {
      refuse(`row ${n} must have ${classes} probabilities from 0 to 1.`);
    }
    const label = labels[n]!;
    if (!Number.isInteger(label) || label < 0 || label >= classes)
      refuse(`label ${n} must be a class from 0 to ${classes - 1}, got ${label}.`);
  }
  return classes;
}
