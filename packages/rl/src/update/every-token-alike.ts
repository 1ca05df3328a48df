import type { TrainingRow } from '@posttrain/training';

/** Rows in which every trained token weighs the same: what a KL or a Fisher information is the mean over. */
export function everyTokenAlike(rows: readonly TrainingRow[]): TrainingRow[] {
  const isTrained = rows.map(({ weights }) => Array.from(weights, (weight) => (weight === 0 ? 0 : 1)));
  const count = isTrained.flat().reduce((a: number, b) => a + b, 0);
  return rows.map((row, i) => ({ ...row, weights: isTrained[i]!.map((one) => one / count) }));
}
