/** The words `from` … `to - 1`, which have their first `length` bytes in common. */
export interface WordPrefix {
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

/** Words as a tree of bytes that nobody has to build: sorted, those with one beginning lie together. */
export class WordTree {
  /** Tells trees of one automaton apart. */
  readonly id: number;
  /** About how much memory it takes. */
  readonly bytes: number;
  /** UTF-8, a character a byte, sorted, each once. */
  readonly #words: readonly string[];

  constructor(id: number, texts: readonly string[]) {
    this.id = id;
    this.#words = [...new Set(texts.map((text) => Buffer.from(text, 'utf8').toString('latin1')))].sort();
    this.bytes = this.#words.reduce((sum, word) => sum + word.length + 32, 0);
  }

  get all(): WordPrefix {
    return { from: 0, to: this.#words.length, length: 0 };
  }

  /** Whether the prefix is itself a word. */
  isWord({ from, to, length }: WordPrefix): boolean {
    return from < to && this.#words[from]!.length === length;
  }

  /** The words that go on behind the prefix; undefined where there is none. */
  longer(prefix: WordPrefix): WordPrefix | undefined {
    const from = prefix.from + Number(this.isWord(prefix));
    return from < prefix.to ? { ...prefix, from } : undefined;
  }

  /** Those that go on with a byte, all of them being longer than the prefix; undefined where there is none. */
  behind({ from, to, length }: WordPrefix, byte: number): WordPrefix | undefined {
    const first = this.#firstFrom(from, to, length, byte);
    const end = this.#firstFrom(first, to, length, byte + 1);
    return first < end ? { from: first, to: end, length: length + 1 } : undefined;
  }

  /** The first of the words whose byte behind the prefix is at least this. */
  #firstFrom(from: number, to: number, length: number, byte: number): number {
    let [low, high] = [from, to];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#words[middle]!.charCodeAt(length) < byte) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
