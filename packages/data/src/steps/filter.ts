import { type Given, hashText, isPosttrainError, type Options, options, text } from '@posttrain/interfaces';
import { assertCallback, DataStepError, messageOf } from '../errors.js';
import { kindOf, type Row } from '../rows.js';
import type { DataStep } from '../step.js';

/** `true` keeps the row; `false` drops it for the step's name; `{ drop }` drops it and says why. */
export type FilterVerdict = boolean | { readonly drop: string };

const filterShape = {
  /** What the predicate does, to know a finished stage again. Default: a hash of its source text as it runs, which another compiler changes. */
  version: text({ optional: true }),
};
/** Options of `filter`. */
export type FilterOptions = Given<Options<typeof filterShape>>;

/** Keeps the rows the predicate accepts. The row number counts the rows this step reads, from 1. */
export function filter<R extends object = Row>(
  name: string,
  predicate: (row: R, rowNumber: number) => FilterVerdict | Promise<FilterVerdict>,
  given: FilterOptions = {},
): DataStep<R> & { readonly passes: true } {
  const { version } = options(`filter "${name}"`, filterShape).read(given);
  assertCallback(`filter "${name}"`, 'predicate', predicate ?? null);
  return {
    name,
    version: version ?? hashText(String(predicate)),
    passes: true,
    async *apply(rows, context) {
      let rowNumber = 0;
      for await (const row of rows) {
        rowNumber++;
        const verdict = await judge(name, predicate, row, rowNumber);
        if (verdict === true) yield row;
        else context.drop(row, verdict === false ? name : verdict.drop);
      }
    },
  };
}

async function judge<R extends object>(
  name: string,
  predicate: (row: R, rowNumber: number) => FilterVerdict | Promise<FilterVerdict>,
  row: R,
  rowNumber: number,
): Promise<FilterVerdict> {
  let verdict: unknown;
  try {
    verdict = await predicate(row, rowNumber);
  } catch (error) {
    if (isPosttrainError(error)) throw error;
    throw new DataStepError(name, rowNumber, messageOf(error), { cause: error });
  }
  if (typeof verdict === 'boolean') return verdict;
  if (typeof verdict === 'object' && verdict !== null && 'drop' in verdict && typeof verdict.drop === 'string') {
    return { drop: verdict.drop };
  }
  throw new DataStepError(name, rowNumber, `the predicate must return a boolean or { drop }, got ${kindOf(verdict)}.`);
}
