import { custom, type Given, integer, type Prompt } from '@posttrain/interfaces';
import { hasMethod } from '../arguments.js';
import { optionalFunction, promptOption } from '../function-option.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { countVotes, withAnswer } from '../voting.js';
import type { RankedPassage, Retriever } from './retriever.js';

export const retrieverOption = custom<Retriever>()(
  'an object with retrieve(query, k), such as bm25(passages)',
  (value) => hasMethod(value, 'retrieve'),
  {},
);
/** What is looked for. */
export const queryOption = optionalFunction<(problem: Problem) => string>(
  'a function that makes a query of the problem',
);

/** The prompt itself, of a conversation its last message. */
export const promptQuery = ({ prompt }: Problem): string =>
  typeof prompt === 'string' ? prompt : (prompt.at(-1)?.content ?? '');

const ragOptions = strategyOptions('rag', {
  /** Where passages are found: `bm25(passages)`, or `denseRetriever(passages, embedder)`. */
  retriever: retrieverOption,
  /** Passages that are put into the prompt. Default 5. */
  k: integer({ default: 5, min: 1 }),
  /** The prompt with the passages, the best first. */
  ragPrompt: promptOption<(passages: readonly RankedPassage[]) => Prompt>('passages'),
  /** What is looked for. Default: the prompt, of a conversation its last message. */
  query: queryOption,
});
/** Options of `rag`. `n` is the number of answers that are drawn. */
export type RagOptions = Given<typeof ragOptions>;

/**
 * Retrieval-augmented generation (arXiv 2005.11401, as retrieve then read): the k passages z that a retriever puts first for the question x go into the
 * prompt of the generator, y ~ p(· | x, z_1 … z_k).
 *
 * Of n answers that of most is returned, ties to the earlier. What was retrieved, with scores, is in the root's payload. Throws
 * `NoCandidateError` when no text has an answer, and what the retriever throws.
 */
export async function rag(problem: Problem, options: RagOptions): Promise<SearchResult> {
  const { n, retriever, k, ragPrompt, query = promptQuery } = ragOptions.read(options);
  const search = new Search(ragOptions, problem, options);
  const passages = await retriever.retrieve(query(problem), k);
  search.root.payload = { retrieved: passages.map(({ id, score }) => ({ id, score })) };
  const drawn = await search.expand(search.root, { n, prompt: ragPrompt(passages), prefix: search.root.text });
  const ballots = countVotes(withAnswer(drawn), () => 1);
  const [winner] = ballots;
  if (!winner) throw search.nothing(`none of ${drawn.length} texts has an answer.`);
  const support = winner.supporters as readonly SearchNode[];
  return search.finish(support[0]!, { support, votes: ballots.map(({ vote }) => vote), reason: 'outvoted' });
}
