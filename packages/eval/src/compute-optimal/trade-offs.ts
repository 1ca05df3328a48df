import { assertArgument } from '@posttrain/interfaces';
import type { LinePlot } from '../report/plots.js';
import { type MeanEstimate, meanWithStandardError } from '../statistics/standard-error.js';
import { type ArmedQuestion, armsOf, COSTS, type CostName } from './compute-optimal.js';

/** What an arm reaches, and what it costs a question, each with its error over questions. */
export interface TradeOffRow {
  readonly arm: string;
  readonly accuracy: MeanEstimate;
  /** Of the costs that all its outcomes have. */
  readonly costs: Readonly<Partial<Record<CostName, MeanEstimate>>>;
  /** Costs by which no other arm is at least as accurate for at most as much, and better in one of the two. */
  readonly efficientIn: readonly CostName[];
}

/**
 * Accuracy against tokens, verifier calls, FLOPs, wall time and energy (arXiv 2408.03314, 2407.21787): one row an arm, in order of first naming. An arm
 * is on the Pareto front of a cost when no other dominates it there; the front is that of the measured means, whose intervals may overlap.
 *
 * @throws OptionError; EvaluationError `BAD_OUTCOMES` where arms are not those of all questions
 */
export function tradeOffs(questions: readonly ArmedQuestion[]): TradeOffRow[] {
  const isList = Array.isArray(questions) && questions.length > 0;
  assertArgument('tradeOffs', 'questions', questions, isList, 'a list of at least one question');
  const rows = armsOf('tradeOffs', questions).map((arm) => {
    const outcomes = questions.map(({ outcomes: of }) => of[arm]!);
    const costs: Partial<Record<CostName, MeanEstimate>> = {};
    for (const cost of COSTS) {
      const values = outcomes.flatMap((outcome) => outcome[cost] ?? []);
      if (values.length === outcomes.length) costs[cost] = meanWithStandardError(values);
    }
    return { arm, accuracy: meanWithStandardError(outcomes.map(({ correct }) => correct)), costs };
  });
  return rows.map((row) => ({
    ...row,
    efficientIn: COSTS.filter((cost) => {
      const own = row.costs[cost]?.value;
      if (own === undefined) return false;
      return !rows.some(({ accuracy, costs }) => {
        const other = costs[cost]?.value;
        if (other === undefined || other === null) return false;
        const [gain, saving] = [accuracy.value! - row.accuracy.value!, own! - other];
        return gain >= 0 && saving >= 0 && gain + saving > 0;
      });
    }),
  }));
}

const LABELS: Readonly<Record<CostName, string>> = {
  completionTokens: 'completion tokens a question',
  verifierCalls: 'verifier calls a question',
  flops: 'FLOPs a question',
  wallTimeMs: 'milliseconds a question',
  joules: 'joules a question',
};

/** One plot a cost that any arm has: accuracy with its error against the mean cost, each arm a point of its family's series. */
export function tradeOffPlots(
  rows: readonly TradeOffRow[],
  /** Which series an arm belongs to. Default: itself. */
  familyOf: (arm: string) => string = (arm) => arm,
): LinePlot[] {
  return COSTS.flatMap((cost): LinePlot[] => {
    const known = rows.filter(({ costs }) => (costs[cost]?.value ?? 0) > 0);
    if (known.length === 0) return [];
    const families = [...new Set(known.map(({ arm }) => familyOf(arm)))];
    return [
      {
        ...{ type: 'line', title: `Accuracy against ${LABELS[cost]}`, xLabel: LABELS[cost], yLabel: 'accuracy' },
        xScale: 'log',
        series: families.map((name) => ({
          name,
          points: known
            .filter(({ arm }) => familyOf(arm) === name)
            .map(({ accuracy, costs }) => ({
              ...{ x: costs[cost]!.value!, y: accuracy.value!, standardError: accuracy.standardError },
            }))
            .sort((a, b) => a.x - b.x),
        })),
      },
    ];
  });
}
