import type { ScoredPiece } from './lattice.js';

/** The most pieces to begin with. */
const SEED_SIZE = 1_000_000;

/** By falling number, of equal ones by falling text, in code points. */
const byScore = ([a, x]: ScoredPiece, [b, y]: ScoredPiece): number => y - x || -compare(a, b);

const compare = (a: string, b: string): number => {
  const [x, y] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const difference = x[i]!.codePointAt(0)! - y[i]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return x.length - y.length;
};

/**
 * The pieces that training a unigram model begins with: all characters with how often they occur, then the substrings of two to `longest`
 * characters that words have twice or more and that go on in two ways (internal nodes of the suffix tree), each with its occurrences
 * times its length. Scores are logarithms of their parts of the sum.
 *
 * @param words each with how often it occurs
 */
export function seedPieces(words: ReadonlyMap<string, number>, longest: number): ScoredPiece[] {
  const characters = new Map<string, number>();
  const points: number[] = [];
  for (const [word, count] of words) {
    if (word === '') continue;
    for (const character of word) {
      characters.set(character, (characters.get(character) ?? 0) + count);
      points.push(character.codePointAt(0)!);
    }
    points.push(BOUNDARY);
  }
  const substrings = repeated(Int32Array.from(points), longest).sort(byScore);
  const seeds = [...[...characters].sort(byScore), ...substrings].slice(0, Math.max(SEED_SIZE, characters.size));
  const logSum = Math.log(seeds.reduce((sum, [, score]) => sum + score, 0));
  return seeds.map(([piece, score]) => [piece, Math.log(score) - logSum]);
}

/** Between words. */
const BOUNDARY = 0;

/** Substrings without a boundary that occur more than once and are followed by different characters, with score. */
function repeated(points: Int32Array, longest: number): [piece: string, score: number][] {
  const n = points.length;
  /** One more character than a piece has: whether two go on differently. */
  const depth = longest + 1;
  const suffixes = Int32Array.from({ length: n }, (_, i) => i).sort((a, b) => {
    for (let k = 0; k < depth; k++) {
      if (a + k >= n || b + k >= n) return b - a;
      const difference = points[a + k]! - points[b + k]!;
      if (difference !== 0) return difference;
    }
    return a - b;
  });
  const common = (a: number, b: number): number => {
    let k = 0;
    while (k < depth && a + k < n && b + k < n && points[a + k] === points[b + k]) k++;
    return k;
  };
  const found: [string, number][] = [];
  const report = (first: number, end: number, length: number) => {
    if (length < 2 || length > longest) return;
    const start = suffixes[first]!;
    const piece = points.subarray(start, start + length);
    if (!piece.includes(BOUNDARY)) found.push([String.fromCodePoint(...piece), (end - first) * length]);
  };
  // Intervals of suffixes with a common beginning, the longest within the shorter ones.
  const open: { first: number; length: number }[] = [];
  for (let i = 1; i <= n; i++) {
    const length = i < n ? common(suffixes[i - 1]!, suffixes[i]!) : 0;
    let first = i - 1;
    while (open.length > 0 && open.at(-1)!.length > length) {
      const closed = open.pop()!;
      report(closed.first, i, closed.length);
      first = closed.first;
    }
    if (length > 0 && open.at(-1)?.length !== length) open.push({ first, length });
  }
  return found;
}
