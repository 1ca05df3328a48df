export { type BemaOptions, bema } from './averaging/bema.js';
export { type EmaOptions, ema } from './averaging/ema.js';
export type { Averages, AveragingContext, WeightAverage } from './averaging/weight-average.js';
export { type AGemResult, type AGemRuleOptions, aGem, aGemRule } from './continual/a-gem.js';
export type { NextAdapter, NextPrompt } from './continual/adapter-methods.js';
export type {
  ContinualMethod,
  ContinualStage,
  ContinualState,
  ContinualTask,
  LearntTask,
  StageGiven,
  StagePlan,
  StageResult,
} from './continual/continual-method.js';
export { type EwcOptions, ewc } from './continual/ewc.js';
export { type ExperienceReplayOptions, experienceReplay } from './continual/experience-replay.js';
export { empiricalFisherDiagonal, type FisherDiagonalOptions, fisherDiagonal } from './continual/fisher-diagonal.js';
export {
  type GenerativeReplayOptions,
  type GenerativeReplaySettings,
  generativeReplay,
} from './continual/generative-replay.js';
export { type L2SpOptions, l2Sp } from './continual/l2-sp.js';
export { type LwfOptions, learningWithoutForgetting } from './continual/lwf.js';
export { masImportance } from './continual/mas.js';
export { type ContinualMethodName, continualMethods } from './continual/methods.js';
export { type OLoraOptions, oLora } from './continual/o-lora.js';
export { type AddImportanceOptions, addImportance } from './continual/online-ewc.js';
export { type ReplayBuffer, reservoirBuffer, ringBuffer } from './continual/replay-buffer.js';
export {
  type RehearsalRow,
  refineOutputs,
  type SynthesizeInstancesOptions,
  selectByClusters,
  synthesizeInstances,
} from './continual/self-synthesized-rehearsal.js';
export { type SftStageOptions, sftStage } from './continual/sft-stage.js';
export {
  type PathIntegralState,
  pathIntegral,
  type SynapticImportanceOptions,
  synapticImportance,
} from './continual/synaptic-intelligence.js';
export { type TrainStreamOptions, type TrainStreamResult, trainStream } from './continual/train-stream.js';
export { type FudgeLossOptions, fudgeLoss } from './controlled/fudge-loss.js';
export {
  type CompetenceCurriculum,
  type CompetenceCurriculumOptions,
  competenceCurriculum,
} from './curriculum/competence-curriculum.js';
export { type FisherOptions, fisher } from './curvature/fisher.js';
export { hessian } from './curvature/hessian.js';
export { type DistillResult, distill } from './distillation/distill.js';
export { DISTILL_TRL_NAMES, type DistillOptions, distillOptions } from './distillation/distill-options.js';
export { type DistillPrompt, type DistillRow, DistillRowError, distillPrompt } from './distillation/distill-rows.js';
export { type AnnotateTopKOptions, annotateTopK, distillation } from './distillation/distillation.js';
export { type KnowledgeDistillationOptions, knowledgeDistillation } from './distillation/knowledge-distillation.js';
export {
  distillStepByStep,
  type StepByStepOptions,
  type StepByStepResult,
  type StepByStepRow,
  stepByStepLoss,
  stepByStepOptions,
  stepByStepRows,
} from './distillation/step-by-step.js';
export { type StoreTeacherTopKOptions, storeTeacherTopK } from './distillation/store-teacher-top-k.js';
export { TeacherFile, TeacherFileError, type TeacherFileHeader } from './distillation/teacher-file.js';
export { type Teaching, teachingOf } from './distillation/teaching.js';
export type { TopKAnnotations, TopKLayout } from './distillation/top-k-record.js';
export { refuseOtherVocabulary } from './distillation/vocabularies.js';
export { type EagleLoss, type EagleLossOptions, eagleLoss } from './eagle/eagle-loss.js';
export { type TrainEagleHeadOptions, trainEagleHead } from './eagle/train-eagle-head.js';
export { type RowGradientsOptions, rowGradients } from './features/row-gradients.js';
export { type SftScorerTrainerOptions, sftScorerTrainer } from './features/sft-scorer-trainer.js';
export {
  type ClientRound,
  type ClientUpdate,
  type FedAvgOptions,
  type FedAvgResult,
  type FederatedClient,
  type FederatedRound,
  FederatedRoundError,
  fedAvg,
} from './federated/fed-avg.js';
export { fedProx } from './federated/fed-prox.js';
export {
  type SecureAggregation,
  SecureAggregationError,
  type SecureAggregationOptions,
  type SecureParticipant,
  secureAggregation,
} from './federated/secure-aggregation.js';
export { type Annotation, type AnnotationSpec, annotationSpec } from './loss/annotation.js';
export type {
  ForwardPass,
  Loss,
  LossDescription,
  LossInputs,
  LossResult,
  Read,
  Readout,
  ReadoutValue,
} from './loss/loss.js';
export { checkedResult, LossResultError } from './loss/loss-result.js';
export type { RowBatch, RowInput, TrainingRow } from './loss/rows.js';
export { TrainingRowError } from './loss/rows.js';
export { nextOf, prefixSums, type ScanOptions, suffixSums } from './loss/scans.js';
export type { TokenLoss, TokenLossInputs } from './loss/token-loss.js';
export { negativeLogLikelihood, weightedSum } from './loss/token-loss.js';
export type { TrainableConfig, TrainableNetwork } from './loss/trainable-network.js';
export { type MedusaLoss, type MedusaLossOptions, medusaLoss } from './medusa/medusa-loss.js';
export { type TrainMedusaHeadsOptions, trainMedusaHeads } from './medusa/train-medusa-heads.js';
export { type CollisionEntropyOptions, collisionEntropy } from './readouts/collision-entropy.js';
export {
  type DivergenceOptions,
  divergence,
  type TeacherModel,
  type TopKTeacher,
} from './readouts/divergence.js';
export { type DrawnTokensOptions, drawnTokens } from './readouts/drawn-tokens.js';
export { embeddingGradient, withEmbeddings } from './readouts/embeddings.js';
export { hiddenStates, sequenceLogits, tokenLogits, tokenValues } from './readouts/heads.js';
export { type LogProbsOfOptions, logProbsOf } from './readouts/log-probs-of.js';
export { type MeanLogProbOptions, meanLogProb } from './readouts/mean-log-prob.js';
export { ofTeacher } from './readouts/of-teacher.js';
export { type Predictions, type PredictionsOptions, predictions } from './readouts/predictions.js';
export { type QValues, type QValuesOptions, qValues } from './readouts/q-values.js';
export { sequenceLogProb } from './readouts/sequence-log-prob.js';
export { type SquaredLogitsOptions, squaredLogits } from './readouts/squared-logits.js';
export { reduceOverVocabulary, sumOverVocabulary, type VocabularyLogits } from './readouts/vocabulary.js';
export {
  type BradleyTerryOptions,
  bradleyTerry,
  type RewardPair,
  type RewardPairRow,
  rewardRows,
} from './reward-model/bradley-terry.js';
export { type DecisionOptions, type DecisionRow, decision } from './reward-model/decision.js';
export { estimatePropensities, type SwapIntervention } from './reward-model/estimate-propensities.js';
export {
  type ImplicitFeedbackOptions,
  type ImplicitFeedbackRow,
  implicitFeedback,
} from './reward-model/implicit-feedback.js';
export { ODIN_LABELS, type OdinOptions, odin, odinQuality } from './reward-model/odin.js';
export { type OutcomeRow, outcomeReward } from './reward-model/outcome-reward.js';
export { plackettLuce, plackettLuceTerms, type RewardRankingRow } from './reward-model/plackett-luce.js';
export { type RewardModelLossName, rewardModelLosses } from './reward-model/presets.js';
export { type ProcessRewardOptions, type ProcessRow, processReward } from './reward-model/process-reward.js';
export { type Ranking, rankingScores } from './reward-model/ranking.js';
export { examplesOf, type RewardFeed, type RewardFeedSettings, rewardFeedOf } from './reward-model/reward-feed.js';
export {
  type ReadRows,
  type RewardExample,
  type RewardExampleOptions,
  type RewardModel,
  type RewardModelLoss,
  RewardRowError,
  rewardExampleRows,
} from './reward-model/reward-model-loss.js';
export {
  REWARD_MODEL_TRL_NAMES,
  type RewardModelOptions,
  rewardModelOptions,
} from './reward-model/reward-model-options.js';
export { type StepValueOptions, type StepValueRow, stepValue } from './reward-model/step-value.js';
export { type RewardModelResult, trainRewardModel } from './reward-model/train-reward-model.js';
export type { BestEvaluation } from './run/best.js';
export type { CheckpointToSave, LoadCheckpointOptions, RunState, TrainerSnapshot } from './run/checkpoint.js';
export {
  CheckpointError,
  latestCheckpoint,
  loadCheckpoint,
  refuseUsedFolder,
  saveCheckpoint,
} from './run/checkpoint.js';
export {
  collectRows,
  isRows,
  ROWS,
  type Rows,
  rowsHint,
  type UncheckedRow,
  type UncheckedRows,
} from './run/collect-rows.js';
export { EvaluationError, type EvaluationOnRows, lossOnRows } from './run/evaluation.js';
export type {
  AfterStep,
  BeforeStep,
  Evaluate,
  EvaluationContext,
  FinishedStepContext,
  RunContext,
  StepContext,
} from './run/hooks.js';
export { adapterIdentity, contentHash, modelIdentity, rowsIdentity, tensorsHash } from './run/identity.js';
export { progressLine, progressLines } from './run/progress-lines.js';
export { RowOrder } from './run/row-order.js';
export { isRowSource, type RowRequest, type RowSource, rowsOfSource, type SourcedRow } from './run/row-source.js';
export { lockFolder, RUN_LOCK, type RunLock, RunLockedError } from './run/run-lock.js';
export type { RunOptions } from './run/run-options.js';
export { type HookShape, hookShape, runShape, warn } from './run/run-options.js';
export type { RunResult, StepsToRun, Stopped } from './run/run-steps.js';
export { runSteps } from './run/run-steps.js';
export { saveTrained } from './run/save-trained.js';
export type { StepRecord } from './run/step-log.js';
export { StepLog } from './run/step-log.js';
export { cloneState, copyState, joinState, type SplitState, splitState } from './run/stored-state.js';
export { timed } from './run/timed.js';
export {
  createTrainer,
  planRates,
  type TrainingOptions,
  type TrainingSettings,
  trainingIdentity,
  trainingShape,
} from './run/training-options.js';
export { TRL_NAMES, TRL_REMARKS, trlNames } from './run/trl-names.js';
export { type UpdateResult, update, updateBy } from './run/update.js';
export { countLabels, withContextLabels } from './sft/context-labels.js';
export { dynamicFineTuning } from './sft/dft.js';
export { type LabelSmoothingOptions, labelSmoothing } from './sft/label-smoothing.js';
export type { PackedRow, PackingStrategy } from './sft/packing.js';
export { bestFitDecreasing, packRows } from './sft/packing.js';
export type { SftResult } from './sft/sft.js';
export { sft, toTrainingRows } from './sft/sft.js';
export { type RowsReport, type SftFeed, sftFeedOf } from './sft/sft-feed.js';
export type { SftOptions } from './sft/sft-options.js';
export { sftOptions } from './sft/sft-options.js';
export type { SftRow, TokenizedRow, TokenizedRows, TokenizeOptions } from './sft/tokenize-rows.js';
export { SftRowError, tokenizeRows } from './sft/tokenize-rows.js';
export {
  type AdapterJob,
  type TrainAdaptersOptions,
  type TrainAdaptersResult,
  type TrainableStack,
  trainAdapters,
} from './sft/train-adapters.js';
export type { Metrics, StepMetrics } from './tracking/metrics.js';
export { type TensorBoardOptions, tensorBoard } from './tracking/tensorboard.js';
export type { Tracker } from './tracking/tracker.js';
export { type CoupledLoss, evaluateCoupled, forwardBackwardCoupled } from './trainer/coupled-loss.js';
export type { Curvature } from './trainer/curvature.js';
export { type AnyLoss, liftTokenLoss } from './trainer/lift-token-loss.js';
export { NonFiniteError } from './trainer/non-finite-error.js';
export type { OffloadOptimizerOptions } from './trainer/offload-options.js';
export type { ForwardBackwardResult } from './trainer/pass-sum.js';
export { type Penalty, penaltyNames } from './trainer/penalty.js';
export type { GradientReduction } from './trainer/row-gradients.js';
export type { ValuesOfRows } from './trainer/row-values.js';
export type { TensorSnapshot } from './trainer/snapshot.js';
export type {
  AssignOptions,
  EvaluateOptions,
  GradientsResult,
  OptimStepOptions,
  OptimStepResult,
  ReadOptions,
  ReducedGradients,
  ReduceOptions,
  StepInputs,
  TrialInputs,
} from './trainer/step-options.js';
export type { ContextLabels, TrainableAdapter } from './trainer/trainable-adapter.js';
export type { TrainableModel } from './trainer/trainable-model.js';
export type { ParameterState } from './trainer/trained-tensors.js';
export { Trainer } from './trainer/trainer.js';
export { type TrainerOptions, trainerShape } from './trainer/trainer-options.js';
export { type DpSgdOptions, dpSgd } from './update/dp-sgd.js';
export { type GemOptions, gem } from './update/gem.js';
export {
  type NoiseMultiplierOptions,
  noiseMultiplierFor,
  type PrivacyOptions,
  type PrivacySpent,
  privacySpent,
} from './update/privacy-accountant.js';
export {
  type PrivacyBudget,
  type PrivacyBudgetOptions,
  type PrivateRun,
  privacyBudget,
} from './update/privacy-budget.js';
export { type SamOptions, sam } from './update/sam.js';
export { type SophiaOptions, sophia } from './update/sophia.js';
export {
  isUpdateRule,
  type RuleResult,
  UPDATE_RULE,
  type UpdateInputs,
  type UpdateRule,
  UpdateRuleError,
  updateByRule,
} from './update/update-rule.js';
