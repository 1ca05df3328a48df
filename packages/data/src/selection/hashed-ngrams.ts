import { createHash } from 'node:crypto';

/** NLTK's WordPunctTokenizer of a text in lower case: runs of letters, digits and underscores, and runs of everything else that is no white space. */
export const wordPunct = (text: string): string[] =>
  text.toLowerCase().match(/[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s]+/gu) ?? [];

/** SHA-256 as a number, modulo the number of buckets. */
function bucketOf(ngram: string, buckets: number): number {
  const digest = createHash('sha256').update(ngram, 'utf8').digest();
  let left = 0;
  for (const byte of digest) left = (left * 256 + byte) % buckets;
  return left;
}

/** Hashes n-grams, and remembers those it has seen. */
export class HashedNgrams {
  readonly #seen = new Map<string, number>();

  constructor(
    readonly buckets: number,
    readonly n: number,
  ) {}

  /** Buckets of the words of a text and of all n-grams up to n, with repeats. */
  of(text: string): number[] {
    const words = wordPunct(text);
    const found: number[] = [];
    for (let size = 1; size <= this.n; size++) {
      for (let i = 0; i + size <= words.length; i++) {
        const ngram = words.slice(i, i + size).join(' ');
        let bucket = this.#seen.get(ngram);
        if (bucket === undefined) {
          bucket = bucketOf(ngram, this.buckets);
          if (this.#seen.size < 1_000_000) this.#seen.set(ngram, bucket);
        }
        found.push(bucket);
      }
    }
    return found;
  }
}

/** Shares of the buckets in some texts. */
export function bucketShares(texts: Iterable<readonly number[]>, buckets: number): Float64Array {
  const counts = new Float64Array(buckets);
  let total = 0;
  for (const text of texts) {
    for (const bucket of text) counts[bucket]!++;
    total += text.length;
  }
  return counts.map((count) => count / total);
}
