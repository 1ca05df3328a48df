import {
  InvalidArgumentError,
  type Problem,
  Search,
  type SearchResult,
  type VerifiedStrategyOptions,
} from '@posttrain/tts';

/** Options of `myMethod`. */
export interface MyMethodOptions extends VerifiedStrategyOptions {
  /** How far below the highest score a completion may be to be chosen for being shorter. Default 0.1. */
  readonly tolerance?: number;
}

/**
 * The shortest of the best (arXiv 0000.00000): draw y_1 … y_N and return the shortest y_i with score(y_i) ≥ max score - tolerance.
 * Ties go to the completion drawn first; what is not scorable (`null`) or was not verified is never returned.
 *
 * @throws NoCandidateError when none has a score; InvalidArgumentError
 */
export async function myMethod(problem: Problem, options: MyMethodOptions): Promise<SearchResult> {
  const search = new Search('my-method', problem, options, ['verifier', 'tolerance']);
  const { tolerance = 0.1 } = options;
  if (!(tolerance >= 0)) throw new InvalidArgumentError(`my-method: tolerance must be 0 or more, got ${tolerance}.`);
  const candidates = await search.draw();
  const scored = candidates.filter(({ node }) => typeof node.score === 'number');
  const highest = Math.max(...scored.map(({ node }) => node.score!));
  const [first, ...rest] = scored.filter(({ node }) => node.score! >= highest - tolerance);
  if (!first) throw search.nothing(`none of ${candidates.length} completions has a score.`);
  const best = rest.reduce((a, b) => (b.node.text.length < a.node.text.length ? b : a), first);
  return search.finish(best, [], candidates, [], 'lower score, or longer');
}
