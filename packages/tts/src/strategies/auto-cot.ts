import { custom, type Embedder, type Given, integer, listOf, text } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { kMeans } from '@posttrain/interfaces/vectors';
import { hasMethod } from '../arguments.js';
import { ContractError } from '../errors.js';
import { questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVoteOrFirst } from '../voting.js';
import { type Demonstration, demonstrationPrompt, reasoningSteps } from './chain-of-thought.js';
import { reasoningTriggers } from './zero-shot-cot.js';

const autoCotOptions = strategyOptions('auto-cot', {
  /** Questions like the problem's, without answers: demonstrations are made of them. */
  questions: listOf(text({}), {}),
  /** Tells which questions are alike. */
  embedder: custom<Embedder>()('an object with embed(texts)', (value) => hasMethod(value, 'embed'), {}),
  /** k, the clusters, and demonstrations at most. Default 8. */
  clusters: integer({ default: 8, min: 1 }),
  /** Most words of a question that is shown. Default 60. */
  maxWords: integer({ default: 60, min: 1 }),
  /** Most steps of a chain that is shown. Default 5. */
  maxSteps: integer({ default: 5, min: 1 }),
  /** Questions of a cluster that are tried, from its centre outwards. Default 3. */
  tries: integer({ default: 3, min: 1 }),
});
/** Options of `autoCot`. `n` is the number of chains for the problem itself. */
export type AutoCotOptions = Given<typeof autoCotOptions>;

/**
 * Auto-CoT (arXiv 2210.03493 §4): demonstrations without a person who writes them.
 *
 * 1. cluster `questions` by their embeddings into k (k-means);
 * 2. in each cluster, from the centre outwards, let the model reason about a question by zero-shot chain of thought; the first that is short (at most
 *    `maxWords` words, and a chain of at most `maxSteps` steps with an answer) becomes its demonstration: diverse, and simple;
 * 3. ask the problem with all of them before it, and take the majority of `n` chains.
 *
 * A cluster without such a question among its first `tries` has none. Chains of demonstrations are completions of the budget. The centres are
 * drawn with `sampling.seed`. Throws `NoCandidateError` when there is no chain, `ContractError` for an embedder that leaves questions out.
 */
export async function autoCot(problem: Problem, options: AutoCotOptions): Promise<SearchResult> {
  const { where } = autoCotOptions;
  const settings = autoCotOptions.read(options);
  const { n, questions, embedder, clusters, maxWords, maxSteps, tries, sampling } = settings;
  const search = new Search(autoCotOptions, problem, options);
  const vectors = questions.length === 0 ? [] : await embedder.embed(questions);
  if (vectors.length !== questions.length) {
    throw new ContractError(
      `embedder "${embedder.name}" gave ${vectors.length} vectors for ${questions.length} texts.`,
    );
  }
  const trigger = reasoningTriggers['zero-shot-cot'];
  const found = await Promise.all(
    kMeans(vectors, clusters, createRandom(sampling?.seed ?? 0, where)).map(async (members) => {
      const short = members.map((i) => questions[i]!).filter((it) => it.split(/\s+/).length <= maxWords);
      for (const question of short.slice(0, tries)) {
        const prompt = withQuestion(problem.prompt, `Q: ${question}\nA:`);
        const [chain] = await search.expand(search.root, { n: 1, prompt, prefix: trigger });
        if (!chain) return [];
        chain.node.reason = 'reasoning of a demonstration';
        if (chain.answer !== null && reasoningSteps(chain.text) <= maxSteps) {
          return [{ question, reasoning: chain.text, answer: chain.answer } satisfies Demonstration];
        }
      }
      return [];
    }),
  );
  const prompt = withQuestion(problem.prompt, demonstrationPrompt(found.flat(), questionOf(problem.prompt)));
  const chains = await search.expand(search.root, { n, prompt, prefix: search.root.text });
  return finishVoteOrFirst(search, chains, 'there is no chain of thought.');
}
