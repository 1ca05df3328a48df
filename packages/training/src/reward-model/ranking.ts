import { showValue } from '@posttrain/interfaces';

/** What a row says of the order of its completions: `ranks` (1 is the best; equal ones are ties) or `scores` (higher is better). */
export interface Ranking {
  readonly completions: readonly unknown[];
  readonly ranks?: readonly number[];
  readonly scores?: readonly number[];
}

/**
 * What the completions of a ranking are worth, higher is better, of its ranks or its scores.
 *
 * @throws what `fail` makes of the problem
 */
export function rankingScores(
  { completions, ranks, scores }: Ranking,
  fail: (problem: string) => Error,
): readonly number[] {
  if (!Array.isArray(completions) || completions.length < 2) {
    throw fail(`completions must be a list of at least 2, and is ${showValue(completions)}`);
  }
  if ((ranks === undefined) === (scores === undefined)) {
    const has = ranks === undefined ? 'neither ranks nor scores' : 'both ranks and scores';
    throw fail(`has ${has}; give one of the two`);
  }
  const [name, values] = ranks === undefined ? (['scores', scores] as const) : (['ranks', ranks] as const);
  if (!Array.isArray(values) || values.length !== completions.length || !values.every(Number.isFinite)) {
    const wanted = `a number for each of the ${completions.length} completions`;
    throw fail(`${name} must be ${wanted}, and is ${showValue(values)}`);
  }
  return name === 'scores' ? values : values.map((rank) => -rank);
}
