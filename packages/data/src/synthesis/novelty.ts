import { rougeL, rougeWords } from '@posttrain/interfaces';

/** Texts that are kept while none is too like another: Self-Instruct's pool (arXiv 2212.10560 §2.2). */
export class NoveltyPool {
  readonly #words: string[][];

  /** @param limit the ROUGE-L F1 with any text of the pool that a new text must stay below */
  constructor(
    texts: readonly string[],
    readonly limit: number,
  ) {
    this.#words = texts.map(rougeWords);
  }

  /** The highest ROUGE-L F1 with a text of the pool. 0 for an empty pool. */
  likeness(text: string): number {
    const words = rougeWords(text);
    let highest = 0;
    for (const own of this.#words) {
      // 2 · lcs ≤ 2 · the shorter: nothing longer or shorter by much can be more alike.
      const most = (2 * Math.min(own.length, words.length)) / (own.length + words.length || 1);
      if (most > highest) highest = Math.max(highest, rougeL(own, words));
    }
    return highest;
  }

  /** Takes a text in where it is new, and says whether it did. */
  add(text: string): boolean {
    if (this.likeness(text) >= this.limit) return false;
    this.#words.push(rougeWords(text));
    return true;
  }
}
