import type { Adapter } from '../model/adapter.js';
import { roundUpToPowerOfTwo, roundUpToSize } from '../model/sizes.js';

/** Why nothing can go on in a runner. */
export interface PassFailure {
  readonly error: unknown;
  /** The adapters of the pass that failed. */
  readonly adapters: readonly Adapter[];
}

/** Tokens `from` … `to - 1` of a row. */
export interface Piece {
  readonly row: number;
  readonly from: number;
  readonly to: number;
}

/**
 * Cuts each group of rows into passes, of at most `maxTokens` each with the padding. With `cut`, rows are cut wherever their positions are multiples of
 * `cut.step`, those at their beginning being `cut.starts`.
 */
export function passesOf(
  rows: readonly { readonly tokens: readonly number[] }[],
  groups: readonly (readonly number[])[],
  maxTokens: number,
  cut?: { readonly step: number; readonly starts: readonly number[] },
): Piece[][] {
  const passes: Piece[][] = [];
  for (const members of groups) {
    const pieces: (Piece & { readonly rank: number })[] = [];
    for (const row of members) {
      const { length } = rows[row]!.tokens;
      let rank = 0;
      for (let from = 0; from < length; ) {
        const left = cut ? cut.step - ((cut.starts[row]! + from) % cut.step) : maxTokens;
        const to = Math.min(length, from + maxTokens, from + left);
        // Cut pieces differ in length: those of a row stay in order.
        pieces.push({ row, from, to, rank: cut ? rank++ : 0 });
        from = to;
      }
    }
    // Full pieces of long rows first and in order, then rows of similar length together.
    pieces.sort((a, b) => a.rank - b.rank || b.to - b.from - (a.to - a.from) || a.from - b.from || a.row - b.row);
    let pass: Piece[] = [];
    for (const piece of pieces) {
      const { from, to } = pass[0] ?? piece;
      const width = roundUpToSize(to - from, WIDTH_STEP);
      const isWide = pass.length > 0 && width * roundUpToPowerOfTwo(pass.length + 1) > maxTokens;
      if (isWide || pass.some(({ row }) => row === piece.row)) {
        passes.push(pass);
        pass = [];
      }
      pass.push(piece);
    }
    if (pass.length > 0) passes.push(pass);
  }
  return passes;
}

const WIDTH_STEP = 16;

/**
 * The width that the rows of a pass are padded to, of which there should be few: every one is compiled for itself. Short ones,
 * such as proposals of a draft, are padded less.
 */
export const paddedWidth = (longest: number): number =>
  longest < WIDTH_STEP ? roundUpToPowerOfTwo(longest) : roundUpToSize(longest, WIDTH_STEP);
