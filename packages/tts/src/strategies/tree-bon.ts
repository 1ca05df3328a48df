import { type Given, integer } from '@posttrain/interfaces';
import { roleScores } from '../role-scores.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { byScore } from '../step-score.js';
import { assertMultiple } from '../steps.js';
import { mostOf } from '../tree-statistics.js';

const treeBonOptions = strategyOptions('tree-bon', {
  /** The reward of partial texts: in the paper the weighted implicit reward of a DPO model (`treeBonReward`). */
  verifier: verifierOption,
  /** Layers of the tree. Default 4. */
  layers: integer({ default: 4, min: 1 }),
  /** Children of each parent that is kept. Default 4. */
  children: integer({ default: 4, min: 1 }),
  /** Tokens of a layer but for the last, which runs to the end. Default 48. */
  segmentTokens: integer({ default: 48, min: 1 }),
});
/** Options of `treeBon`. `n` is N, the candidates of each layer: a multiple of `children`. */
export type TreeBonOptions = Given<typeof treeBonOptions>;

/**
 * The weighted implicit reward of a partial text (arXiv 2410.16033 §3.2): Σ_k w_k log π_DPO(y_k | y_<k) / π_ref(y_k | y_<k) with w_k = 1 / k, so that
 * early tokens, which all that follows stands on, count most.
 *
 * @param logRatios of the tokens of the text so far, in nats
 */
export const treeBonReward = (logRatios: readonly number[]): number =>
  logRatios.reduce((sum, ratio, k) => sum + ratio / (k + 1), 0);

/**
 * TreeBoN (arXiv 2410.16033): best-of-N as a tree of layers of tokens, so that the N − N/C worst of each layer are not finished.
 *
 * 1. N first segments;
 * 2. the N/C with the highest reward of the text so far are parents of C segments each, and again, for `layers` layers in all;
 * 3. of the N whole texts, the one that `verifiers.outcome` (default: `verifier`) scores highest.
 *
 * Segments are cut by tokens, not at the ends of steps. A text that has ended stays a candidate with its reward. C = 1 is
 * best-of-N. Ties go to the candidate drawn first; what is not scorable is dropped. Throws `NoCandidateError` when none has a score.
 */
export async function treeBon(problem: Problem, options: TreeBonOptions): Promise<SearchResult> {
  const { n, layers, children, segmentTokens } = treeBonOptions.read(options);
  const search = new Search(treeBonOptions, problem, options);
  assertMultiple(treeBonOptions.where, n, 'children', children);
  const scoreOf = ({ score }: SearchNode) => score ?? null;
  let parents: readonly { readonly node: SearchNode; readonly n: number }[] = [{ node: search.root, n }];
  let ended: SearchNode[] = [];
  for (let layer = 1; layer <= layers && parents.length > 0; layer++) {
    const length = layer === layers ? {} : { maxTokens: segmentTokens };
    const drawn = (await Promise.all(parents.map(({ node, n }) => search.expand(node, { n, ...length })))).flat();
    await search.verify(drawn);
    const ranked = byScore([...ended, ...drawn], scoreOf);
    const isOpen = ({ state }: SearchNode) => state !== 'ended' && layer < layers;
    const kept = layer === layers ? ranked : ranked.slice(0, n / children);
    for (const { node } of ranked.slice(kept.length))
      node.reason = `not among the ${kept.length} best of layer ${layer}`;
    ended = kept.filter((node) => !isOpen(node));
    parents = kept.filter(isOpen).map((node) => ({ node, n: children }));
  }
  if (ended.length === 0) throw search.nothing('no text has ended with a score.');
  const hasOutcome = options.verifiers?.outcome !== undefined;
  const outcomes = hasOutcome ? await roleScores(search, ended, 'outcome') : ended.map(scoreOf);
  const worth = new Map(ended.map((node, i) => [node, outcomes[i] ?? Number.NEGATIVE_INFINITY]));
  return search.finish(mostOf(ended, (node) => worth.get(node)!)!, { reason: 'lower score' });
}
