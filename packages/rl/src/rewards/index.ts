export { type CodeReward, type CodeRewardOptions, type CodeVerdict, codeReward } from './code-reward.js';
export { type ContrastiveRewardOptions, contrastiveReward } from './contrastive-reward.js';
export { type CosineLengthOptions, cosineLength } from './cosine-length.js';
export { type EnvironmentRewardOptions, environmentReward } from './environment-reward.js';
export {
  type EurekaCandidate,
  type EurekaOptions,
  type EurekaResult,
  eureka,
  type RewardFitness,
} from './eureka.js';
export { type GroupGapPenaltyOptions, groupGapPenalty } from './group-gap-penalty.js';
export { groupReward } from './group-reward.js';
export { type HybridRewardOptions, hybridReward } from './hybrid-reward.js';
export { type ImplicitProcessRewardOptions, implicitProcessReward } from './implicit-process-reward.js';
export { type KimiLengthOptions, kimiLength } from './kimi-length.js';
export { type LcpoOptions, lcpo } from './lcpo.js';
export { type LengthPenaltyOptions, lengthPenalty } from './length.js';
export { type LengthTargetOptions, lengthTarget } from './length-target.js';
export { type MissingEosPenaltyOptions, missingEosPenalty } from './missing-eos-penalty.js';
export { type ProcessAdvantageOptions, processAdvantage } from './process-advantage.js';
export { type RefitRewardModel, type RefitRewardModelOptions, refitRewardModel } from './refit-reward-model.js';
export { type RepetitionPenaltyOptions, repetitionPenalty } from './repetition-penalty.js';
export type {
  PromptRow,
  Reward,
  RewardContext,
  RewardFunction,
  RewardRequest,
  Rewards,
  TurnReward,
  WeightedReward,
} from './reward.js';
export { namedReward, RewardError } from './reward.js';
export { type RewardEnsembleOptions, rewardEnsemble } from './reward-ensemble.js';
export { type RestartedRow, type SatoriRewardOptions, satoriReward } from './satori-reward.js';
export {
  type CompletionToScore,
  refuseUnscorable,
  type ScoreOptions,
  type Scores,
  scoreCompletions,
} from './score-completions.js';
export { type SoftOverlongPunishmentOptions, softOverlongPunishment } from './soft-overlong-punishment.js';
export { type StepRewardsOptions, stepRewards } from './step-rewards.js';
export { type StopProperlyOptions, stopProperly } from './stop-properly.js';
export {
  type AnsweredGroup,
  majorityAnswer,
  type TtrlOptions,
  type TtrlReport,
  ttrl,
  ttrlReport,
} from './ttrl.js';
