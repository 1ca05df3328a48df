import { PieceTrie } from '../models/piece-trie.js';

/** How much worse than the worst piece an unknown character is. */
const UNKNOWN_PENALTY = 10;
/** Beyond this the smaller of two log-probabilities adds nothing. */
const NEGLIGIBLE = 50;

/** A piece and its log-probability. */
export type ScoredPiece = readonly [piece: string, score: number];

/** Pieces as a unigram language model. The first is the unknown one: its score is not used, and no text is it. */
export class UnigramModel {
  readonly pieces: readonly ScoredPiece[];
  readonly worst: number;
  readonly #trie: PieceTrie;

  constructor(pieces: readonly ScoredPiece[]) {
    this.pieces = pieces;
    this.#trie = new PieceTrie(new Map(pieces.slice(1).map(([piece], i) => [piece, i + 1])));
    this.worst = pieces.slice(1).reduce((least, [, score]) => Math.min(least, score), Number.POSITIVE_INFINITY);
  }

  /** All ways to cut a text into pieces. */
  lattice(text: string): Lattice {
    const lattice = new Lattice(text.length);
    for (let start = 0; start < text.length; ) {
      const width = text.codePointAt(start)! > 0xffff ? 2 : 1;
      let hasSingle = false;
      this.#trie.prefixes(text, start, (end, id) => {
        lattice.add(start, end, id, this.pieces[id]![1]);
        if (end === start + width) hasSingle = true;
      });
      if (!hasSingle) lattice.add(start, start + width, 0, this.worst - UNKNOWN_PENALTY);
      start += width;
    }
    return lattice;
  }
}

/** The pieces that a text may be cut into, by where they begin: a graph from 0 to the end. */
export class Lattice {
  readonly #length: number;
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #ids: number[] = [];
  readonly #scores: number[] = [];

  constructor(length: number) {
    this.#length = length;
  }

  /** Pieces are added in the order of where they begin. */
  add(start: number, end: number, id: number, score: number): void {
    this.#starts.push(start);
    this.#ends.push(end);
    this.#ids.push(id);
    this.#scores.push(score);
  }

  /**
   * Forward-backward: adds `weight` times the probability of each piece to what is expected of it.
   *
   * @returns log of the sum of the probabilities of all cuts
   */
  expect(expected: Float64Array, weight: number): number {
    const [starts, ends, ids, scores] = [this.#starts, this.#ends, this.#ids, this.#scores];
    const before = new Float64Array(this.#length + 1).fill(Number.NEGATIVE_INFINITY);
    const after = new Float64Array(this.#length + 1).fill(Number.NEGATIVE_INFINITY);
    before[0] = 0;
    after[this.#length] = 0;
    for (let i = 0; i < ids.length; i++) {
      before[ends[i]!] = logAddExp(before[ends[i]!]!, before[starts[i]!]! + scores[i]!);
    }
    for (let i = ids.length - 1; i >= 0; i--) {
      after[starts[i]!] = logAddExp(after[starts[i]!]!, after[ends[i]!]! + scores[i]!);
    }
    const total = before[this.#length]!;
    for (let i = 0; i < ids.length; i++) {
      expected[ids[i]!]! += weight * Math.exp(before[starts[i]!]! + scores[i]! + after[ends[i]!]! - total);
    }
    return total;
  }

  /** The ids of the best cuts, the best first: `count` of them, or all. */
  best(count: 1 | 2): number[][] {
    const [starts, ends, ids, scores] = [this.#starts, this.#ends, this.#ids, this.#scores];
    /** The best cuts up to a place: their score, the last piece, and which of the cuts before it they go on from. */
    type Cut = { readonly score: number; readonly node: number; readonly from: number };
    const cuts: Cut[][] = Array.from({ length: this.#length + 1 }, () => []);
    cuts[0]!.push({ score: 0, node: -1, from: 0 });
    for (let node = 0; node < ids.length; node++) {
      const there = cuts[ends[node]!]!;
      cuts[starts[node]!]!.forEach(({ score }, from) => {
        const cut = { score: score + scores[node]!, node, from };
        const place = there.findIndex((other) => cut.score > other.score);
        there.splice(place < 0 ? there.length : place, 0, cut);
        if (there.length > count) there.pop();
      });
    }
    return cuts[this.#length]!.map((last) => {
      const path: number[] = [];
      for (let cut = last; cut.node >= 0; cut = cuts[starts[cut.node]!]![cut.from]!) path.push(ids[cut.node]!);
      return path.reverse();
    });
  }
}

function logAddExp(x: number, y: number): number {
  const [least, most] = x < y ? [x, y] : [y, x];
  if (least === Number.NEGATIVE_INFINITY || most > least + NEGLIGIBLE) return most;
  return most + Math.log(Math.exp(least - most) + 1);
}
