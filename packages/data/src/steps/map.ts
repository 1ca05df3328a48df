import { type Given, hashText, isPosttrainError, type Options, oneOf, options, text } from '@posttrain/interfaces';
import { assertCallback, DataStepError, messageOf, RowError } from '../errors.js';
import { kindOf, type Row } from '../rows.js';
import type { DataStep } from '../step.js';

const mapShape = {
  /** What to do when the callback throws a `RowError`. Other errors always end the pipeline. Default `'throw'`. */
  onRowError: oneOf(['throw', 'drop'], { default: 'throw' }),
  /** What the callback does, to know a finished stage again. Default: a hash of its source text as it runs, which another compiler changes. */
  version: text({ optional: true }),
};
/** Options of `map`. */
export type MapOptions = Given<Options<typeof mapShape>>;

/** Replaces each row by what the callback returns. The row number counts the rows this step reads, from 1. */
export function map<In extends object = Row, Out extends object = Row>(
  name: string,
  transform: (row: In, rowNumber: number) => Out | Promise<Out>,
  given: MapOptions = {},
): DataStep<In, Out> {
  const { onRowError, version } = options(`map "${name}"`, mapShape).read(given);
  assertCallback(`map "${name}"`, 'transform', transform ?? null);
  return {
    name,
    version: `${version ?? hashText(String(transform))} ${onRowError}`,
    async *apply(rows, context) {
      let rowNumber = 0;
      for await (const row of rows) {
        rowNumber++;
        let mapped: Out;
        try {
          mapped = await transform(row, rowNumber);
        } catch (error) {
          if (error instanceof RowError && onRowError === 'drop') {
            context.drop(row, `${error.field}: ${error.problem}`);
            continue;
          }
          if (isPosttrainError(error)) throw error;
          throw new DataStepError(name, rowNumber, messageOf(error), { cause: error });
        }
        if (typeof mapped !== 'object' || mapped === null) {
          throw new DataStepError(name, rowNumber, `the callback must return a row, got ${kindOf(mapped)}.`);
        }
        yield context.derive(mapped, row);
      }
    },
  };
}
