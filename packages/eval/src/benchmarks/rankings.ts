import { assertKnownOptions } from '@posttrain/interfaces';
import { splitWords } from '@posttrain/interfaces/python';
import { EvaluationError } from '../errors.js';
import { ndcg, type Relevance, recallAtK, reciprocalRank } from '../metrics/retrieval.js';
import { type MeanEstimate, meanWithStandardError } from '../statistics/standard-error.js';

/** Judgements by query: how relevant documents are. */
export type Qrels = ReadonlyMap<string, Relevance>;
/** What a system found by query: scores of documents. */
export type Run = ReadonlyMap<string, Readonly<Record<string, number>>>;

/**
 * Judgements of a file: BEIR's `qrels/test.tsv` (`query-id`, `corpus-id`, `score` under a header) or TREC's (query, iteration, document, relevance).
 * @throws EvaluationError `BAD_ROW` with the number of the line; `DUPLICATE_ID`
 */
export function readQrels(text: string): Qrels {
  return readTable('readQrels', text, ([query, second, third, fourth], isTsv) =>
    isTsv ? [query, second, third] : [query, third, fourth],
  );
}

/**
 * A run of TREC's form: query, `Q0`, document, rank, score, name. The rank is not read: as for trec_eval, scores decide.
 * @throws EvaluationError `BAD_ROW` with the number of the line; `DUPLICATE_ID`
 */
export function readRun(text: string): Run {
  return readTable('readRun', text, ([query, , document, , score]) => [query, document, score]);
}

type Fields = readonly (string | undefined)[];
function readTable(
  where: string,
  text: string,
  pick: (fields: Fields, isTsv: boolean) => Fields,
): Map<string, Record<string, number>> {
  const table = new Map<string, Record<string, number>>();
  const lines = text.split('\n');
  const isTsv = lines[0]!.startsWith('query-id\t');
  lines.forEach((line, i) => {
    if (line.trim() === '' || (isTsv && i === 0)) return;
    const [query, document, written] = pick(isTsv ? line.trimEnd().split('\t') : splitWords(line), isTsv);
    const value = written?.trim() ? Number(written) : Number.NaN;
    const at = `${where}: line ${i + 1}`;
    if (!query || !document || !Number.isFinite(value))
      throw new EvaluationError('BAD_ROW', `${at} is ${JSON.stringify(line)}; it has no query, document and number.`);
    const found = table.get(query) ?? Object.create(null);
    if (document in found)
      throw new EvaluationError('DUPLICATE_ID', `${at}: the query "${query}" has the document "${document}" twice.`);
    found[document] = value;
    table.set(query, found);
  });
  return table;
}

/** A document or a question of BEIR's `corpus.jsonl` and `queries.jsonl`. */
export interface BeirText {
  readonly _id: string;
  readonly title?: string;
  readonly text: string;
}

/** A data set of BEIR (arXiv 2104.08663), its judgements read and checked. */
export interface BeirDataset {
  /** A document's title and text with a space between them, as BEIR's encoders see it, by id. */
  readonly corpus: ReadonlyMap<string, string>;
  /** Those with judgements. */
  readonly queries: ReadonlyMap<string, string>;
  readonly qrels: Qrels;
}

/**
 * The three files of a BEIR data set: rows of `corpus.jsonl` and `queries.jsonl`, and the text of `qrels/test.tsv`.
 * @throws EvaluationError `BAD_ROW` for rows without an id or a text and judgements of queries that are not there; `DUPLICATE_ID`
 */
