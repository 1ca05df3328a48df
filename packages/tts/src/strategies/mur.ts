import { type Given, integer, listOf, number, text } from '@posttrain/interfaces';
import { mean } from '../numbers.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';
import { logProbsOf } from '../token-reports.js';

const murOptions = strategyOptions('mur', {
  /** Chooses among the candidates of a step that is scaled. */
  verifier: verifierOption,
  /** α, how much of the momentum stays with each step. Default 0.9. */
  momentum: number({ default: 0.9, min: 0, max: 1 }),
  /** γ: 0 scales no step (plain chain of thought), a large one every step after the first. Default 0.9. */
  gamma: number({ default: 0.9, min: 0 }),
  /** What ends a step. Default `['\n\n']`. */
  stop: listOf(text({}), { default: ['\n\n'] }),
  /** Steps at most; the last one runs to the model's own end. Default 20. */
  maxSteps: integer({ default: 20, min: 1 }),
});
/** Options of `mur`. `n` is the candidates of a step that is scaled. */
export type MurOptions = Given<typeof murOptions>;

/** The momentum after a step, in log space: M_t = α M_{t−1} + (1 − α) u_t. */
const momentumAfter = (before: number, signal: number, momentum: number): number =>
  momentum * before + (1 - momentum) * signal;

/**
 * Momentum uncertainty guided reasoning (MUR, arXiv 2507.14958): more samples only for the steps that are unsure beside those before. With u_t the mean
 * log-probability of a step's tokens and M_0 = 0, step t > 1 is *scaled* when
 *
 *   e^{u_t} < γ e^{M_{t−1}},      M_t = α M_{t−1} + (1 − α) u_t
 *
 * which is: `n` candidates are drawn in its place, and the one that the verifier scores highest is taken, the first of several; u_t is then the chosen
 * one's. Where none has a score, the step stands as it was. Needs a generator with log-probabilities that says what ended a step. Throws
 * `ContractError` for others, `NoCandidateError` when the budget ends the text before its end.
 */
export async function mur(problem: Problem, options: MurOptions): Promise<SearchResult> {
  const { n, momentum, gamma, stop, maxSteps } = murOptions.read(options);
  const search = new Search(murOptions, problem, options);
  const signalOf = (node: SearchNode): number => {
    const logProbs = logProbsOf(murOptions.where, node);
    return logProbs.length === 0 ? 0 : mean(logProbs);
  };
  let node = search.root;
  let sure = 0;
  for (let step = 1; ; step++) {
    const ends = step >= maxSteps ? [] : stop;
    const [first] = await search.expand(node, { n: 1, stop: ends, logProbs: true });
    if (!first) throw search.nothing(`the text has no step ${step}.`);
    let next = first;
    if (step > 1 && Math.exp(signalOf(first)) < gamma * Math.exp(sure)) {
      const candidates = await search.expand(node, { n, stop: ends, logProbs: true });
      if (candidates.length > 0) await search.verify(candidates);
      const best = bestOf(candidates, ({ score }) => score ?? null);
      if (best) {
        first.node.reason = 'was scaled';
        next = best;
      }
    }
    sure = momentumAfter(sure, signalOf(next), momentum);
    next.payload = { signal: signalOf(next), momentum: sure };
    if (next.state !== 'open') return search.finish(next, { reason: 'not the best of its step' });
    node = next;
  }
}
