import { DataOptionError } from '../errors.js';

/**
 * Where each stage of a reverse curriculum begins (R³, arXiv 2402.05808): solutions have `steps` steps; stage 0 starts behind all but the last of them, and the last stage at the question itself, in equal parts between.
 * A start of k means that the first k steps are given.
 *
 * @throws DataOptionError for less than one step or stage
 */
export function reverseStarts(steps: number, stages: number): number[] {
  if (!(steps >= 1 && stages >= 1)) throw new DataOptionError('reverseStarts', 'steps and stages must be at least 1.');
  if (stages === 1) return [0];
  return Array.from({ length: stages }, (_, stage) => Math.round(((steps - 1) * (stages - 1 - stage)) / (stages - 1)));
}

/** Rows of a reverse curriculum: the question with the first steps of its solution, and what is left to be written. */
export function reversePrefix(
  steps: readonly string[],
  start: number,
  separator = '\n',
): { readonly prefix: string; readonly rest: string } {
  const join = (some: readonly string[]) => some.map((step) => step + separator).join('');
  return { prefix: join(steps.slice(0, start)), rest: join(steps.slice(start)) };
}

/**
 * The order of a flash curriculum: easy rows first for a short while, then all of them. Of `count` rows that are sorted from easy to hard the first `share` are shown once, and behind them every row in the order of `shuffled`.
 *
 * @param shuffled a permutation of 0 to count − 1
 * @throws DataOptionError for a share outside of [0, 1]
 */
export function flashOrder(count: number, share: number, shuffled: readonly number[]): number[] {
  if (!(share >= 0 && share <= 1)) throw new DataOptionError('flashOrder', `share must be from 0 to 1, got ${share}.`);
  return [...Array.from({ length: Math.round(count * share) }, (_, i) => i), ...shuffled];
}
