import { EvaluationError } from '../errors.js';
import { assertFinite } from '../statistics/standard-error.js';

/** Risk where only the surest answers are given. */
export interface SelectiveRisk {
  /** For each share of answers that is given, the surest first: their mean loss. Equal confidences are given in no order: their mean over orders. */
  readonly curve: readonly { readonly coverage: number; readonly risk: number }[];
  /** Area under the curve: the mean risk over coverages 1/n … 1. */
  readonly aurc: number;
  /** What is lost against the best order there is, AURC − AURC of sorting by the loss itself. */
  readonly excess: number;
}

/**
 * Risk and coverage of a model that may abstain (Geifman and El-Yaniv, arXiv 1705.08500; AURC and E-AURC, arXiv 1805.08206): answers are given from the highest confidence
 * down. Confidences need no scale; of one that says nothing, the curve is flat.
 *
 * @param losses of each answer: 1 where it is wrong, or any loss
 * @throws EvaluationError `UNPAIRED`, `NOT_FINITE`
 */
export function selectiveRisk(confidences: readonly number[], losses: readonly number[]): SelectiveRisk {
  const n = confidences.length;
  if (n === 0 || losses.length !== n) {
    throw new EvaluationError(
      'UNPAIRED',
      `selectiveRisk needs a loss for each confidence, but got ${n} and ${losses.length}.`,
    );
  }
  assertFinite('selectiveRisk: confidences,', confidences);
  assertFinite('selectiveRisk: losses,', losses);
  const risks = risksBy(confidences, losses);
  const best = risksBy(
    losses.map((loss) => -loss),
    losses,
  );
  const meanOf = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / n;
  const aurc = meanOf(risks);
  return { curve: risks.map((risk, i) => ({ coverage: (i + 1) / n, risk })), aurc, excess: aurc - meanOf(best) };
}

function risksBy(confidences: readonly number[], losses: readonly number[]): number[] {
  const order = confidences.map((_, i) => i).sort((i, j) => confidences[j]! - confidences[i]!);
  const risks: number[] = [];
  let sum = 0;
  for (let start = 0; start < order.length; ) {
    let end = start;
    let tied = 0;
    while (end < order.length && confidences[order[end]!] === confidences[order[start]!])
      tied += losses[order[end++]!]!;
    for (let i = start; i < end; i++) risks.push((sum + (tied * (i - start + 1)) / (end - start)) / (i + 1));
    sum += tied;
    start = end;
  }
  return risks;
}
