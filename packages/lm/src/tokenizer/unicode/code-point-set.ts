const LAST = 0x10ffff;

/** A set of code points: sorted, disjoint ranges, ends included. Immutable. */
export class CodePointSet {
  static readonly all = new CodePointSet([0, LAST]);
  /** Starts and ends in turn. */
  readonly #ranges: readonly number[];
  #basic: Uint8Array | undefined;

  private constructor(ranges: readonly number[]) {
    this.#ranges = ranges;
  }

  /** Of ranges in any order, ends included, starts and ends in turn. */
  static of(ranges: readonly number[]): CodePointSet {
    const pairs: [number, number][] = [];
    for (let i = 0; i < ranges.length; i += 2) pairs.push([ranges[i]!, ranges[i + 1]!]);
    pairs.sort((a, b) => a[0] - b[0]);
    const merged: number[] = [];
    for (const [start, end] of pairs) {
      if (merged.length > 0 && start <= merged.at(-1)! + 1) merged[merged.length - 1] = Math.max(merged.at(-1)!, end);
      else merged.push(start, end);
    }
    return new CodePointSet(merged);
  }

  static ofText(characters: string): CodePointSet {
    return CodePointSet.of(Array.from(characters, (character) => character.codePointAt(0)!).flatMap((p) => [p, p]));
  }

  /** Of the gaps and lengths that goldens/tokenizers/unicode.py writes. */
  static decode(text: string): CodePointSet {
    const numbers = text.split(' ').map((part) => Number.parseInt(part, 36));
    const ranges: number[] = [];
    for (let i = 0, end = 0; i + 1 < numbers.length; i += 2) {
      const start = end + numbers[i]!;
      ranges.push(start, start + numbers[i + 1]!);
      end = start + numbers[i + 1]! + 1;
    }
    return new CodePointSet(ranges);
  }

  has(point: number): boolean {
    if (point < 0x10000) {
      this.#basic ??= this.#basicPlane();
      return (this.#basic[point >> 3]! & (1 << (point & 7))) !== 0;
    }
    let low = 0;
    let high = this.#ranges.length / 2;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ranges[2 * middle + 1]! < point) low = middle + 1;
      else high = middle;
    }
    return 2 * low < this.#ranges.length && this.#ranges[2 * low]! <= point;
  }

  union(...others: readonly CodePointSet[]): CodePointSet {
    return CodePointSet.of([this, ...others].flatMap((set) => [...set.#ranges]));
  }

  complement(): CodePointSet {
    const ranges: number[] = [];
    let next = 0;
    for (let i = 0; i < this.#ranges.length; i += 2) {
      if (this.#ranges[i]! > next) ranges.push(next, this.#ranges[i]! - 1);
      next = this.#ranges[i + 1]! + 1;
    }
    if (next <= LAST) ranges.push(next, LAST);
    return new CodePointSet(ranges);
  }

  intersection(other: CodePointSet): CodePointSet {
    return this.complement().union(other.complement()).complement();
  }

  minus(other: CodePointSet): CodePointSet {
    return this.intersection(other.complement());
  }

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  isSubsetOf(other: CodePointSet): boolean {
    return this.minus(other).isEmpty;
  }

  isDisjointFrom(other: CodePointSet): boolean {
    return this.intersection(other).isEmpty;
  }

  /** A character class of ECMAScript, for the flag `u`. */
  toSource(): string {
    if (this.isEmpty) return '[]';
    const escaped = (point: number) => `\\u{${point.toString(16)}}`;
    let source = '';
    for (let i = 0; i < this.#ranges.length; i += 2) {
      const [start, end] = [this.#ranges[i]!, this.#ranges[i + 1]!];
      source += start === end ? escaped(start) : `${escaped(start)}-${escaped(end)}`;
    }
    return `[${source}]`;
  }

  #basicPlane(): Uint8Array {
    const bits = new Uint8Array(0x2000);
    for (let i = 0; i < this.#ranges.length && this.#ranges[i]! < 0x10000; i += 2) {
      const end = Math.min(this.#ranges[i + 1]!, 0xffff);
      for (let point = this.#ranges[i]!; point <= end; point++) bits[point >> 3]! |= 1 << (point & 7);
    }
    return bits;
  }
}
