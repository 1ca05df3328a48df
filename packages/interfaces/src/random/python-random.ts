import { mt19937 } from './mt19937.js';

/**
 * Draws as CPython's `random.Random(seed)` makes them, for what must agree with a Python program: few-shot examples of
 * lm-evaluation-harness, its bootstraps. Everything else draws from `createRandom`.
 */
export class PythonRandom {
  readonly #next: () => number;

  /** @param seed a whole number; Python takes its absolute value. @throws RangeError for one beyond 2^53 */
  constructor(seed: number) {
    if (!Number.isSafeInteger(seed))
      throw new RangeError(`PythonRandom: the seed ${seed} is no whole number below 2^53.`);
    const size = Math.abs(seed);
    const high = Math.floor(size / 2 ** 32);
    this.#next = mt19937(high > 0 ? [size % 2 ** 32, high] : [size % 2 ** 32]);
  }

  /** In [0, 1), of 53 bits. */
  random(): number {
    const [a, b] = [this.#next() >>> 5, this.#next() >>> 6];
    return (a * 67108864 + b) / 9007199254740992;
  }

  /** A whole number of [0, n), for n up to 2^32. */
  below(n: number): number {
    const bits = n === 0 ? 0 : Math.floor(Math.log2(n)) + 1;
    if (!Number.isInteger(n) || n < 1 || bits > 32)
      throw new RangeError(`PythonRandom: below(${n}) needs 1 to 2^32 - 1.`);
    while (true) {
      const drawn = this.#next() >>> (32 - bits);
      if (drawn < n) return drawn;
    }
  }

  /** `random.randint(low, high)`: both ends included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  choice<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** `random.choices(items, k=count)`: with replacement. */
  choices<T>(items: readonly T[], count: number): T[] {
    return Array.from({ length: count }, () => items[Math.floor(this.random() * items.length)]!);
  }

  /** `random.sample(items, count)`: without replacement. @throws RangeError where there are fewer */
  sample<T>(items: readonly T[], count: number): T[] {
    const n = items.length;
    if (!(count >= 0 && count <= n)) throw new RangeError(`PythonRandom: a sample of ${count} out of ${n}.`);
    // CPython keeps a pool where that is smaller than a set of what is taken.
    const setSize = 21 + (count > 5 ? 4 ** Math.ceil(Math.log(count * 3) / Math.log(4)) : 0);
    if (n <= setSize) {
      const pool = [...items];
      return Array.from({ length: count }, (_, i) => {
        const at = this.below(n - i);
        const taken = pool[at]!;
        pool[at] = pool[n - i - 1]!;
        return taken;
      });
    }
    const selected = new Set<number>();
    return Array.from({ length: count }, () => {
      let at = this.below(n);
      while (selected.has(at)) at = this.below(n);
      selected.add(at);
      return items[at]!;
    });
  }

  /** `random.shuffle`, of a copy. */
  shuffled<T>(items: readonly T[]): T[] {
    const result = [...items];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [result[i], result[j]] = [result[j]!, result[i]!];
    }
    return result;
  }
}
