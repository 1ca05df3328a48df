export { type AnswerOptions, answersEqual, extractFinalAnswer, normalizeAnswer } from '@posttrain/interfaces/answers';
export {
  type ExactMatchOptions,
  exactMatch,
  type FormatTagsOptions,
  type FunctionVerifierOptions,
  formatTags,
  functionVerifier,
  type LanguageConsistencyOptions,
  languageConsistency,
  type NumericMatchOptions,
  numericMatch,
  type SeverityOptions,
  type SeverityRule,
  severity,
  type VerifierResult,
} from '@posttrain/interfaces/verifiers';
export type { Advantage, RolloutNeed } from './advantage/advantage.js';
export { type ClipCovOptions, clipCov } from './advantage/clip-cov.js';
export {
  type GaeOptions,
  type GaeStepOptions,
  type GaeSteps,
  gae,
  gaeSteps,
  generalizedAdvantages,
  type RolloutSteps,
  stepsOf,
} from './advantage/gae.js';
export { type GdpoOptions, gdpo } from './advantage/gdpo.js';
export { type GfpoOptions, gfpo } from './advantage/gfpo.js';
export { type LeaveOneOutOptions, leaveOneOut } from './advantage/leave-one-out.js';
export { type LogPartitionOptions, logPartition } from './advantage/log-partition.js';
export { maxRl } from './advantage/max-rl.js';
export { type ProcessGrpoOptions, processGrpo } from './advantage/process-grpo.js';
export { type ReinforcePlusPlusOptions, reinforcePlusPlus } from './advantage/reinforce-plus-plus.js';
export { greedyBaseline, reMax } from './advantage/remax.js';
export { type TokenCovariance, tokenCovariances } from './advantage/token-covariances.js';
export { policyEntropies, type TopEntropyOptions, tokenEntropies, topEntropy } from './advantage/top-entropy.js';
export { type VinePpoOptions, type VineValuesOptions, vinePpo, vineValues } from './advantage/vineppo.js';
export type { Aggregation, AggregationContext } from './aggregation/aggregation.js';
export { type LocalTokenMeanOptions, localTokenMean } from './aggregation/local-token-mean.js';
export type { Annotator, AnnotatorContext, Prefix, SampledBy } from './annotator.js';
export { type Critic, type CriticExample, type CriticOptions, criticValues } from './critic/critic-values.js';
export { type ValueLossOptions, valueLoss, valueRows } from './critic/value-loss.js';
export { type ValueModelCritic, type ValueModelCriticOptions, valueModelCritic } from './critic/value-model-critic.js';
export {
  type BondAnchorOptions,
  type BondOptions,
  bestOfNLaw,
  bond,
  bondAnchor,
  bondFields,
} from './distillation/bond.js';
export { type MiniLlmOptions, miniLlm } from './distillation/minillm.js';
export {
  type OnPolicyDistillationOptions,
  onPolicyDistillation,
  reverseKlMetric,
} from './distillation/on-policy-distillation.js';
export { type SdftOptions, sdft } from './distillation/sdft.js';
export {
  type PrivilegedPrompt,
  type RowWithColumns,
  type TeacherLogProbsOptions,
  type TeachersLogProbsOptions,
  teacherLogProb,
  teacherLogProbs,
  teachersLogProbs,
} from './distillation/teacher-log-probs.js';
export type { SelfTeacher, TokenTeacher } from './distillation/token-teacher.js';
export type { LossContext, LossObjective, ObjectiveRows, PolicyLoss } from './loss-objective.js';
export type {
  JBondOptions,
  MiniLlmObjectiveOptions,
  MopdOptions,
  OnPolicyDistillationObjectiveOptions,
  OpsdOptions,
} from './objective/distillation-presets.js';
export { type BnpoOptions, type GroupNormalizedOptions, type GrpoOptions, groupNormalized } from './objective/grpo.js';
export {
  type AnnotatedRollouts,
  type AnyPolicyObjective,
  isLossObjective,
  type PartsLoss,
  type PolicyObjective,
  type PolicyObjectiveOptions,
  type PolicyObjectiveParts,
  policyObjective,
} from './objective/policy-objective.js';
export type {
  CispoObjectiveOptions,
  ClipCovObjectiveOptions,
  DppoObjectiveOptions,
  GdpoObjectiveOptions,
  GfpoObjectiveOptions,
  GmpoObjectiveOptions,
  GspoTokenOptions,
  KlCovObjectiveOptions,
  LitePpoOptions,
  LuspoOptions,
  MaxRlOptions,
  MirrorDescentOptions,
  ProcessGrpoObjectiveOptions,
  SapoObjectiveOptions,
  TopEntropyObjectiveOptions,
  VapoOptions,
  VespoObjectiveOptions,
} from './objective/policy-variants.js';
export {
  type PolicyObjectiveName,
  type PpoOptions,
  policyObjectives,
  type ReinforceOptions,
  type ReinforcePlusPlusObjectiveOptions,
  type RemaxOptions,
  type RlooOptions,
  type TrpoObjectiveOptions,
  type VineppoOptions,
} from './objective/presets.js';
export {
  batchMean,
  constantLength,
  noBaseline,
  noRatio,
  policyGradient,
  sequenceMean,
  sequenceRatio,
  sequenceSum,
  sequenceSumRatio,
  tokenMean,
  tokenRatio,
} from './objective/simple-parts.js';
export {
  type DecisionTransformerConfig,
  DecisionTransformerError,
} from './offline/decision-transformer/config.js';
export { DecisionTransformer } from './offline/decision-transformer/decision-transformer.js';
export {
  type ReturnConditionedOptions,
  returnConditioned,
} from './offline/decision-transformer/return-conditioned.js';
export {
  type DecisionTransformerOptions,
  type DecisionTransformerResult,
  decisionTransformerOptions,
  trainDecisionTransformer,
} from './offline/decision-transformer/train-decision-transformer.js';
export { returnsToGo, type TrajectoryRowOptions, trajectoryRow } from './offline/decision-transformer/trajectories.js';
export { type IlqlOptions, ilql, syncTargets, withQHeads } from './offline/ilql.js';
export { type OreoPolicyOptions, type OreoValueOptions, oreoPolicy, oreoValue } from './offline/oreo.js';
export { type AlphapoLossOptions, alphapoLoss } from './preference/alphapo.js';
export { type AotLossOptions, aotLoss } from './preference/aot.js';
export { aotUnpairedLoss } from './preference/aot-unpaired.js';
export { type ApoDownLossOptions, apoDownLoss } from './preference/apo-down.js';
export { type ApoZeroLossOptions, apoZeroLoss } from './preference/apo-zero.js';
export { type BcoLossOptions, bcoLoss } from './preference/bco.js';
export { type BcoUnpairedLossOptions, bcoUnpairedLoss } from './preference/bco-unpaired.js';
export { type BfpoLossOptions, bfpoLoss } from './preference/bfpo.js';
export { type CdpoLossOptions, cdpoLoss } from './preference/cdpo.js';
export { type CombinedLossOptions, combinedLoss } from './preference/combined.js';
export type {
  CompletionLogProbs,
  CompletionReadouts,
  Completions,
  PreferenceLossDescription,
  PreferenceLosses,
  ReferenceInPass,
} from './preference/completions.js';
export { type CpoLossOptions, cpoLoss } from './preference/cpo.js';
export { type DiscopopLossOptions, discopopLoss } from './preference/discopop.js';
export { type DpoLossOptions, dpoLoss } from './preference/dpo.js';
export { type DpopLossOptions, dpopLoss } from './preference/dpop.js';
export { type ExoLossOptions, exoLoss } from './preference/exo.js';
export { type FdpoLossOptions, fdpoLoss } from './preference/f-dpo.js';
export { type HingeLossOptions, hingeLoss } from './preference/hinge.js';
export { type ImplicitPrmLossOptions, implicitPrmLoss } from './preference/implicit-prm.js';
export { type IpoLossOptions, ipoLoss } from './preference/ipo.js';
export { type KtoLossOptions, ktoLoss } from './preference/kto.js';
export { type LddpoLossOptions, lddpoLoss } from './preference/ld-dpo.js';
export {
  type AnyPreferenceLoss,
  type LiftPreferenceOptions,
  liftPreferenceLoss,
} from './preference/lift-preference-loss.js';
export { type LipoLossOptions, lipoLoss } from './preference/lipo.js';
export { type MdpoLossOptions, mdpoLoss } from './preference/mdpo.js';
export { type MipoLossOptions, mipoLoss } from './preference/mipo.js';
export { type NashMdLossOptions, nashMdLoss } from './preference/nash-md.js';
export { type NcaLossOptions, ncaLoss } from './preference/nca.js';
export { type OrpoLossOptions, orpoLoss } from './preference/orpo.js';
export { type PlackettLuceLossOptions, plackettLuceLoss } from './preference/plackett-luce.js';
export {
  annotatePairs,
  coupledPairs,
  type OfPair,
  type PairLogProbs,
  type PairReference,
  type PreferenceLoss,
  type ReferredPair,
  type TokenizedPair,
} from './preference/preference-loss.js';
export { type PreferenceRow, PreferenceRowError, tokenizePair } from './preference/preference-rows.js';
export { type PreferenceLossName, preferenceLosses } from './preference/presets.js';
export {
  annotateRankings,
  type RankedLogProbs,
  type RankedLoss,
  type ReferredRanking,
  type TokenizedRanking,
} from './preference/ranked-loss.js';
export { type RankedRow, tokenizeRanking } from './preference/ranked-rows.js';
export { isReferenceUpdate, type ReferenceUpdate } from './preference/reference-update.js';
export { type RobustLossOptions, robustLoss } from './preference/robust.js';
export { type RpoLossOptions, rpoLoss } from './preference/rpo.js';
export { sftLoss } from './preference/sft.js';
export { type SigmoidNormLossOptions, sigmoidNormLoss } from './preference/sigmoid-norm.js';
export { type SimpoLossOptions, simpoLoss } from './preference/simpo.js';
export { type SppoLossOptions, sppoLoss } from './preference/sppo.js';
export { type StepSolutions, stepDpoPair } from './preference/step-dpo.js';
export { type TdpoLossOptions, tdpoLoss } from './preference/tdpo.js';
export { type TrDpoOptions, trDpo } from './preference/tr-dpo.js';
export {
  annotateUnpaired,
  type UnpairedCompletion,
  type UnpairedLogProbs,
  type UnpairedLoss,
  type UnpairedStep,
} from './preference/unpaired-loss.js';
export { type TokenizedCompletion, tokenizeUnpaired, type UnpairedRow } from './preference/unpaired-rows.js';
export { type WpoLossOptions, wpoLoss } from './preference/wpo.js';
export { type XpoLossOptions, xpoLoss } from './preference/xpo.js';
export { gspoTokenRatio } from './ratio/gspo-token.js';
export { type IcePopOptions, icePop } from './ratio/ice-pop.js';
export type { Ratio } from './ratio/ratio.js';
export { type MismatchCriterion, type RejectMismatchOptions, rejectMismatch } from './ratio/reject-mismatch.js';
export { type TruncatedImportanceOptions, truncatedImportance } from './ratio/truncated-importance.js';
export { type AdaptiveKlOptions, adaptiveKl } from './regulariser/adaptive-kl.js';
export { type EchoOptions, echo } from './regulariser/echo.js';
export { type EntropyBonusOptions, entropyBonus } from './regulariser/entropy-bonus.js';
export { type KlCovOptions, klCov } from './regulariser/kl-cov.js';
export { type KlEstimator, klEstimators } from './regulariser/kl-estimators.js';
export { type KlInLossOptions, klInLoss } from './regulariser/kl-in-loss.js';
export { type KlInRewardOptions, klInReward } from './regulariser/kl-in-reward.js';
export { type PositiveExamplesOptions, positiveExamples } from './regulariser/positive-examples.js';
export { type RaoBlackwellizedKlOptions, raoBlackwellizedKl } from './regulariser/rao-blackwellized-kl.js';
export type { PassOfLoss, Regulariser, RegulariserInputs } from './regulariser/regulariser.js';
export {
  type SamplerHeadOptions,
  type ScoreCenteringOptions,
  samplerHead,
  scoreCentering,
} from './regulariser/score-centering.js';
export { type SquaredLogRatioOptions, squaredLogRatio } from './regulariser/squared-log-ratio.js';
export { type CodeReward, type CodeRewardOptions, type CodeVerdict, codeReward } from './rewards/code-reward.js';
export { type ContrastiveRewardOptions, contrastiveReward } from './rewards/contrastive-reward.js';
export { type EnvironmentRewardOptions, environmentReward } from './rewards/environment-reward.js';
export {
  type EurekaCandidate,
  type EurekaOptions,
  type EurekaResult,
  eureka,
  type RewardFitness,
} from './rewards/eureka.js';
export { groupReward } from './rewards/group-reward.js';
export { type HybridRewardOptions, hybridReward } from './rewards/hybrid-reward.js';
export { type ImplicitProcessRewardOptions, implicitProcessReward } from './rewards/implicit-process-reward.js';
export { type LcpoOptions, lcpo } from './rewards/lcpo.js';
export { type LengthPenaltyOptions, lengthPenalty } from './rewards/length.js';
export { type MissingEosPenaltyOptions, missingEosPenalty } from './rewards/missing-eos-penalty.js';
export { type ProcessAdvantageOptions, processAdvantage } from './rewards/process-advantage.js';
export { type RefitRewardModel, type RefitRewardModelOptions, refitRewardModel } from './rewards/refit-reward-model.js';
export type {
  PromptRow,
  Reward,
  RewardContext,
  RewardFunction,
  RewardRequest,
  Rewards,
  TurnReward,
  WeightedReward,
} from './rewards/reward.js';
export { namedReward, RewardError } from './rewards/reward.js';
export { type RewardEnsembleOptions, rewardEnsemble } from './rewards/reward-ensemble.js';
export {
  type CompletionToScore,
  refuseUnscorable,
  type ScoreOptions,
  type Scores,
  scoreCompletions,
} from './rewards/score-completions.js';
export { type SoftOverlongPunishmentOptions, softOverlongPunishment } from './rewards/soft-overlong-punishment.js';
export { type StepRewardsOptions, stepRewards } from './rewards/step-rewards.js';
export { checkRollouts, RolloutError } from './rollout/check-rollouts.js';
export { type DifficultyCurriculumOptions, difficultyCurriculum } from './rollout/difficulty-curriculum.js';
export {
  type Environment,
  EnvironmentError,
  type Episode,
  type EpisodeContext,
  type EpisodeStep,
  type Reply,
  type ToolCallOfReply,
} from './rollout/environment.js';
export { type ExternalSamplerOptions, externalSampler, type PolicyToSync } from './rollout/external-sampler.js';
export { FleetError } from './rollout/fleet/fleet.js';
export type { FleetEvent, OnFleetEvent } from './rollout/fleet/fleet-event.js';
export { type FleetRolloutsOptions, fleetRollouts } from './rollout/fleet/fleet-rollouts.js';
export {
  type AgentTurn,
  type MultiAgentEnvironment,
  type MultiAgentEpisode,
  type MultiAgentOptions,
  multiAgent,
} from './rollout/multi-agent.js';
export { type MultiTurnOptions, multiTurn } from './rollout/multi-turn.js';
export type { ActionSpace, NumericEnvironment, NumericEpisode, NumericStep } from './rollout/numeric-environment.js';
export { type PartialRolloutsOptions, partialRolloutSteps, partialRollouts } from './rollout/partial-rollouts.js';
export { type NumericPolicy, type PlayOptions, play, returnOf, type Trajectory } from './rollout/play.js';
export { importanceWeighted, type PrioritizedReplayOptions, prioritizedReplay } from './rollout/prioritized-replay.js';
export { type RestartBufferOptions, restartBuffer } from './rollout/restart-buffer.js';
export {
  type FeedbackContext,
  generatorOf,
  type RolloutRequest,
  type RolloutSource,
  type SamplingRequest,
  seedOf,
} from './rollout/rollout-source.js';
export type { RowSource, SourcedRow } from './rollout/row-source.js';
export { type SamplerMismatch, samplerMismatch } from './rollout/sampler-mismatch.js';
export { type SingleTurnOptions, singleTurn } from './rollout/single-turn.js';
export { type EnvironmentTool, toolEnvironment } from './rollout/tool-environment.js';
export { toolReplies } from './rollout/tool-replies.js';
export {
  groupsOf,
  type Rollout,
  type SampledRollout,
  type ScoredRollout,
  trainedTokens,
} from './rollout.js';
export { type ExtraNeed, type RolloutField, type RolloutFieldOptions, rolloutField } from './rollout-field.js';
export {
  type MinimumRiskOptions,
  minimumRisk,
  minimumRiskRows,
} from './sequence-level/minimum-risk.js';
export type { Stateful } from './stateful.js';
export { type CispoOptions, cispo } from './surrogate/cispo.js';
export { type ClipOptions, clip } from './surrogate/clip.js';
export { type DppoOptions, dppo } from './surrogate/dppo.js';
export { type GmpoOptions, gmpo } from './surrogate/gmpo.js';
export { type OffPolicyMaskOptions, offPolicyMask } from './surrogate/off-policy-mask.js';
export { type SapoOptions, sapo } from './surrogate/sapo.js';
export type { Surrogate, SurrogateInputs } from './surrogate/surrogate.js';
export { unclipped } from './surrogate/unclipped.js';
export { type VespoOptions, vespo } from './surrogate/vespo.js';
export { type AnnotatorSampling, annotatorContext } from './training/annotator-context.js';
export { DPO_TRL_NAMES, type DpoOptions, dpoOptions } from './training/dpo-options.js';
export { type DpoResult, dpo, trainPreferences } from './training/dpo-trainer.js';
export { type FailureAwarePairsOptions, failureAwarePairs } from './training/failure-aware-pairs.js';
export { hintOfName } from './training/hint-of-name.js';
export { type NashMdCompletionsOptions, nashMdCompletions } from './training/nash-md-completions.js';
export { type OnlinePairsOptions, onlinePairs, preferredPair } from './training/online-pairs.js';
export {
  type PoliciesTrainingOptions,
  type PoliciesTrainingResult,
  type PolicyOfSeveral,
  trainPolicies,
} from './training/policies-trainer.js';
export { checkMetrics, meanMetrics, rolloutMetrics } from './training/policy-metrics.js';
export {
  checkPolicyOptions,
  POLICY_TRL_NAMES,
  POLICY_TRL_REMARKS,
  type PolicySettings,
  type PolicyTrainingOptions,
  policyOptions,
  referenceOf,
  samplingOf,
} from './training/policy-options.js';
export {
  type CompletionRecord,
  type LearningPolicy,
  type Learnt,
  learnFrom,
  noUpdate,
  type PolicyRun,
  type PolicyRunState,
  type PolicyTrainingResult,
  samplingRequest,
  trainPolicy,
} from './training/policy-trainer.js';
export { type PolicyUpdate, policyUpdate, whyNoUpdate } from './training/policy-update.js';
export {
  preferenceData,
  preferenceKind,
  preferenceSettings,
} from './training/preference-data.js';
export { type FedPreferences, type PreferenceFeed, preferenceFeed } from './training/preference-feed.js';
export type { PreferenceData, PreferenceKind, PreferenceSettings } from './training/preference-kind.js';
export {
  type AnyPreferenceRow,
  isPreferenceSource,
  type PreferenceBatch,
  type PreferenceRequest,
  type PreferenceSource,
  type PreferenceSourceContext,
} from './training/preference-source.js';
export { checkPrompts, PromptRowError } from './training/prompts.js';
export {
  fixedReference,
  type MovingReference,
  movingReference,
  type ReferenceChoice,
  type ReferencePolicy,
} from './training/reference-policy.js';
export { refuseDropout } from './training/refuse-dropout.js';
export { type RolledOut, type RollOutOptions, rollOut } from './training/roll-out.js';
export { rolloutsOnRows } from './training/rollout-evaluation.js';
export { withLogProbs } from './training/rollout-log-probs.js';
export {
  hasSpread,
  type RolloutScoring,
  type ScoredRolloutRequest,
  sampleAndScore,
  scoreRollouts,
} from './training/rollouts.js';
export { type FedRows, type RowFeed, rowFeedOf } from './training/row-feed.js';
export { type PartStates, RunParts } from './training/run-parts.js';
export {
  type JudgedCompletion,
  type SelfRewardingPairsOptions,
  selfRewardingPairs,
} from './training/self-rewarding-pairs.js';
export { type SpinPairsOptions, type SpinRow, spinPairs } from './training/spin-pairs.js';
export { type XpoPairsOptions, xpoPairs } from './training/xpo-pairs.js';
export { type TrpoOptions, trpo } from './update/trpo.js';
