import { type Piece, part } from './piece.js';

export const BEHAVIORS = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const;
/** What becomes of the delimiters that a text is split at. */
export type Behavior = (typeof BEHAVIORS)[number];

/** Matches of a pattern in a text: starts and ends in turn, in order, without overlaps. */
export type Matches = readonly number[];

/** Every match of a global pattern that is never empty. */
export function matchesOf(pattern: RegExp, text: string): number[] {
  const matches: number[] = [];
  for (const match of text.matchAll(pattern)) matches.push(match.index, match.index + match[0].length);
  return matches;
}

/** Cuts a piece at `matches`; empty parts are left out. @param invert what is not matched are the delimiters */
export function splitPiece(piece: Piece, matches: Matches, behavior: Behavior, invert: boolean, into: Piece[]): void {
  const { length } = piece.text;
  if (matches.length === 0 && !(invert && behavior === 'Removed')) {
    into.push(piece);
    return;
  }
  const starts: number[] = [];
  const ends: number[] = [];
  const delimits: boolean[] = [];
  const add = (start: number, end: number, matched: boolean) => {
    starts.push(start);
    ends.push(end);
    delimits.push(matched !== invert);
  };
  let position = 0;
  for (let i = 0; i < matches.length; i += 2) {
    if (position !== matches[i]) add(position, matches[i]!, false);
    add(matches[i]!, matches[i + 1]!, true);
    position = matches[i + 1]!;
  }
  if (position !== length) add(position, length, false);

  const emit = (start: number, end: number) => {
    if (end > start) into.push(part(piece, start, end));
  };
  const count = starts.length;
  for (let i = 0; i < count; ) {
    let next = i + 1;
    if (behavior === 'Contiguous') while (next < count && delimits[next] === delimits[i]) next++;
    // A delimiter joins the text before it; of several in a row only the first does.
    if (behavior === 'MergedWithPrevious' && !delimits[i] && next < count && delimits[next]) next++;
    // The last of several in a row joins the text behind it.
    if (behavior === 'MergedWithNext' && delimits[i] && next < count && !delimits[next]) next++;
    if (!(behavior === 'Removed' && delimits[i])) emit(starts[i]!, ends[next - 1]!);
    i = next;
  }
}

/** Starts and ends of a character in a text. */
export function placesOf(text: string, character: string): number[] {
  const places: number[] = [];
  for (let at = text.indexOf(character); at >= 0; at = text.indexOf(character, at + character.length)) {
    places.push(at, at + character.length);
  }
  return places;
}
