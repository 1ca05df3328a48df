/** What is wrong inside a Parquet file. `readParquet` makes a `DataFileError` of it that names the file. */
export class ParquetProblem extends Error {}

const DAMAGED = 'The file is damaged or cut short; download or write it again.';

/** A file whose parts contradict each other. */
export function damaged(what: string): ParquetProblem {
  return new ParquetProblem(`${what}. ${DAMAGED}`);
}

/** The same problem, with the place in front. */
export function at(place: string, error: unknown): ParquetProblem {
  if (error instanceof ParquetProblem) return new ParquetProblem(`${place}: ${error.message}`, { cause: error });
  return new ParquetProblem(`${place}: ${error instanceof Error ? error.message : String(error)}. ${DAMAGED}`, {
    cause: error,
  });
}
