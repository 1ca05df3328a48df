import { EvaluationError } from '../errors.js';

/** How relevant documents are to a query, by their ids; those that are not here are not relevant. */
export type Relevance = Readonly<Record<string, number>>;

/**
 * nDCG@k of a ranking (Järvelin and Kekäläinen 2002), as trec_eval and BEIR have it: Σ_i rel_i / log₂(i + 1) over the first k, over that of the best ranking; of `gain` `exponential`
 * with 2^rel − 1. 0 for a query without relevant documents. The mean over queries is the score of a system.
 *
 * @param ranked ids of documents, the best first @param k Default: all
 * @throws EvaluationError `DUPLICATE_ID`, `BAD_OPTION`
 */
export function ndcg(
  ranked: readonly string[],
  relevance: Relevance,
  k = Number.POSITIVE_INFINITY,
  { gain = 'linear' }: { readonly gain?: 'linear' | 'exponential' } = {},
): number {
  assertRanking('ndcg', ranked, k);
  const gainOf = (rel: number) => (rel <= 0 ? 0 : gain === 'linear' ? rel : 2 ** rel - 1);
  const discounted = (grades: readonly number[]) =>
    grades.slice(0, Math.min(k, grades.length)).reduce((sum, rel, i) => sum + gainOf(rel) / Math.log2(i + 2), 0);
  const ideal = discounted(Object.values(relevance).sort((a, b) => b - a));
  return ideal === 0 ? 0 : discounted(ranked.map((id) => gradeOf(relevance, id))) / ideal;
}

/**
 * The reciprocal rank of the first relevant document among the first k; 0 where there is none. Its mean over queries is MRR@k.
 *
 * @throws EvaluationError `DUPLICATE_ID`, `BAD_OPTION`
 */
export function reciprocalRank(ranked: readonly string[], relevance: Relevance, k = Number.POSITIVE_INFINITY): number {
  assertRanking('reciprocalRank', ranked, k);
  const at = ranked.findIndex((id) => gradeOf(relevance, id) > 0);
  return at < 0 || at >= k ? 0 : 1 / (at + 1);
}

/**
 * Share of the relevant documents that are among the first k; 0 for a query without any.
 *
 * @throws EvaluationError `DUPLICATE_ID`, `BAD_OPTION`
 */
export function recallAtK(ranked: readonly string[], relevance: Relevance, k: number): number {
  assertRanking('recallAtK', ranked, k);
  const relevant = Object.values(relevance).filter((rel) => rel > 0).length;
  return relevant === 0 ? 0 : ranked.slice(0, k).filter((id) => gradeOf(relevance, id) > 0).length / relevant;
}

const gradeOf = (relevance: Relevance, id: string): number => (Object.hasOwn(relevance, id) ? relevance[id]! : 0);

function assertRanking(where: string, ranked: readonly string[], k: number): void {
  if (new Set(ranked).size !== ranked.length) {
    const twice = ranked.find((id, i) => ranked.indexOf(id) !== i);
    throw new EvaluationError('DUPLICATE_ID', `${where}: the document "${twice}" is ranked twice.`);
  }
  if (!(k >= 1) || (!Number.isInteger(k) && k !== Number.POSITIVE_INFINITY)) {
    throw new EvaluationError('BAD_OPTION', `${where}: k is ${k}; it must be a whole number above 0.`);
  }
}
