import { type CodePoints, intersectionOf, LARGEST_CODE_POINT } from './expression.js';

/** One inclusive range for each byte of a character. */
export type ByteRanges = readonly (readonly [low: number, high: number])[];

/** Code points of equal UTF-8 length; surrogates have none. */
const LENGTHS: CodePoints = [
  [0, 0x7f],
  [0x80, 0x7ff],
  [0x800, 0xd7ff],
  [0xe000, 0xffff],
  [0x10000, LARGEST_CODE_POINT],
];

/** A repetition asks for the same set again and again. */
const known = new WeakMap<CodePoints, ByteRanges[]>();

/** The UTF-8 of code points, as sequences of byte ranges whose products make up the set. */
export function utf8Ranges(ranges: CodePoints): ByteRanges[] {
  const [first, ...others] = ranges;
  // What most texts are made of.
  if (first && others.length === 0 && first[1] <= 0x7f) return [[first]];
  let found = known.get(ranges);
  if (!found) {
    found = LENGTHS.flatMap((length) =>
      intersectionOf(ranges, [length]).flatMap(([low, high]) => split(encode(low), encode(high))),
    );
    known.set(ranges, found);
  }
  return found;
}

const encoder = new TextEncoder();
const encode = (codePoint: number): number[] => [...encoder.encode(String.fromCodePoint(codePoint))];

/** Splits where the leading byte changes, so that what follows is a whole range or again an interval. */
function split(low: readonly number[], high: readonly number[]): ByteRanges[] {
  const [first, last] = [low[0]!, high[0]!];
  if (low.length === 1) return [[[first, last]]];
  const [lowRest, highRest] = [low.slice(1), high.slice(1)];
  const least = lowRest.map(() => 0x80);
  const most = lowRest.map(() => 0xbf);
  const behind = (byte: number, from: readonly number[], to: readonly number[]): ByteRanges[] =>
    split(from, to).map((rest) => [[byte, byte], ...rest]);
  if (first === last) return behind(first, lowRest, highRest);
  const isWholeLow = lowRest.every((byte) => byte === 0x80);
  const isWholeHigh = highRest.every((byte) => byte === 0xbf);
  const from = isWholeLow ? first : first + 1;
  const to = isWholeHigh ? last : last - 1;
  return [
    ...(isWholeLow ? [] : behind(first, lowRest, most)),
    ...(from > to ? [] : [[[from, to], ...lowRest.map(() => [0x80, 0xbf] as const)] as ByteRanges]),
    ...(isWholeHigh ? [] : behind(last, least, highRest)),
  ];
}
