import { integer, listOf, oneOf, text } from '@posttrain/interfaces';
import { InvalidArgumentError } from './errors.js';
import type { Search } from './search.js';
import type { SearchNode } from './search-node.js';
import { STEP_AGGREGATIONS, type StepAggregation, stepScore } from './step-score.js';

/** What ends a step. */
export const stopOption = listOf(text({}), { default: ['\n\n'] });
/** What the scores of a text's steps become, where the verifier gives `stepScores`. */
export const aggregationOption = oneOf(STEP_AGGREGATIONS, { default: 'last' });
/** How many further steps are looked at before a step is scored. */
const lookaheadOption = integer({ default: 0, min: 0 });

/** The options of beams over steps. */
export const beamShape = {
  /** M, the continuations of each beam that is kept. Default 4. */
  beamWidth: integer({ default: 4, min: 1 }),
  /** What ends a step. Default `['\n\n']`. */
  stop: stopOption,
  /** Steps at most; the last one runs to the model's own end. Default 40. */
  maxSteps: integer({ default: 40, min: 1 }),
  /** What the scores of a text's steps become, where the verifier gives `stepScores`. Default `last`. */
  aggregation: aggregationOption,
  /** k of lookahead search: a step has the score of the text after k further greedy steps. Default 0. */
  lookahead: lookaheadOption,
};

/** @throws InvalidArgumentError unless the n candidates of a step are shared out evenly */
export function assertMultiple(where: string, n: number, name: string, of: number): void {
  if (n % of !== 0) throw new InvalidArgumentError(`${where}: n must be a multiple of ${name} (${of}), got ${n}.`);
}

/** A node that is continued, and how often. */
export interface Growing {
  readonly node: SearchNode;
  readonly n: number;
}

/** How one level of a tree of steps is drawn and judged. */
export interface Level {
  /** What ends a step; empty: the step runs to the model's own end. */
  readonly stop: readonly string[];
  readonly aggregation: StepAggregation;
  readonly lookahead: number;
}

/** The next steps of each node, judged, in the order of the nodes; fewer where the budget ended it. */
export async function nextSteps(search: Search, growing: readonly Growing[], level: Level): Promise<SearchNode[][]> {
  const { stop, aggregation, lookahead } = level;
  const drawn = await Promise.all(growing.map(({ node, n }) => search.expand(node, { n, stop })));
  const steps = drawn.flat();
  if (lookahead === 0) await search.verify(steps);
  else await lookAhead(search, steps, { stop, aggregation, lookahead });
  return drawn;
}

/**
 * Lookahead (arXiv 2408.03314 §5.2): each step is continued greedily by up to k further ones, and has the score of the text at
 * the end of them. k = 0 is the score of the step's own text. What was looked at is in the trace, and is not gone on from.
 */
async function lookAhead(search: Search, steps: readonly SearchNode[], level: Level): Promise<void> {
  const { stop, aggregation, lookahead } = level;
  let ends: (SearchNode | undefined)[] = [...steps];
  for (let i = 0; i < lookahead; i++) {
    ends = await Promise.all(
      ends.map(async (end) => {
        if (end?.state !== 'open') return end;
        const [next] = await search.expand(end, { n: 1, stop, sampling: { temperature: 0 } });
        if (next) next.node.reason = 'looked ahead';
        return next;
      }),
    );
  }
  const known = ends.filter((end) => end !== undefined);
  await search.verify(known);
  steps.forEach((step, i) => {
    const end = ends[i];
    if (end === step) return;
    if (!end) {
      step.node.reason = `not looked ahead: ${search.exhausted}`;
      return;
    }
    step.payload = { lookahead: end.node.id };
    const score = stepScore(end, aggregation);
    if (end.score !== undefined) step.node.score = score;
    if (score === null) step.node.reason = 'not scorable';
  });
}
