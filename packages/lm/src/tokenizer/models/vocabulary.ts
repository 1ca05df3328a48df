import type { Fields } from '../fields.js';

/** Tokens and their ids, both ways. */
export class Vocabulary {
  readonly largestId: number;
  readonly #tokens: (string | undefined)[] = [];

  constructor(readonly ids: ReadonlyMap<string, number>) {
    let largest = -1;
    for (const id of ids.values()) largest = Math.max(largest, id);
    this.largestId = largest;
    this.#tokens = new Array(largest + 1).fill(undefined);
    for (const [token, id] of ids) this.#tokens[id] = token;
  }

  static read(fields: Fields): Vocabulary {
    return new Vocabulary(fields.ids('vocab'));
  }

  get size(): number {
    return this.ids.size;
  }

  /** What a model says of its tokens. */
  get lookups() {
    return {
      size: this.size,
      largestId: this.largestId,
      idOf: (token: string) => this.ids.get(token),
      tokenOf: (id: number) => this.tokenOf(id),
    };
  }

  tokenOf(id: number): string | undefined {
    return this.#tokens[id];
  }
}
