import { EvaluationError } from '../errors.js';
import {
  assertFinite,
  type MeanEstimate,
  meanDifference,
  meanWithStandardError,
} from '../statistics/standard-error.js';

/** How a judge changes while it is taught anew, on questions that stay the same. */
export interface JudgeDrift {
  /** Of each round: 1 − |verdict − gold|, the mean over the anchors. */
  readonly agreement: readonly MeanEstimate[];
  /** What agreement gains a round (below 0: it drifts away), by least squares over the rounds of each anchor. Anchors are the independent units. */
  readonly agreementTrend: MeanEstimate;
  /** What verdict − gold gains a round: the direction in which verdicts move, such as towards "yes" for everything. */
  readonly biasTrend: MeanEstimate;
  /** Share of anchors judged otherwise in the last round than in the first, by which side of ½ the verdict is on. */
  readonly changed: MeanEstimate;
}

/**
 * Whether a judge drifts: the same anchors, of which people or a checker have said what is right, are judged after every round of a training in which the judge is taught by its own
 * verdicts (self-rewarding models, an echo chamber), or in which nothing of it should change. A trend whose interval is beside 0 is drift; set it against a judge that is taught by
 * people in the same rounds, as teaching alone changes verdicts too. It says nothing of questions that are unlike the anchors.
 *
 * @param rounds verdicts of each round, at least two: 1 yes (or the first of a pair), 0 no, or anything between, one for each anchor
 * @param gold what is right for each anchor, 0 to 1
 * @throws EvaluationError `NO_RECORDS` for less than two rounds or no anchors, `UNPAIRED` for rounds of other lengths, `NOT_FINITE` for what is not between 0 and 1
 */
export function judgeDrift(rounds: readonly (readonly number[])[], gold: readonly number[]): JudgeDrift {
  if (rounds.length < 2 || gold.length === 0)
    throw new EvaluationError(
      'NO_RECORDS',
      `judgeDrift needs two rounds or more and some anchors, but got ${rounds.length} and ${gold.length}.`,
    );
  for (const [i, verdicts] of [gold, ...rounds].entries()) {
    const name = i === 0 ? 'gold' : `round ${i - 1}`;
    if (verdicts.length !== gold.length)
      throw new EvaluationError(
        'UNPAIRED',
        `judgeDrift: ${name} has ${verdicts.length} verdicts for ${gold.length} anchors.`,
      );
    assertFinite(`judgeDrift: ${name},`, verdicts);
    if (verdicts.some((verdict) => verdict < 0 || verdict > 1))
      throw new EvaluationError('NOT_FINITE', `judgeDrift: ${name} has a verdict that is not between 0 and 1.`);
  }
  const errors = rounds.map((verdicts) => verdicts.map((verdict, i) => verdict - gold[i]!));
  const agreements = errors.map((round) => round.map((error) => 1 - Math.abs(error)));
  const trend = (values: readonly (readonly number[])[]) =>
    meanDifference(gold.map((_, i) => slope(values.map((round) => round[i]!))));
  const [first, last] = [rounds[0]!, rounds.at(-1)!];
  return {
    agreement: agreements.map((round) => meanWithStandardError(round)),
    agreementTrend: trend(agreements),
    biasTrend: trend(errors),
    changed: meanWithStandardError(first.map((verdict, i) => Number(verdict > 0.5 !== last[i]! > 0.5))),
  };
}

/** Least squares of values at 0, 1, 2, …. */
function slope(values: readonly number[]): number {
  const middle = (values.length - 1) / 2;
  const squares = values.reduce((sum, _, x) => sum + (x - middle) ** 2, 0);
  return values.reduce((sum, y, x) => sum + (x - middle) * y, 0) / squares;
}
