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
export * from './actor-critic/index.js';
export type { Advantage, RolloutNeed } from './advantage/advantage.js';
export { type ClipCovOptions, clipCov } from './advantage/clip-cov.js';
export { type ContrastiveStepsOptions, contrastiveSteps } from './advantage/contrastive-steps.js';
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
export { type LagrangianOptions, lagrangian } from './advantage/lagrangian.js';
export { type LeaveOneOutOptions, leaveOneOut } from './advantage/leave-one-out.js';
export { type LogPartitionOptions, logPartition } from './advantage/log-partition.js';
export { maxRl } from './advantage/max-rl.js';
export { type MixerOptions, mixer } from './advantage/mixer.js';
export { type MovingAverageBaselineOptions, movingAverageBaseline } from './advantage/moving-average-baseline.js';
export { type NStepAdvantageOptions, nStepAdvantage } from './advantage/n-step.js';
export { type PrimeOptions, prime } from './advantage/prime.js';
export { type ProcessGrpoOptions, processGrpo } from './advantage/process-grpo.js';
export { type ReinforcePlusPlusOptions, reinforcePlusPlus } from './advantage/reinforce-plus-plus.js';
export { greedyBaseline, reMax } from './advantage/remax.js';
export { type TokenCovariance, tokenCovariances } from './advantage/token-covariances.js';
export { policyEntropies, type TopEntropyOptions, tokenEntropies, topEntropy } from './advantage/top-entropy.js';
export { type VinePpoOptions, type VineValuesOptions, vinePpo, vineValues } from './advantage/vineppo.js';
export {
  type ClassifierDiscriminatorOptions,
  classifierDiscriminator,
  type Discriminator,
} from './adversarial/discriminator.js';
export { type SeqGanOptions, type SeqGanValuesOptions, seqGan, seqGanValues } from './adversarial/seq-gan.js';
export type { Aggregation, AggregationContext } from './aggregation/aggregation.js';
export { type LocalTokenMeanOptions, localTokenMean } from './aggregation/local-token-mean.js';
export type { Annotator, AnnotatorContext, Prefix, SampledBy } from './annotator.js';
export type { BesideLoss } from './beside-loss.js';
export {
  type Critic,
  type CriticExample,
  type CriticOptions,
  criticExamples,
  criticValues,
  valuedRollouts,
} from './critic/critic-values.js';
export {
  type ImplicitRewardLossOptions,
  implicitRewardLoss,
  implicitRewardRows,
} from './critic/implicit-reward-loss.js';
export {
  type ImplicitRewardModel,
  type ImplicitRewardModelOptions,
  implicitRewardModel,
} from './critic/implicit-reward-model.js';
export { type NStepValuesOptions, nStepValues } from './critic/n-step-values.js';
export { type SharedValueHead, type SharedValueHeadOptions, sharedValueHead } from './critic/shared-value-head.js';
export { type ValueLossOptions, valueLoss, valueRows } from './critic/value-loss.js';
export { type ValueModelCritic, type ValueModelCriticOptions, valueModelCritic } from './critic/value-model-critic.js';
export * from './distillation/index.js';
export { type Bandit, type BanditOptions, bandit } from './environments/bandit.js';
export { type CalculatorOptions, type CalculatorRow, calculate, calculator } from './environments/calculator.js';
export { type CodeTestsOptions, type CodeTestsRow, codeTests } from './environments/code-tests.js';
export {
  type DocumentSearchOptions,
  type DocumentSearchRow,
  documentFacts,
  documentSearch,
  type Fact,
  type PassageFinder,
} from './environments/document-search.js';
export { type GridWorld, type GridWorldOptions, gridWorld } from './environments/grid-world.js';
export { type NimOptions, nim } from './environments/nim.js';
export { type PendulumOptions, pendulum, pendulumReward } from './environments/pendulum.js';
export {
  type ServedEnvironment,
  type ServedEnvironmentOptions,
  type ServedRow,
  servedEnvironment,
} from './environments/served-environment.js';
export {
  EnvironmentServerError,
  httpConnection,
  processConnection,
  type ServerAnswer,
  type ServerConnection,
  type ServerRequest,
} from './environments/server-connection.js';
export type { TaskEnvironment } from './environments/task-environment.js';
export { type TextGameOptions, type TextGameRow, textGame } from './environments/text-game.js';
export { ticTacToe } from './environments/tic-tac-toe.js';
export { bestMoves, gameEnvironment, minimax, type TwoPlayerGame } from './environments/two-player-game.js';
export { type ScriptedUser, type UserSimulatorOptions, userSimulator } from './environments/user-simulator.js';
export {
  type EvolutionResult,
  type EvolutionStrategiesOptions,
  evolutionStrategies,
} from './evolution/evolution-strategies.js';
export * from './in-context/index.js';
export type { LossContext, LossObjective, ObjectiveRows, PolicyLoss } from './loss-objective.js';
export {
  checkPolicy,
  type FiniteMdp,
  finiteMdp,
  MdpError,
  type Outcome,
  type PolicyTable,
  softmaxPolicy,
} from './mdp/finite-mdp.js';
export { mdpEnvironment, tablePolicy } from './mdp/mdp-environment.js';
export { optimalValues, type PolicyValues, policyGradients, policyValues } from './mdp/policy-values.js';
export {
  type EnumeratedCompletion,
  rolloutOfCompletion,
  type TokenMdp,
  type TokenMdpOptions,
  tokenMdp,
} from './mdp/token-mdp.js';
export { type RewardHackMonitorsOptions, rewardHackMonitors } from './monitors/reward-hack-monitors.js';
export { agreements, type DebateOptions, debate } from './multi-agent/debate.js';
export {
  answerValue,
  critiqueValue,
  type MaltAgents,
  type MaltAnswer,
  type MaltCritique,
  type MaltPrompts,
  type MaltRefinement,
  type MaltRows,
  type MaltRowsOptions,
  type MaltTree,
  type MaltTreeOptions,
  maltRows,
  maltTree,
} from './multi-agent/malt.js';
export type {
  A2cOptions,
  MixerObjectiveOptions,
  ScstOptions,
  SeqGanObjectiveOptions,
} from './objective/background-presets.js';
export type {
  JBondOptions,
  MiniLlmObjectiveOptions,
  MopdOptions,
  OnPolicyDistillationObjectiveOptions,
  OpsdOptions,
  SdpoOptions,
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
  type NaturalPolicyGradientObjectiveOptions,
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
export { type PretrainingLossOptions, pretrainingLoss } from './objective/pretraining-loss.js';
export type { PrimeObjectiveOptions } from './objective/prime.js';
export { type SamplingMask, type SamplingMaskOptions, samplingMaskReplay } from './objective/sampling-mask.js';
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
export * from './offline/index.js';
export * from './preference/index.js';
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
export * from './rewards/index.js';
export * from './rollout/index.js';
export {
  episodeEnds,
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
export { type LambdaDiscounts, lambdaReturns } from './td/lambda-returns.js';
export { type NStepOptions, nStepReturns, segmentReturns } from './td/n-step-returns.js';
export { type TdLambda, type TdLambdaOptions, type TdStep, tdLambda } from './td/td-lambda.js';
export { type AnnotatorSampling, annotatorContext } from './training/annotator-context.js';
export { type CompletionRecord, completionRecords } from './training/completion-records.js';
export { DPO_TRL_NAMES, type DpoOptions, dpoOptions } from './training/dpo-options.js';
export { type DpoResult, dpo, trainPreferences } from './training/dpo-trainer.js';
export { type AccuracyFilter, type DynamicSampling, hasSpread, teaches } from './training/dynamic-sampling.js';
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
export { type CriticPretraining, type PretrainCriticOptions, pretrainCritic } from './training/pretrain-critic.js';
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
  type RolloutScoring,
  type ScoredRolloutRequest,
  sampleAndScore,
  sampleAndScoreAhead,
  scoreRollouts,
} from './training/rollouts.js';
export { type AheadState, type BeginRollouts, RolloutsAhead } from './training/rollouts-ahead.js';
export { type FedRows, type RowFeed, rowFeedOf } from './training/row-feed.js';
export { type PartStates, RunParts } from './training/run-parts.js';
export {
  type JudgedCompletion,
  type SelfRewardingPairsOptions,
  selfRewardingPairs,
} from './training/self-rewarding-pairs.js';
export { type SpinPairsOptions, type SpinRow, spinPairs } from './training/spin-pairs.js';
export { type XpoPairsOptions, xpoPairs } from './training/xpo-pairs.js';
export { type NaturalPolicyGradientOptions, naturalPolicyGradient } from './update/natural-policy-gradient.js';
export { type TrpoOptions, trpo } from './update/trpo.js';
