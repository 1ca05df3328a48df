import { bradleyTerry } from './bradley-terry.js';
import { outcomeReward } from './outcome-reward.js';
import { processReward } from './process-reward.js';

/** Losses of reward models: each with the rows that it is for. */
export const rewardModelLosses = {
  /** Bradley and Terry (arXiv 2203.02155), over pairs `{ prompt?, chosen, rejected, margin? }`. */
  bradleyTerry,
  /** An outcome reward model (arXiv 2110.14168), over answers `{ prompt?, completion, label }`. */
  outcome: outcomeReward,
  /** A process reward model (arXiv 2305.20050), over steps `{ prompt, completions, labels }`. */
  process: processReward,
} as const;

/** The name of a loss of `rewardModelLosses`. */
export type RewardModelLossName = keyof typeof rewardModelLosses;
