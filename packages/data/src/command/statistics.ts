import { ownValue } from '../rows.js';

/** What rows look like. */
export interface Statistics {
  readonly rows: number;
  /** Rows whose column is a text, which the rest is of. */
  readonly texts: number;
  readonly characters: number;
  readonly words: number;
  readonly meanCharacters: number;
  /** Least, quartiles, 95th percentile and greatest length in characters. */
  readonly lengths: {
    readonly min: number;
    readonly p25: number;
    readonly p50: number;
    readonly p75: number;
    readonly p95: number;
    readonly max: number;
  };
  /** Texts of 2^i to 2^(i+1) - 1 characters, i from 0 on; empty ones are in the first. */
  readonly histogram: readonly number[];
}

/** Lengths that are kept for the percentiles, evenly spread: beyond so many, every second one is let go. */
const KEPT = 100_000;

/** Counts rows as they pass. */
export class RowStatistics {
  #rows = 0;
  #texts = 0;
  #characters = 0;
  #words = 0;
  #every = 1;
  #lengths: number[] = [];
  #least = Number.POSITIVE_INFINITY;
  #most = 0;
  readonly #histogram: number[] = [];
  readonly #column: string;
  constructor(column: string) {
    this.#column = column;
  }

  add(row: object): void {
    this.#rows++;
    const text = ownValue(row, this.#column);
    if (typeof text !== 'string') return;
    const { length } = text;
    this.#characters += length;
    this.#words += text.match(/\S+/g)?.length ?? 0;
    [this.#least, this.#most] = [Math.min(this.#least, length), Math.max(this.#most, length)];
    const bin = Math.floor(Math.log2(Math.max(1, length)));
    while (this.#histogram.length <= bin) this.#histogram.push(0);
    this.#histogram[bin]!++;
    if (this.#texts++ % this.#every === 0) this.#lengths.push(length);
    if (this.#lengths.length < KEPT) return;
    this.#lengths = this.#lengths.filter((_, i) => i % 2 === 0);
    this.#every *= 2;
  }

  result(): Statistics {
    const sorted = this.#lengths.toSorted((a, b) => a - b);
    const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
    return {
      rows: this.#rows,
      texts: this.#texts,
      characters: this.#characters,
      words: this.#words,
      meanCharacters: this.#texts === 0 ? 0 : this.#characters / this.#texts,
      lengths: {
        min: this.#texts === 0 ? 0 : this.#least,
        p25: at(0.25),
        p50: at(0.5),
        p75: at(0.75),
        p95: at(0.95),
        max: this.#most,
      },
      histogram: this.#histogram,
    };
  }
}
