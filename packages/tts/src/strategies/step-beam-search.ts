import type { Given } from '@posttrain/interfaces';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf, byScore, stepScore } from '../step-score.js';
import { assertMultiple, beamShape, type Growing, nextSteps } from '../steps.js';

const stepBeamSearchOptions = strategyOptions('step-beam-search', {
  verifier: verifierOption,
  ...beamShape,
});
/** Options of `stepBeamSearch`. `n` is N, the candidates of each step: a multiple of `beamWidth`. */
export type StepBeamSearchOptions = Given<typeof stepBeamSearchOptions>;

/**
 * Beam search over steps with a process verifier (BFS-V; arXiv 2408.03314 §5.2, with M beam width and N candidates):
 *
 * 1. draw N first steps;
 * 2. score every candidate: the verifier's prediction for the text so far (that of its last step);
 * 3. keep the N/M open candidates with the highest scores;
 * 4. draw M next steps for each, N candidates in all, and go on at 2.
 *
 * With `lookahead` k (the paper's lookahead search) a candidate is scored where k further greedy steps from it end.
 * A candidate that the model has ended is set aside with its score and takes up no beam. The search ends when no candidate is
 * open, at `maxSteps`, or with the budget; the ended text with the highest score is returned (one that was cut off at its
 * tokens only where none has ended). Ties go to the candidate drawn first; what is not scorable (`null`) or was not verified is
 * neither kept nor returned. Throws `NoCandidateError` when nothing has ended with a score.
 */
export async function stepBeamSearch(problem: Problem, options: StepBeamSearchOptions): Promise<SearchResult> {
  const { n, beamWidth, stop, maxSteps, aggregation, lookahead } = stepBeamSearchOptions.read(options);
  const search = new Search(stepBeamSearchOptions, problem, options);
  assertMultiple(stepBeamSearchOptions.where, n, 'beamWidth', beamWidth);
  const scoreOf = (node: SearchNode) => stepScore(node, aggregation);
  const finished: SearchNode[] = [];
  let beams: readonly Growing[] = [{ node: search.root, n }];
  for (let step = 1; step <= maxSteps && beams.length > 0; step++) {
    const level = { stop: step === maxSteps ? [] : stop, aggregation, lookahead };
    const candidates = (await nextSteps(search, beams, level)).flat();
    const ranked = byScore(candidates, scoreOf);
    finished.push(...ranked.filter(({ state }) => state !== 'open'));
    const open = ranked.filter(({ state }) => state === 'open');
    beams = open.slice(0, n / beamWidth).map((node) => ({ node, n: beamWidth }));
    for (const { node } of open.slice(beams.length))
      node.reason = `not among the ${n / beamWidth} best of step ${step}`;
  }
  const ended = finished.filter(({ state }) => state === 'ended');
  const best = bestOf(ended.length > 0 ? ended : finished, scoreOf);
  if (!best) throw search.nothing('no text has ended with a score.');
  return search.finish(best, { reason: 'lower score' });
}
