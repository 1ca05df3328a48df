import { bradleyTerry } from './bradley-terry.js';
import { decision } from './decision.js';
import { implicitFeedback } from './implicit-feedback.js';
import { odin } from './odin.js';
import { outcomeReward } from './outcome-reward.js';
import { plackettLuce } from './plackett-luce.js';
import { processReward } from './process-reward.js';
import { stepValue } from './step-value.js';

/** Losses of reward models: each with the rows that it is for. */
export const rewardModelLosses = {
  /** Bradley and Terry (arXiv 2203.02155), over pairs `{ prompt?, chosen, rejected, margin? }`. */
  bradleyTerry,
  /** Plackett and Luce, over rankings `{ prompt?, completions, ranks | scores }` of any length. */
  plackettLuce,
  /** ODIN (arXiv 2402.07319), over pairs: quality and length by two outputs. */
  odin,
  /** An outcome reward model (arXiv 2110.14168), over answers `{ prompt?, completion, label }`. */
  outcome: outcomeReward,
  /** A process reward model (arXiv 2305.20050), over steps `{ prompt, completions, labels }`. */
  process: processReward,
  /** Values of steps and their order (SVPO, arXiv 2406.10858), over `{ prompt, chosen, rejected, chosen_value, rejected_value }`. */
  stepValue,
  /** Clicks with inverse propensities (arXiv 1909.03601), over answers `{ prompt?, completion, clicked, propensity }`. */
  implicitFeedback,
  /** A decision model, over questions `{ prompt?, completion, target, options?, ordinal? }`. */
  decision,
} as const;

/** The name of a loss of `rewardModelLosses`. */
export type RewardModelLossName = keyof typeof rewardModelLosses;
