/** The logits of one row. */
export type Logits = Float32Array | Float64Array;

/** Logits that rules change in a few places, in place, and that `restore` makes what they were. */
export class EditableScores {
  readonly values: Logits;
  readonly #tokens: number[] = [];
  readonly #before: number[] = [];

  constructor(values: Logits) {
    this.values = values;
  }

  get isEdited(): boolean {
    return this.#tokens.length > 0;
  }

  get size(): number {
    return this.values.length;
  }

  get(token: number): number {
    return this.values[token]!;
  }

  /** Tokens that the vocabulary does not have are ignored: a tokenizer may have more than the model. */
  set(token: number, score: number): void {
    if (token >= this.values.length) return;
    this.#tokens.push(token);
    this.#before.push(this.values[token]!);
    this.values[token] = score;
  }

  forbid(token: number): void {
    this.set(token, Number.NEGATIVE_INFINITY);
  }

  restore(): void {
    for (let i = this.#tokens.length - 1; i >= 0; i--) this.values[this.#tokens[i]!] = this.#before[i]!;
    this.#tokens.length = 0;
    this.#before.length = 0;
  }
}
