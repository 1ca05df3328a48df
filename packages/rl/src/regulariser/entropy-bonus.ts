import { type Given, number, options } from '@posttrain/interfaces';
import { weightedSum } from '@posttrain/training';
import type { Regulariser } from './regulariser.js';

const entropyBonusOptions = options('entropyBonus', {
  /** Weight of the bonus. */
  entropyCoef: number({}),
});
/** Options of `entropyBonus`. */
export type EntropyBonusOptions = Given<typeof entropyBonusOptions>;

/** - coef · mean H over the trained tokens, whatever the aggregation (as in TRL): rewards a policy that stays undecided. */
export function entropyBonus(given: EntropyBonusOptions): Regulariser {
  const { entropyCoef } = entropyBonusOptions.read(given);
  return {
    name: 'entropy-bonus',
    settings: entropyBonusOptions.settings(given),
    needsReference: false,
    compute: ({ entropies, tokenMean }) => ({
      loss: weightedSum(entropies, tokenMean).mul(-entropyCoef),
      metrics: {},
    }),
  };
}
