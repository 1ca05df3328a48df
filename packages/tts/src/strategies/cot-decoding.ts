import { type Given, integer, oneOf, text } from '@posttrain/interfaces';
import { mean } from '../numbers.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { topLogProbsOf } from '../token-reports.js';
import { finishVote, withAnswer } from '../voting.js';

/** Above every difference of logits: the token is then the likeliest, whatever the model thinks. */
const FORCED = 100;

const cotDecodingOptions = strategyOptions('cot-decoding', {
  /** What a path is continued with for its answer. Default `\nSo the answer is`. */
  answerPrompt: text({ default: '\nSo the answer is' }),
  /** Most tokens of an answer. Default 16. */
  answerTokens: integer({ default: 16, min: 1 }),
  /** The answer with the largest sum of Δ (`aggregate`), or the path with the largest Δ (`max`). Default `aggregate`. */
  selection: oneOf(['aggregate', 'max'], { default: 'aggregate' }),
});
/** Options of `cotDecoding`. `n` is k, the first tokens. */
export type CotDecodingOptions = Given<typeof cotDecodingOptions>;

/**
 * CoT-decoding (arXiv 2402.10200): chains of thought without a prompt for them. The k likeliest first tokens each begin a path, which goes on greedily;
 * and the model is surer of its answer where a path has reasoned,
 *
 *   Δ = (1/|answer|) Σ_{t ∈ answer} p(y_t^1 | …) − p(y_t^2 | …)
 *
 * with the two likeliest tokens of each place. Returned is argmax_a Σ Δ of the paths with that answer (§2.3), or the path of the highest Δ. What an answer's
 * tokens are is found by the paper's second way: the path is continued with `answerPrompt`, and what then comes is the answer.
 *
 * A first token is forced by its logit bias, so the generator must know `logitBias`, `topLogProbs` and token ids. Temperature 0, one path a token.
 * Throws `ContractError` for a generator without them, `NoCandidateError` when no path has an answer.
 */
export async function cotDecoding(problem: Problem, options: CotDecodingOptions): Promise<SearchResult> {
  const { where } = cotDecodingOptions;
  const { n, answerPrompt, answerTokens, selection } = cotDecodingOptions.read(options);
  const search = new Search(cotDecodingOptions, problem, options);
  const greedy = { temperature: 0 };
  const [look] = await search.expand(search.root, { n: 1, maxTokens: 1, sampling: greedy, topLogProbs: n });
  const tokens = look ? (topLogProbsOf(where, look)[0] ?? []).slice(0, n) : [];
  if (look) look.node.reason = 'a look at the first token';
  const deltas = new Map<SearchNode, number>();
  await Promise.all(
    tokens.map(async ({ tokenId, logProb }) => {
      const sampling = { ...greedy, logitBias: { [tokenId]: FORCED } };
      const [first] = await search.expand(search.root, { n: 1, maxTokens: 1, sampling });
      if (!first) return;
      const [path] = first.state === 'ended' ? [first] : await search.expand(first, { n: 1, sampling: greedy });
      if (!path) return;
      const asked = search.merge([path], { firstToken: tokenId, logProb }, `${path.text}${answerPrompt}`);
      const [answer] = await search.expand(asked, { n: 1, maxTokens: answerTokens, sampling: greedy, topLogProbs: 2 });
      if (!answer) return;
      const gaps = topLogProbsOf(where, answer).map(
        ([best, second]) =>
          Math.exp(best?.logProb ?? Number.NEGATIVE_INFINITY) - Math.exp(second?.logProb ?? Number.NEGATIVE_INFINITY),
      );
      deltas.set(answer, gaps.length === 0 ? 0 : mean(gaps));
      answer.payload = { delta: deltas.get(answer) };
    }),
  );
  // In the order of the first tokens, whoever came back first.
  const paths = [...deltas.keys()].sort((a, b) => a.node.id - b.node.id);
  const best = (nodes: readonly SearchNode[]) => nodes.reduce((a, b) => (deltas.get(b)! > deltas.get(a)! ? b : a));
  const none = `none of ${tokens.length} paths has an answer.`;
  if (selection === 'aggregate') return finishVote(search, paths, { none, weight: (node) => deltas.get(node)!, best });
  const answered = withAnswer(paths);
  if (answered.length === 0) throw search.nothing(none);
  return search.finish(best(answered), { reason: 'lower Δ' });
}
