import { custom, type Embedder } from '@posttrain/interfaces';
import { normalized } from '../dedup/spherical-k-means.js';
import { DataStepError } from '../errors.js';

/** What maps texts to vectors; a finished stage is known again by its name. */
export const embedderOption = custom<Embedder>()(
  'an Embedder: an object with a name and embed(texts)',
  (value) => typeof (value as Partial<Embedder> | null)?.embed === 'function',
  { settings: ({ name }) => name },
);

/** Embeddings of `count` texts, behind `before` others of `length` numbers. Throws where the embedder has not kept its contract. */
export function vectorsOf(
  step: string,
  given: unknown,
  count: number,
  before: number,
  length?: number,
): readonly Float32Array[] {
  const wrong = (what: string) => new DataStepError(step, before + 1, `the embedder ${what}.`);
  if (!Array.isArray(given) || given.length !== count) {
    throw wrong(`gave ${Array.isArray(given) ? `${given.length} vectors` : 'no list'} for ${count} texts`);
  }
  const isVector = (value: unknown) => Array.isArray(value) || ArrayBuffer.isView(value);
  if (!given.every(isVector)) throw wrong('gave something that is no vector');
  const vectors = given as unknown as readonly Float32Array[];
  const all = length ?? vectors[0]?.length ?? 0;
  if (count > 0 && all === 0) throw wrong('gave vectors without numbers');
  for (const vector of vectors) {
    if (vector.length !== all) throw wrong(`gave vectors of ${all} and of ${vector.length} numbers`);
    if (!vector.every((x) => Number.isFinite(Math.fround(x)))) {
      throw wrong('gave a vector with something in it that is no number of float32');
    }
  }
  return vectors;
}

/** The same at length 1. */
export const unitVectors = (...given: Parameters<typeof vectorsOf>): Float32Array[] =>
  vectorsOf(...given).map(normalized);
