import { type Given, integer, options } from '@posttrain/interfaces';
import { namedReward, type RewardFunction } from './reward.js';

const lengthPenaltyOptions = options('lengthPenalty', {
  /** Tokens at which the penalty is complete. */
  maxCompletionLength: integer({ min: 1 }),
});
/** Options of `lengthPenalty`. */
export type LengthPenaltyOptions = Given<typeof lengthPenaltyOptions>;

/** -min(1, tokens / maxCompletionLength): the shorter the better. Give it a small weight. @throws OptionError */
export function lengthPenalty(given: LengthPenaltyOptions): RewardFunction {
  const { maxCompletionLength: max } = lengthPenaltyOptions.read(given);
  return namedReward(
    'lengthPenalty',
    lengthPenaltyOptions.settings(given),
    (_, { completionTokens }) => -Math.min(1, completionTokens.length / max),
  );
}
