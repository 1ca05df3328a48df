import { type Adapter, sameAdapter } from '../model/adapter.js';
import { roundUpToPowerOfTwo, roundUpToSize } from '../model/sizes.js';

/** Tokens to append to a sequence, at least one. */
export interface AppendedTokens {
  readonly tokens: readonly number[];
  readonly adapter: Adapter;
}

/** Tokens `from` … `to - 1` of a row. */
export interface Piece {
  readonly row: number;
  readonly from: number;
  readonly to: number;
}

/** Cuts the rows into passes of rows with one adapter, at most `maxTokens` each with the padding. */
export function passesOf(rows: readonly AppendedTokens[], maxTokens: number): Piece[][] {
  const passes: Piece[][] = [];
  const groups = new Map<unknown, number[]>();
  rows.forEach(({ adapter }, i) => {
    const key = [...groups.keys()].find((known) => sameAdapter(known as Adapter, adapter)) ?? adapter;
    groups.set(key, [...(groups.get(key) ?? []), i]);
  });
  for (const members of groups.values()) {
    const pieces = members
      .flatMap((row) => {
        const { length } = rows[row]!.tokens;
        return Array.from({ length: Math.ceil(length / maxTokens) }, (_, i): Piece => {
          return { row, from: i * maxTokens, to: Math.min(length, (i + 1) * maxTokens) };
        });
      })
      // Full pieces of long rows first and in order, then rows of similar length together.
      .sort((a, b) => b.to - b.from - (a.to - a.from) || a.from - b.from || a.row - b.row);
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
