import { type Given, number } from '@posttrain/interfaces';
import { type Problem, Search, type SearchResult, strategyOptions, verifierOption } from '@posttrain/tts';

const myMethodOptions = strategyOptions('my-method', {
  verifier: verifierOption,
  /** How far below the highest score a completion may be to be chosen for being shorter. Default 0.1. */
  tolerance: number({ default: 0.1, min: 0 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * The shortest of the best (arXiv 0000.00000): draw y_1 … y_N and return the shortest y_i with score(y_i) ≥ max score - tolerance.
 * Ties go to the completion drawn first; what is not scorable (`null`) or was not verified is never returned.
 *
 * @throws NoCandidateError when none has a score; OptionError
 */
export async function myMethod(problem: Problem, options: MyMethodOptions): Promise<SearchResult> {
  const { tolerance } = myMethodOptions.read(options);
  const search = new Search(myMethodOptions, problem, options);
  const candidates = await search.draw();
  const scored = candidates.filter(({ node }) => typeof node.score === 'number');
  const highest = Math.max(...scored.map(({ node }) => node.score!));
  const [first, ...rest] = scored.filter(({ node }) => node.score! >= highest - tolerance);
  if (!first) throw search.nothing(`none of ${candidates.length} completions has a score.`);
  const best = rest.reduce((a, b) => (b.node.text.length < a.node.text.length ? b : a), first);
  return search.finish(best, [], candidates, [], 'lower score, or longer');
}
