import { type Tensor, tensor } from '@posttrain/core-tensor';
import type { Network } from '../model/network.js';
import type { StepResults } from './paged-steps.js';

/** Free buffers that are kept: decode steps and prefill pieces alternate. */
const MOST_FREE = 4;

/** A row of softmax(logits / temperature), as the engine computed it. */
export interface RowSoftmax {
  /** [vocabulary]. */
  readonly probabilities: Float32Array;
  /** The first of the largest logits. */
  readonly mostLikely: number;
}

/** Donated buffers: results of earlier steps that nobody reads any more, which the next steps write over. */
export class StepMemory {
  /** Oldest first. */
  readonly #free: StepResults[] = [];
  #lent: StepResults[] = [];

  constructor(private readonly network: Network) {}

  /** Memory for the results of so many positions, with their softmax or without, and of so many inner layers. */
  take(count: number, withSoftmax: boolean, layers: number): StepResults {
    const at = this.#free.findIndex(({ logits, probabilities, inner = [] }) => {
      return logits.shape[0] === count && (probabilities !== undefined) === withSoftmax && inner.length === layers;
    });
    if (at >= 0) return this.#free.splice(at, 1)[0]!;
    const { vocabSize, hiddenSize } = this.network.config;
    const floats = (width: number) => tensor(new Float32Array(count * width), [count, width]);
    const results = {
      ...{ logits: floats(vocabSize), hidden: floats(hiddenSize) },
      ...(layers > 0 && { inner: Array.from({ length: layers }, () => floats(vocabSize)) }),
    };
    if (!withSoftmax) return results;
    return { ...results, probabilities: floats(vocabSize), mostLikely: tensor(new Int32Array(count), [count]) };
  }

  /** Remembers results that are being looked at until `reclaim`. */
  lend(results: StepResults): void {
    this.#lent.push(results);
  }

  /** What was lent is not looked at any more. */
  reclaim(): void {
    this.#free.push(...this.#lent);
    this.#lent = [];
    this.#free.splice(0, Math.max(0, this.#free.length - MOST_FREE));
  }
}

/** The rows of matrices by their memory, which comes back. */
const knownRows = new WeakMap<Float32Array, Float32Array[]>();

/** The rows of a matrix. */
export async function rowsOf(x: Tensor): Promise<readonly Float32Array[]> {
  const [count, width] = x.shape as [number, number];
  const data = await x.data();
  // The reference engine computes in double precision.
  const numbers = data instanceof Float32Array ? data : Float32Array.from(data as Float64Array);
  const known = knownRows.get(numbers);
  if (known?.length === count) return known;
  const rows = Array.from({ length: count }, (_, i) => numbers.subarray(i * width, (i + 1) * width));
  knownRows.set(numbers, rows);
  return rows;
}

/** The softmax of each position, if it was computed. */
export async function softmaxesOf({ probabilities, mostLikely }: StepResults): Promise<RowSoftmax[] | undefined> {
  if (!probabilities || !mostLikely) return undefined;
  const tokens = await mostLikely.data();
  return (await rowsOf(probabilities)).map((row, i) => ({ probabilities: row, mostLikely: tokens[i]! }));
}
