import { PosttrainError } from '@posttrain/interfaces';
import type { TokenizedRow } from './tokenize-rows.js';

/** Several sequences in one row. */
export interface PackedRow extends TokenizedRow {
  /** Lengths of the sequences, in order. They do not see each other. */
  readonly lengths: readonly number[];
}

/**
 * Best-fit decreasing bin packing (arXiv 2404.10830): items from the longest to the shortest, each into the fullest bin
 * that has room for it, the oldest among equals, else into a new one. Gives the indices of the items in each bin.
 *
 * @param lengths of the items, from 1 to `capacity`
 */
export function bestFitDecreasing(lengths: readonly number[], capacity: number): number[][] {
  const tooLong = lengths.findIndex((length) => length > capacity || length < 1);
  if (tooLong >= 0) {
    throw new PosttrainError(
      'PACKING',
      `item ${tooLong} of length ${lengths[tooLong]} does not fit rows of ${capacity}`,
    );
  }
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]!);
  const bins: number[][] = [];
  /** Bins by remaining capacity, each list from the oldest entry on. */
  const byRoom: number[][][] = Array.from({ length: capacity }, () => []);
  for (const item of order) {
    const length = lengths[item]!;
    let room = length;
    while (room < capacity && byRoom[room]!.length === 0) room++;
    const bin = room < capacity ? byRoom[room]!.shift()! : [];
    if (room >= capacity) {
      room = capacity;
      bins.push(bin);
    }
    bin.push(item);
    if (room > length) byRoom[room - length]!.push(bin);
  }
  return bins;
}

/** Packs sequences into rows of at most `capacity` tokens. The first token of a sequence is not trained. */
export function packRows(rows: readonly TokenizedRow[], capacity: number): PackedRow[] {
  const lengths = rows.map(({ tokens }) => tokens.length);
  return bestFitDecreasing(lengths, capacity).map((bin) => {
    const packed = bin.map((index) => rows[index]!);
    return {
      tokens: packed.flatMap(({ tokens }) => tokens),
      // What comes before it belongs to another sequence.
      mask: packed.flatMap(({ mask }) => [0, ...mask.slice(1)]),
      lengths: packed.map(({ tokens }) => tokens.length),
      ...(packed.some((row) => row.adapterInputs) && {
        adapterInputs: packed.flatMap(({ adapterInputs = {} }) => adapterInputs),
      }),
    };
  });
}
