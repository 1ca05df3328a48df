/** The `count` items of largest value, largest first; among equals the one that came first. */
export class Largest<T> {
  readonly items: { readonly value: number; readonly item: T }[] = [];
  /** What a value must exceed to be among them. */
  least = Number.NEGATIVE_INFINITY;
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
  }

  /** For a value above `least`. */
  add(value: number, item: T): void {
    let at = this.items.length;
    while (at > 0 && this.items[at - 1]!.value < value) at--;
    this.items.splice(at, 0, { value, item });
    if (this.items.length > this.#count) this.items.pop();
    if (this.items.length === this.#count) this.least = this.items.at(-1)!.value;
  }
}
