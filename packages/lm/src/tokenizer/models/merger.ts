import type { Places } from './model.js';

/** Ids are below 2^24, so a pair of them is an exact number. */
const PAIR = 2 ** 24;
/** Texts are shorter than 2^27 code units, and ranks below 2^26, so both fit one number, which orders by rank first. */
const POSITION = 2 ** 27;

/**
 * Joins pairs of neighbours: the pair of lowest rank first, of equal ones the leftmost, in O(n log n). The list of
 * symbols and the queue are kept from text to text.
 */
export class Merger {
  readonly #ranks = new Map<number, number>();
  readonly #results: number[] = [];

  #count = 0;
  #ids = new Int32Array(256);
  #previous = new Int32Array(256);
  #next = new Int32Array(256);
  #starts = new Int32Array(256);
  /** -1: the symbol was joined to its left neighbour. */
  #ends = new Int32Array(256);
  #queue = new Float64Array(256);
  #queued = 0;

  learn(left: number, right: number, rank: number, result: number): void {
    this.#ranks.set(left * PAIR + right, rank);
    this.#results[rank] = result;
  }

  clear(): void {
    this.#count = 0;
    this.#queued = 0;
  }

  add(id: number, start: number, end: number): void {
    const i = this.#count++;
    if (i >= this.#ids.length) this.#grow();
    this.#ids[i] = id;
    this.#previous[i] = i - 1;
    this.#next[i] = i + 1;
    this.#starts[i] = start;
    this.#ends[i] = end;
  }

  mergeAll(): void {
    const count = this.#count;
    const [ids, previous, next, ends] = [this.#ids, this.#previous, this.#next, this.#ends];
    for (let i = 0; i + 1 < count; i++) this.#offer(i, i + 1);
    while (this.#queued > 0) {
      const key = this.#pop();
      const at = key % POSITION;
      const rank = (key - at) / POSITION;
      if (ends[at] === -1) continue;
      const right = next[at]!;
      if (right >= count) continue;
      // The neighbours may have changed since the pair was queued.
      const now = this.#ranks.get(ids[at]! * PAIR + ids[right]!);
      if (now === undefined || this.#results[now] !== this.#results[rank]) continue;
      ids[at] = this.#results[rank]!;
      const after = next[right]!;
      this.#ends[at] = ends[right]!;
      ends[right] = -1;
      next[at] = after;
      if (after < count) previous[after] = at;
      if (previous[at]! >= 0) this.#offer(previous[at]!, at);
      if (after < count) this.#offer(at, after);
    }
  }

  take(ids: number[], places: Places | undefined): void {
    for (let i = 0; i < this.#count; i = this.#next[i]!) {
      ids.push(this.#ids[i]!);
      places?.push(this.#starts[i]!, this.#ends[i]!);
    }
  }

  #offer(left: number, right: number): void {
    const rank = this.#ranks.get(this.#ids[left]! * PAIR + this.#ids[right]!);
    if (rank === undefined) return;
    const key = rank * POSITION + left;
    if (this.#queued >= this.#queue.length)
      this.#queue = resized(this.#queue, new Float64Array(2 * this.#queue.length));
    const queue = this.#queue;
    let i = this.#queued++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (queue[parent]! <= key) break;
      queue[i] = queue[parent]!;
      i = parent;
    }
    queue[i] = key;
  }

  #pop(): number {
    const queue = this.#queue;
    const top = queue[0]!;
    const last = queue[--this.#queued]!;
    const count = this.#queued;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= count) break;
      if (child + 1 < count && queue[child + 1]! < queue[child]!) child++;
      if (queue[child]! >= last) break;
      queue[i] = queue[child]!;
      i = child;
    }
    queue[i] = last;
    return top;
  }

  #grow(): void {
    const size = 2 * this.#ids.length;
    this.#ids = resized(this.#ids, new Int32Array(size));
    this.#previous = resized(this.#previous, new Int32Array(size));
    this.#next = resized(this.#next, new Int32Array(size));
    this.#starts = resized(this.#starts, new Int32Array(size));
    this.#ends = resized(this.#ends, new Int32Array(size));
  }
}

function resized<T extends Int32Array<ArrayBuffer> | Float64Array<ArrayBuffer>>(from: T, to: T): T {
  to.set(from);
  return to;
}
