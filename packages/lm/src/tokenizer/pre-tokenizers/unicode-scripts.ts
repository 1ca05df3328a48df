import type { Piece } from '../piece.js';
import { part } from '../piece.js';
import { SCRIPT_CLASSES } from '../unicode/unicode-data.js';

let table: { readonly starts: number[]; readonly ends: number[]; readonly classes: number[] } | undefined;

/** The class of a character's script; undefined for characters that go with any. */
function scriptOf(point: number): number | undefined {
  table ??= decodeTable();
  let low = 0;
  let high = table.ends.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (table.ends[middle]! < point) low = middle + 1;
    else high = middle;
  }
  return (table.starts[low] ?? Infinity) <= point ? table.classes[low] : undefined;
}

function decodeTable() {
  const [starts, ends, classes]: [number[], number[], number[]] = [[], [], []];
  const numbers = SCRIPT_CLASSES.split(' ').map((part) => Number.parseInt(part, 36));
  for (let i = 0, next = 0; i + 2 < numbers.length; i += 3) {
    const start = next + numbers[i]!;
    starts.push(start);
    ends.push(start + numbers[i + 1]!);
    classes.push(numbers[i + 2]!);
    next = start + numbers[i + 1]! + 1;
  }
  return { starts, ends, classes };
}

/**
 * `UnicodeScripts`: a piece for each run of a script. As in the reference implementation, what comes before the first
 * character that has a script is lost.
 */
export function scriptPieces(piece: Piece, into: Piece[]): void {
  const { text } = piece;
  let start: number | undefined;
  let last: number | undefined;
  for (let i = 0; i < text.length; ) {
    const point = text.codePointAt(i)!;
    const script = scriptOf(point);
    if (script !== undefined && script !== last) {
      if (start !== undefined) into.push(part(piece, start, i));
      start = i;
    }
    last = script ?? last;
    i += point > 0xffff ? 2 : 1;
  }
  if (start !== undefined) into.push(part(piece, start, text.length));
}
