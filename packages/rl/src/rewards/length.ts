import { assertKnownOptions } from '@posttrain/interfaces';
import { positiveInteger } from '../positive-integer.js';
import { namedReward, type RewardFunction } from './reward.js';

export interface LengthPenaltyOptions {
  /** Tokens at which the penalty is complete. */
  readonly maxCompletionLength: number;
}

/** -min(1, tokens / maxCompletionLength): the shorter the better. Give it a small weight. */
export function lengthPenalty(options: LengthPenaltyOptions): RewardFunction {
  assertKnownOptions('lengthPenalty', options, ['maxCompletionLength']);
  const max = positiveInteger('lengthPenalty: maxCompletionLength', options.maxCompletionLength);
  return namedReward(
    'lengthPenalty',
    { maxCompletionLength: max },
    (_, { completionTokens }) => -Math.min(1, completionTokens.length / max),
  );
}
