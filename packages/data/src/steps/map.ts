import { assertKnownOptions, hashText, isPosttrainError } from '@posttrain/interfaces';
import { assertCallback, DataOptionError, DataStepError, messageOf, RowError } from '../errors.js';
import { kindOf, type Row } from '../rows.js';
import type { DataStep } from '../step.js';

/** Options of `map`. */
export interface MapOptions {
  /** What to do when the callback throws a `RowError`. Other errors always end the pipeline. Default `'throw'`. */
  readonly onRowError?: 'throw' | 'drop';
  /** What the callback does, to know a finished stage again. Default: a hash of its source text as it runs, which another compiler changes. */
  readonly version?: string;
}

/** Replaces each row by what the callback returns. The row number counts the rows this step reads, from 1. */
export function map<In extends object = Row, Out extends object = Row>(
  name: string,
  transform: (row: In, rowNumber: number) => Out | Promise<Out>,
  options: MapOptions = {},
): DataStep<In, Out> {
  assertKnownOptions(`map "${name}"`, options, ['onRowError', 'version']);
  assertCallback(`map "${name}"`, 'transform', transform ?? null);
  if (![undefined, 'throw', 'drop'].includes(options.onRowError)) {
    throw new DataOptionError(
      `map "${name}"`,
      `"onRowError" must be "throw" or "drop", got ${JSON.stringify(options.onRowError)}.`,
    );
  }
  return {
    name,
    version: `${options.version ?? hashText(String(transform))} ${options.onRowError ?? 'throw'}`,
    async *apply(rows, context) {
      let rowNumber = 0;
      for await (const row of rows) {
        rowNumber++;
        let mapped: Out;
        try {
          mapped = await transform(row, rowNumber);
        } catch (error) {
          if (error instanceof RowError && options.onRowError === 'drop') {
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
