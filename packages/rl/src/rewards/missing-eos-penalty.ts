import { type Given, number, options } from '@posttrain/interfaces';
import { namedReward, type RewardFunction } from './reward.js';

const missingEosPenaltyOptions = options('missingEosPenalty', {
  /** What a completion without an end costs. Default 1. */
  penalty: number({ default: 1, above: 0 }),
});
/** Options of `missingEosPenalty`. */
export type MissingEosPenaltyOptions = Given<typeof missingEosPenaltyOptions>;

/** A penalty for completions that were cut off and have no end (TRL's PPO: `missing_eos_penalty`), as a reward beside others. */
export function missingEosPenalty(given: MissingEosPenaltyOptions = {}): RewardFunction {
  const { penalty } = missingEosPenaltyOptions.read(given);
  return namedReward('missing-eos-penalty', missingEosPenaltyOptions.settings(given), (_, { finishReason }) =>
    finishReason === 'stop' ? 0 : -penalty,
  );
}
