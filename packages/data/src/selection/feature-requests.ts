import { custom, type FeatureRequest, integer, PosttrainError, type Prompt, showValue } from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { kindOf, ownValue } from '../rows.js';

/** Options of every step that asks a model what rows are like to it. */
export const featureRequestShape = {
  /** What of a row the model is asked about. Default: its columns `prompt` and `completion`. */
  request: custom<(row: never) => FeatureRequest>()('a function of the row', (value) => typeof value === 'function', {
    optional: true,
  }),
  /** Rows that are asked about in one call. Default 64. */
  batchSize: integer({ default: 64, min: 1, decisive: false }),
};

/** What a model is asked about one row. @throws RowError where its columns are not a prompt and a text */
export function featureRequestOf(
  row: object,
  rowNumber: number,
  request?: (row: never) => FeatureRequest,
): FeatureRequest {
  if (request) return request(row as never);
  const [prompt, completion] = [ownValue(row, 'prompt'), ownValue(row, 'completion')];
  const advice = 'say with "request" what the model is asked about.';
  if (typeof prompt !== 'string' && !Array.isArray(prompt)) {
    throw new RowError(rowNumber, 'prompt', `must be a text or messages, got ${kindOf(prompt)}; ${advice}`);
  }
  if (typeof completion !== 'string') {
    throw new RowError(rowNumber, 'completion', `must be a text, got ${kindOf(completion)}; ${advice}`);
  }
  return { prompt: prompt as Prompt, completion };
}

/** Vectors that a model gave, one a request and all of one length. @throws PosttrainError `BAD_RESPONSE` */
export function checkedVectors(name: string, vectors: readonly Float32Array[], count: number): readonly Float32Array[] {
  const fail = (problem: string) => new PosttrainError('BAD_RESPONSE', `${name} returned ${problem}`);
  const isList = Array.isArray(vectors) && vectors.every((vector) => typeof vector?.length === 'number');
  if (!isList) throw fail(`${showValue(vectors)} for ${count} requests; it must be a list of vectors.`);
  const length = vectors[0]?.length;
  if (vectors.length === count && vectors.every((vector) => vector.length === length)) {
    const bad = vectors.findIndex((vector) => !vector.every(Number.isFinite));
    if (bad < 0) return vectors;
    throw fail(`a vector for request ${bad} with something in it that is no finite number.`);
  }
  const lengths = [...new Set(vectors.map((vector) => vector.length))].join(', ');
  throw fail(
    `${vectors.length} vectors of lengths ${lengths} for ${count} requests; it must be one each, all of one length.`,
  );
}

/** Lists of at most `size` rows with the number of the first, counted from 1. */
export async function* inBatches<R extends object>(
  rows: AsyncIterable<R>,
  size: number,
): AsyncGenerator<{ readonly batch: R[]; readonly first: number }> {
  let batch: R[] = [];
  let first = 1;
  for await (const row of rows) {
    batch.push(row);
    if (batch.length < size) continue;
    yield { batch, first };
    first += batch.length;
    batch = [];
  }
  if (batch.length > 0) yield { batch, first };
}
