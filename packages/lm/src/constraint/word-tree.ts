/** The words `from` … `to - 1`, which have their first `length` bytes in common. */
export interface WordPrefix {
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

/** Words as UTF-8, sorted, each once: word i is from `offsets[i]` up to `offsets[i + 1]`. */
export interface SortedWords {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly offsets: Int32Array<ArrayBuffer>;
}

export function sortedWords(texts: readonly string[]): SortedWords {
  // Strings of one character a byte compare faster than bytes.
  const words = [...new Set(texts.map((text) => Buffer.from(text, 'utf8').toString('latin1')))].sort();
  const offsets = new Int32Array(words.length + 1);
  words.forEach((word, i) => {
    offsets[i + 1] = offsets[i]! + word.length;
  });
  const bytes = new Uint8Array(offsets[words.length]!);
  bytes.set(Buffer.from(words.join(''), 'latin1'));
  return { bytes, offsets };
}

/** An implicit trie of words: sorted by bytes, those with one prefix are a contiguous range. */
export class WordTree {
  /** Tells trees of one automaton apart. */
  readonly id: number;
  readonly #bytes: Uint8Array;
  readonly #offsets: Int32Array;

  constructor(id: number, { bytes, offsets }: SortedWords) {
    this.id = id;
    this.#bytes = bytes;
    this.#offsets = offsets;
  }

  /** How much memory it takes. */
  get bytes(): number {
    return this.#bytes.byteLength + this.#offsets.byteLength;
  }

  get all(): WordPrefix {
    return { from: 0, to: this.#offsets.length - 1, length: 0 };
  }

  /** Whether the prefix is itself a word. */
  isWord({ from, to, length }: WordPrefix): boolean {
    return from < to && this.#offsets[from + 1]! - this.#offsets[from]! === length;
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
      if (this.#bytes[this.#offsets[middle]! + length]! < byte) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
