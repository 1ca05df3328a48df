import type { Automaton, AutomatonState } from './automaton.js';

/**
 * The bytes of all tokens as one tree, in the order of a walk: a state that cannot go on with a byte skips all tokens that
 * begin so.
 */
export class TokenTrie {
  readonly #words: number;
  readonly #bytes: Uint8Array;
  readonly #depths: Uint16Array;
  /** Where the walk goes on when a node is not entered. */
  readonly #skips: Int32Array;
  /** The tokens of node i are from `#firsts[i]` up to `#firsts[i + 1]` in `#tokens`. */
  readonly #firsts: Int32Array;
  readonly #tokens: Int32Array;

  /** @param tokens the bytes of each token by id; undefined or empty: never allowed */
  constructor(tokens: readonly (Uint8Array | undefined)[]) {
    this.#words = Math.ceil(tokens.length / 32);
    // Strings of one character a byte compare faster than bytes.
    const names = tokens.map((bytes) => Buffer.from(bytes ?? []).toString('latin1'));
    const order = [...tokens.keys()]
      .filter((token) => names[token] !== '')
      .sort((a, b) => (names[a]! < names[b]! ? -1 : names[a]! > names[b]! ? 1 : a - b));
    const [bytes, depths, firsts]: [number[], number[], number[]] = [[], [], []];
    let before: Uint8Array = new Uint8Array();
    order.forEach((token, place) => {
      const text = tokens[token]!;
      let depth = 0;
      while (depth < text.length && depth < before.length && text[depth] === before[depth]) depth++;
      for (; depth < text.length; depth++) {
        bytes.push(text[depth]!);
        depths.push(depth);
        // Tokens of a node come when its text is whole; nodes before it have none of their own yet.
        firsts.push(place);
      }
      before = text;
    });
    const count = bytes.length;
    this.#bytes = Uint8Array.from(bytes);
    this.#depths = Uint16Array.from(depths);
    this.#firsts = Int32Array.from([...firsts, order.length]);
    this.#tokens = Int32Array.from(order);
    this.#skips = new Int32Array(count);
    const open: number[] = [];
    for (let node = 0; node < count; node++) {
      while (open.length > 0 && depths[open.at(-1)!]! >= depths[node]!) this.#skips[open.pop()!] = node;
      open.push(node);
    }
    for (const node of open) this.#skips[node] = count;
  }

  /** The tokens that can be read from a state. */
  mask(automaton: Automaton, state: AutomatonState): Uint32Array {
    const mask = new Uint32Array(this.#words);
    const path: AutomatonState[] = [state];
    for (let node = 0; node < this.#bytes.length; ) {
      const depth = this.#depths[node]!;
      const next = automaton.step(path[depth]!, this.#bytes[node]!);
      if (next === null) {
        node = this.#skips[node]!;
        continue;
      }
      path[depth + 1] = next;
      for (let i = this.#firsts[node]!; i < this.#firsts[node + 1]!; i++) {
        const token = this.#tokens[i]!;
        mask[token >> 5]! |= 1 << (token & 31);
      }
      node++;
    }
    return mask;
  }
}