export function beirDataset(files: {
  readonly corpus: readonly BeirText[];
  readonly queries: readonly BeirText[];
  readonly qrels: string;
}): BeirDataset {
  const textsOf = (name: string, rows: readonly BeirText[]) => {
    const texts = new Map<string, string>();
    rows.forEach((row, i) => {
      if (typeof row._id !== 'string' || typeof row.text !== 'string')
        throw new EvaluationError('BAD_ROW', `beirDataset: row ${i} of ${name} needs the texts "_id" and "text".`);
      if (texts.has(row._id))
        throw new EvaluationError('DUPLICATE_ID', `beirDataset: ${name} has the id "${row._id}" twice.`);
      texts.set(row._id, [row.title, row.text].filter(Boolean).join(' ').trim());
    });
    return texts;
  };
  const [all, qrels] = [textsOf('queries', files.queries), readQrels(files.qrels)];
  const unknown = [...qrels.keys()].find((id) => !all.has(id));
  if (unknown !== undefined)
    throw new EvaluationError('BAD_ROW', `beirDataset: "${unknown}" is judged, and there is no such query.`);
  const queries = new Map([...all].filter(([id]) => qrels.has(id)));
  return { corpus: textsOf('corpus', files.corpus), queries, qrels };
}

/** Options of `rankingScores`. */
export interface RankingScoresOptions {
  /** How many documents of a ranking count. Default 10. */
  readonly k?: number;
  /** From which judgement on a document is relevant, for all but nDCG: 2 for the passages of TREC-DL. Default 1. */
  readonly relevant?: number;
  /** Whether judged queries that the run has not count as 0 (`-c` of trec_eval). Default: they are left out, and counted in `missing`. */
  readonly complete?: boolean;
}

/** Scores of a run, each a mean over queries with its standard error. */
export interface RankingScores {
  readonly ndcg: MeanEstimate;
  /** Reciprocal rank of the first relevant document among the first k. */
  readonly mrr: MeanEstimate;
  readonly recall: MeanEstimate;
  /** By query, in the order of the judgements. */
  readonly byQuery: ReadonlyMap<string, { readonly ndcg: number; readonly mrr: number; readonly recall: number }>;
  /** Judged queries that the run has not. */
  readonly missing: number;
}

/** Documents by falling score, in single precision; of equal ones the greater id comes first: trec_eval's order. */
const ranked = (scores: Readonly<Record<string, number>>): string[] =>
  Object.entries(scores)
    .map(([id, score]) => [id, Math.fround(score)] as const)
    .sort(([a, x], [b, y]) => y - x || (a < b ? 1 : -1))
    .map(([id]) => id);

/**
 * nDCG@k, MRR@k and recall@k of a run, as trec_eval has them (BEIR's and TREC's script): the metrics of BEIR (nDCG@10) and of the Deep Learning Track.
 * @throws OptionError for an unknown option; EvaluationError `NO_RECORDS` where run and judgements share no query; `BAD_OPTION`
 */
export function rankingScores(qrels: Qrels, run: Run, given: RankingScoresOptions = {}): RankingScores {
  assertKnownOptions('rankingScores', given, ['k', 'relevant', 'complete']);
  const { k = 10, relevant = 1, complete = false } = given;
  if (!Number.isFinite(relevant))
    throw new EvaluationError('BAD_OPTION', `rankingScores: relevant is ${relevant}; it must be a number.`);
  const byQuery = new Map<string, { ndcg: number; mrr: number; recall: number }>();
  for (const [query, relevance] of qrels) {
    if (!run.has(query) && !complete) continue;
    const documents = ranked(run.get(query) ?? {});
    const binary = Object.fromEntries(Object.entries(relevance).map(([id, rel]) => [id, Number(rel >= relevant)]));
    byQuery.set(query, {
      ndcg: ndcg(documents, relevance, k),
      mrr: reciprocalRank(documents, binary, k),
      recall: recallAtK(documents, binary, k),
    });
  }
  if (byQuery.size === 0)
    throw new EvaluationError('NO_RECORDS', 'rankingScores: the run has none of the judged queries.');
  const mean = (name: 'ndcg' | 'mrr' | 'recall') =>
    meanWithStandardError([...byQuery.values()].map((scores) => scores[name]));
  const missing = [...qrels.keys()].filter((query) => !run.has(query)).length;
  return { ndcg: mean('ndcg'), mrr: mean('mrr'), recall: mean('recall'), byQuery, missing };
}
