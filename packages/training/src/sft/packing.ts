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

/** How sequences share rows, by TRL's names: see `packRows`. */
export type PackingStrategy = 'bfd' | 'bfd_split' | 'wrapped';

/**
 * Packs sequences into rows of at most `capacity` tokens, as TRL's `pack_dataset` does.
 *
 * - `bfd`: best-fit decreasing; longer sequences are an error here, since cutting them is the caller's.
 * - `bfd_split`: longer sequences are cut into pieces of `capacity` tokens and a rest, and each piece is packed as a sequence of its own:
 *   no token is lost (arXiv 2404.10830), what a piece begins with is not predicted.
 * - `wrapped`: all sequences one after the other, cut at every `capacity` tokens. They see what comes before them in their row.
 *
 * The first token of a sequence is not trained, unless it is `wrapped` behind another. Rows in which no token is trained are left out.
 */
export function packRows(
  rows: readonly TokenizedRow[],
  capacity: number,
  strategy: PackingStrategy = 'bfd',
): PackedRow[] {
  if (strategy === 'wrapped') return wrapped(rows, capacity);
  const sequences = strategy === 'bfd' ? rows : rows.flatMap((row) => pieces(row, capacity));
  const lengths = sequences.map(({ tokens }) => tokens.length);
  const bins = bestFitDecreasing(lengths, capacity).map((bin) => {
    const packed = bin.map((index) => sequences[index]!);
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
  return bins.filter(({ mask }) => mask.includes(1));
}

function pieces({ tokens, mask }: TokenizedRow, capacity: number): TokenizedRow[] {
  const starts = Array.from({ length: Math.ceil(tokens.length / capacity) }, (_, i) => i * capacity);
  return starts.map((at) => ({ tokens: tokens.slice(at, at + capacity), mask: mask.slice(at, at + capacity) }));
}

function wrapped(rows: readonly TokenizedRow[], capacity: number): PackedRow[] {
  const all = { tokens: rows.flatMap(({ tokens }) => tokens), mask: rows.flatMap(({ mask }) => mask) };
  return pieces(all, capacity)
    .filter(({ mask }) => mask.includes(1, 1))
    .map((row) => ({ ...row, lengths: [row.tokens.length] }));
}
