/** Values from a callback to `for await`. They wait for their reader, who may stop at any time. */
export class Channel<T> implements AsyncIterable<T> {
  readonly #values: T[] = [];
  #outcome: { readonly error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  push(value: T): void {
    this.#values.push(value);
    this.#wake?.();
  }

  end(): void {
    this.#outcome ??= {};
    this.#wake?.();
  }

  /** The reader gets the error after what was pushed before it. */
  fail(error: unknown): void {
    this.#outcome ??= { error };
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    while (true) {
      if (this.#values.length > 0) yield this.#values.shift()!;
      else if (this.#outcome) {
        if ('error' in this.#outcome) throw this.#outcome.error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
