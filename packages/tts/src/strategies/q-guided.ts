import { type Given, integer } from '@posttrain/interfaces';
import { assertTrace } from '../arguments.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';
import { nextSteps, stopOption } from '../steps.js';
import { type Trace, type TraceNode, traceTexts } from '../trace.js';

const qGuidedOptions = strategyOptions('q-guided', {
  /** Q(s, a) of the text so far, whose last step is a; trained on `explorationQ` of earlier searches. */
  verifier: verifierOption,
  /** What ends a step. Default `['\n\n']`. */
  stop: stopOption,
  /** Steps at most; the last one runs to the model's own end. Default 40. */
  maxSteps: integer({ default: 40, min: 1 }),
});
/** Options of `qGuided`. `n` is the number of actions that are drawn at each step. */
export type QGuidedOptions = Given<typeof qGuidedOptions>;

/** A step of an exploration tree with its Q, for the training of a Q network. */
export interface QValue {
  /** The text before the step, and the step. */
  readonly state: string;
  readonly action: string;
  readonly q: number;
}

/**
 * Q-values of the steps of a tree that was searched (QLASS, arXiv 2502.02584 §3.2), by the Bellman equation from its leaves up:
 *
 *   Q(s, a) = r(s, a) + γ max over a' of Q(s', a'),  r = the score of a text that has ended, else 0
 *
 * so that a step is worth what the best that was ever found behind it is worth, not the mean. A step behind which nothing has ended
 * with a score has no Q, and is left out.
 *
 * @param discount γ. Default 1
 */
export function explorationQ(trace: Trace, { discount = 1 }: { readonly discount?: number } = {}): QValue[] {
  assertTrace('explorationQ', trace);
  const children = new Map<number, TraceNode[]>();
  for (const node of trace.nodes) {
    if (node.parent !== null) children.set(node.parent, [...(children.get(node.parent) ?? []), node]);
  }
  const texts = traceTexts(trace);
  const found = new Map<number, number>();
  // Children come after their parents.
  for (const node of [...trace.nodes].reverse()) {
    const isEnd = node.finishReason === 'stop' && node.stop === undefined;
    const behind = (children.get(node.id) ?? []).flatMap(({ id }) => found.get(id) ?? []);
    if (isEnd && typeof node.score === 'number') found.set(node.id, node.score);
    else if (behind.length > 0) found.set(node.id, discount * Math.max(...behind));
  }
  return trace.nodes.flatMap(({ id, parent, text }) =>
    parent !== null && found.has(id) ? [{ state: texts.get(parent)!, action: text, q: found.get(id)! }] : [],
  );
}

/**
 * Q-guided stepwise search (QLASS, arXiv 2502.02584 §3.4): at every step n actions are drawn and the one with the highest Q(s, a) is taken,
 *
 *   a_t = argmax over n draws a from π(· | s_t) of Q(s_t, a)
 *
 * which is one greedy path: what makes it more than a greedy process verifier is its Q, which looks ahead to the outcome
 * (`explorationQ` makes the targets that it is trained on). Ties go to the action drawn first. Throws `NoCandidateError` when the path
 * does not come to an end.
 */
export async function qGuided(problem: Problem, options: QGuidedOptions): Promise<SearchResult> {
  const { n, stop, maxSteps } = qGuidedOptions.read(options);
  const search = new Search(qGuidedOptions, problem, options);
  let at = search.root;
  for (let step = 1; step <= maxSteps && at.state === 'open'; step++) {
    const level = { stop: step === maxSteps ? [] : stop, aggregation: 'last' as const, lookahead: 0 };
    const actions = (await nextSteps(search, [{ node: at, n }], level)).flat();
    const best = bestOf(actions, ({ score }) => score ?? null);
    if (!best) throw search.nothing(`no action of step ${step} has a Q.`);
    for (const { node } of actions) if (node !== best.node) node.reason ??= `lower Q at step ${step}`;
    at = best;
  }
  return search.finish(at, { reason: 'lower Q' });
}
