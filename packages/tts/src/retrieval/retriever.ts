import type { Embedder } from '@posttrain/interfaces';

/** A text that may be put into a prompt. */
export interface Passage {
  readonly id: string;
  readonly text: string;
}

/** A passage with what the retriever scores it for a query. */
export interface RankedPassage extends Passage {
  readonly score: number;
}

/** Anything that finds passages for a query, the best first. */
export interface Retriever {
  readonly name: string;
  retrieve(query: string, k: number): Promise<RankedPassage[]>;
}

/** The k passages of highest score, the earlier of equal ones first. */
export function ranked(passages: readonly Passage[], scores: readonly number[], k: number): RankedPassage[] {
  return passages
    .map((passage, i) => ({ ...passage, score: scores[i]! }))
    .sort((a, b) => b.score - a.score)
    .slice(0, k);
}

/** Passages by the cosine between their embedding and the query's; the passages are embedded once, when the first query comes. */
export function denseRetriever(passages: readonly Passage[], embedder: Embedder): Retriever {
  let embedded: Promise<Float32Array[]> | undefined;
  return {
    name: `dense (${embedder.name})`,
    async retrieve(query, k) {
      embedded ??= embedder.embed(passages.map(({ text }) => text));
      const [vectors, [asked]] = await Promise.all([embedded, embedder.embed([query])]);
      return ranked(
        passages,
        vectors.map((vector) => cosine(vector, asked!)),
        k,
      );
    },
  };
}

function cosine(a: Float32Array, b: Float32Array): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!;
    aa += a[i]! * a[i]!;
    bb += b[i]! * b[i]!;
  }
  return aa === 0 || bb === 0 ? 0 : dot / Math.sqrt(aa * bb);
}

/** Share of the relevant passages that are among those found; 1 where none is relevant. */
export function recallAt(found: readonly Passage[], relevant: readonly string[]): number {
  if (relevant.length === 0) return 1;
  const ids = new Set(found.map(({ id }) => id));
  return relevant.filter((id) => ids.has(id)).length / relevant.length;
}
