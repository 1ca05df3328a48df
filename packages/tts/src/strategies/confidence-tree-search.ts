import { type Given, integer, number } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { indexAt, softmax } from '../numbers.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';
import { stopOption } from '../steps.js';
import { logProbsOf } from '../token-reports.js';

const confidenceTreeSearchOptions = strategyOptions('confidence-tree-search', {
  /** Children of a leaf that is expanded. Default 4. */
  width: integer({ default: 4, min: 1 }),
  /** T: 1 draws the leaf in proportion to the confidences, 0 takes the most confident, and a large one draws evenly. Default 1. */
  confidenceTemperature: number({ default: 1, min: 0 }),
  /** θ: a leaf less confident than this is not expanded, and an answer less confident is not given. Default 0: every leaf may be. */
  minConfidence: number({ default: 0, min: 0, max: 1 }),
  /** What ends a step. Default `['\n\n']`. */
  stop: stopOption,
  /** Steps at most; a leaf so deep is not expanded. Default 40. */
  maxDepth: integer({ default: 40, min: 1 }),
});
/** Options of `confidenceTreeSearch`. `n` is the number of expansions; `sampling.seed` also decides which leaves are drawn. */
export type ConfidenceTreeSearchOptions = Given<typeof confidenceTreeSearchOptions>;

/** The answer, and whether it should be given. */
export interface ConfidenceTreeSearchResult extends SearchResult {
  /** Whether the search should rather ask than answer: the answer's confidence is below θ. */
  readonly halted: boolean;
  /** Of the returned text. */
  readonly confidence: number;
}

/**
 * Confidence-based sampling at every step of a tree (arXiv 2502.21321 §5.8): each of `n` times an open leaf i is drawn with probability
 *
 *   c_i^{1/T} / Σ_k c_k^{1/T},   c_i = e^{mean log p} over all tokens from the root to it
 *
 * and expanded by `width` next steps. A leaf with c_i < θ is not expanded any more, and the search halts where no other is left: it has nowhere to go
 * that it is sure of. Of the texts that have ended the most confident is returned, the first of several; `halted` where that too is below θ, and
 * whoever asked should ask somebody else. The root's confidence is 1. The payload of a node has its `confidence`.
 *
 * With steps that do not end before the text does and one expansion it is best-of-`width` by mean log p (`confidenceSampling` at T = 0). Needs a
 * generator with log-probabilities. Throws `ContractError` for others, `NoCandidateError` when no text has ended.
 */
export async function confidenceTreeSearch(
  problem: Problem,
  options: ConfidenceTreeSearchOptions,
): Promise<ConfidenceTreeSearchResult> {
  const settings = confidenceTreeSearchOptions.read(options);
  const { n, width, confidenceTemperature, minConfidence, stop, maxDepth, sampling } = settings;
  const { where } = confidenceTreeSearchOptions;
  const search = new Search(confidenceTreeSearchOptions, problem, options);
  const random = createRandom(sampling?.seed ?? 0, where);
  /** Σ log p and tokens from the root on. */
  const sums = new Map<SearchNode, { readonly sum: number; readonly count: number }>();
  sums.set(search.root, { sum: 0, count: 0 });
  const logConfidence = (node: SearchNode): number => {
    const { sum, count } = sums.get(node)!;
    return sum / Math.max(1, count);
  };
  const confidence = (node: SearchNode): number => Math.exp(logConfidence(node));
  let leaves: readonly SearchNode[] = [search.root];
  const finished: SearchNode[] = [];
  for (let i = 0; i < n; i++) {
    const open = leaves.filter((leaf) => leaf.depth < maxDepth && confidence(leaf) >= minConfidence);
    if (open.length === 0) break;
    const weights = softmax(open.map(logConfidence), confidenceTemperature);
    const leaf = open[indexAt(weights, random.float())]!;
    const children = await search.expand(leaf, { n: width, stop, logProbs: true });
    if (children.length === 0) break;
    const before = sums.get(leaf)!;
    for (const child of children) {
      const logProbs = logProbsOf(where, child);
      sums.set(child, {
        sum: logProbs.reduce((total, it) => total + it, before.sum),
        count: before.count + logProbs.length,
      });
      child.payload = { confidence: confidence(child) };
    }
    finished.push(...children.filter(({ state }) => state === 'ended'));
    leaves = [...leaves.filter((it) => it !== leaf), ...children.filter(({ state }) => state === 'open')];
  }
  for (const leaf of leaves)
    if (confidence(leaf) < minConfidence) leaf.node.reason = `confidence below ${minConfidence}`;
  const best = bestOf(finished, logConfidence);
  if (!best) throw search.nothing('no text has ended.');
  const sure = confidence(best);
  return { ...search.finish(best, { reason: 'less confident' }), confidence: sure, halted: sure < minConfidence };
}
