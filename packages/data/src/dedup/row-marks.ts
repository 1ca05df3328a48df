import type { Shard, StepContext } from '../step.js';

/** A list of whole numbers below 2^32, four bytes each. */
export class Uint32List {
  #values = new Uint32Array(256);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const larger = new Uint32Array(2 * this.#length);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length++] = value;
  }

  /** A copy. */
  toArray(): Uint32Array {
    return this.#values.slice(0, this.#length);
  }
}

/**
 * What a plan says of rows, or of parts of them, by their places among those of all shards: one bit each, so that the plan of twenty million takes 2.5 MB. Of several
 * shards it has the rank of each place too, four bytes.
 */
export interface Marks {
  readonly marked: Uint8Array;
  readonly ranks?: Uint32Array;
}

/** Counts places in a plan, in which rows of all shards come in the order of the source. */
export class Places {
  readonly #world: number;
  readonly #ranks = new Uint32List();
  #count = 0;

  constructor({ world }: Shard) {
    this.#world = world;
  }

  get count(): number {
    return this.#count;
  }

  /** The place of what comes next, of this row. */
  next<R extends object>(row: R, context: StepContext<R>): number {
    if (this.#world > 1) this.#ranks.push(context.keyOf(row).position % this.#world);
    return this.#count++;
  }

  /** The marks of all places: `bits` sets them. */
  marks(bits: MarkBits): Marks {
    const marked = bits.toArray(this.#count);
    return this.#world > 1 ? { marked, ranks: this.#ranks.toArray() } : { marked };
  }

  /** The rank of each place, where there are several. */
  ranks(): Uint32Array | undefined {
    return this.#world > 1 ? this.#ranks.toArray() : undefined;
  }
}

/** Bits, all 0 at first. */
export class MarkBits {
  #bits = new Uint8Array(1024);

  set(place: number): void {
    const at = Math.floor(place / 8);
    if (at >= this.#bits.length) {
      const larger = new Uint8Array(Math.max(2 * this.#bits.length, at + 1));
      larger.set(this.#bits);
      this.#bits = larger;
    }
    this.#bits[at]! |= 1 << (place & 7);
  }

  toArray(count: number): Uint8Array {
    const bits = new Uint8Array(Math.ceil(count / 8));
    bits.set(this.#bits.subarray(0, bits.length));
    return bits;
  }
}

export const isMarked = (bits: Uint8Array, place: number): boolean =>
  ((bits[Math.floor(place / 8)] ?? 0) & (1 << (place & 7))) !== 0;

/** The places of one shard's rows, or parts of them, one after the other, as the plan has counted them. */
export function placesOf(ranks: Uint32Array | undefined, { rank }: Shard): () => number {
  let place = -1;
  return () => {
    place++;
    while (ranks !== undefined && place < ranks.length && ranks[place] !== rank) place++;
    return place;
  };
}
