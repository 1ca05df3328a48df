import type { PairwiseProblem } from '../kinds/pairwise.js';
import type { Metric } from '../task.js';

/** A metric of pairs. */
export type PairwiseMetric = Metric<PairwiseProblem>;

/** Wins plus half the ties, as a share of the pairs that were judged: 0.5 where no side is better. */
export function winRate(): PairwiseMetric {
  return { name: 'win_rate', value: ({ score }) => score };
}

/** Share of pairs that are ties: the judge said so, or preferred another side when they were swapped. */
export function tieRate(): PairwiseMetric {
  return { name: 'tie_rate', value: ({ score }) => (score === null ? null : Number(score === 0.5)) };
}

/** Share of pairs that are judged alike in both orders (arXiv 2306.05685, table 2: consistency). */
export function positionConsistency(): PairwiseMetric {
  return ofOrders('position_consistency', (one, swapped) => {
    const mirrored = { first: 'second', second: 'first', tie: 'tie' } as const;
    return mirrored[one] === swapped;
  });
}

/** Share of pairs of which the judge prefers the first in both orders (arXiv 2306.05685, table 2: biased toward first). */
export function firstPositionBias(): PairwiseMetric {
  return ofOrders('first_position_bias', (one, swapped) => one === 'first' && swapped === 'first');
}

/** Share of pairs of which the judge prefers the second in both orders (arXiv 2306.05685, table 2: biased toward second). */
export function secondPositionBias(): PairwiseMetric {
  return ofOrders('second_position_bias', (one, swapped) => one === 'second' && swapped === 'second');
}

type Winner = 'first' | 'second' | 'tie';

function ofOrders(name: string, holds: (one: Winner, swapped: Winner) => boolean): PairwiseMetric {
  return {
    name,
    value: ({ verdicts: [{ winner: one }, { winner: swapped }] }) =>
      one === null || swapped === null ? null : Number(holds(one, swapped)),
  };
}
