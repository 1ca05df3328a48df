import { Key } from '@posttrain/core-tensor';

/** An endless order over `count` rows: every epoch is a shuffle of its own, a pure function of the seed. */
export class RowOrder {
  readonly #count: number;
  readonly #key: Key;
  #epoch = -1;
  #order: Int32Array = new Int32Array(0);

  constructor(count: number, seed: number) {
    this.#count = count;
    this.#key = Key.fromSeed(seed);
  }

  /** Index of the row at position `cursor`, counted from 0 over all epochs. */
  at(cursor: number): number {
    const epoch = Math.floor(cursor / this.#count);
    if (epoch !== this.#epoch) this.#shuffle(epoch);
    return this.#order[cursor - epoch * this.#count]!;
  }

  #shuffle(epoch: number): void {
    const uniform = this.#key.child(epoch).uniformHost(this.#count);
    const order = Int32Array.from({ length: this.#count }, (_, i) => i);
    for (let i = this.#count - 1; i > 0; i--) {
      const j = Math.floor(uniform[i]! * (i + 1));
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    this.#epoch = epoch;
    this.#order = order;
  }
}
