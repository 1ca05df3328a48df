import { assertKnownOptions } from '@posttrain/interfaces';
import { weightedSum } from '@posttrain/training';
import type { Regulariser } from './regulariser.js';

export interface EntropyBonusOptions {
  readonly entropyCoef: number;
}

/** - coef · mean H over the trained tokens, whatever the aggregation (as in TRL): rewards a policy that stays undecided. */
export function entropyBonus(options: EntropyBonusOptions): Regulariser {
  assertKnownOptions('entropyBonus', options, ['entropyCoef']);
  return {
    name: 'entropy-bonus',
    needsReference: false,
    compute: ({ entropies, tokenMean }) => ({
      loss: weightedSum(entropies, tokenMean).mul(-options.entropyCoef),
      metrics: {},
    }),
  };
}
