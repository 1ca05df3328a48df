import type { Given } from '@posttrain/interfaces';
import { assertInteger } from '../errors.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';

const bestOfNOptions = strategyOptions('best-of-n', { verifier: verifierOption });
/** Options of `bestOfN`. */
export type BestOfNOptions = Given<typeof bestOfNOptions>;

/**
 * Best-of-N (rejection sampling; arXiv 2009.01325, 2110.14168): draw y_1 … y_N and return
 *
 *   argmax_i score(y_i)
 *
 * Ties go to the completion drawn first. A completion that is not scorable (`null`) or was not verified is never
 * returned. Throws `NoCandidateError` when none has a score.
 */
export async function bestOfN(problem: Problem, options: BestOfNOptions): Promise<SearchResult> {
  const search = new Search(bestOfNOptions, problem, options);
  const candidates = await search.draw();
  const scored = candidates.filter(({ node }) => typeof node.score === 'number');
  const [first, ...rest] = scored;
  if (!first) throw search.nothing(`none of ${candidates.length} completions has a score.`);
  const best = rest.reduce((a, b) => (b.node.score! > a.node.score! ? b : a), first);
  return search.finish(best, [], candidates, [], 'lower score');
}

/**
 * KL(best-of-n ‖ generator) = ln n − (n − 1)/n, in nats, where scores are continuous; where they can tie it is an upper
 * bound (arXiv 2401.01879). The distance axis of over-optimisation curves (arXiv 2210.10760).
 */
export function bestOfNKl(n: number): number {
  assertInteger('bestOfNKl: n', n, 1);
  return Math.log(n) - (n - 1) / n;
}
