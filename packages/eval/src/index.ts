export { type AnswerOptions, answersEqual, extractFinalAnswer, normalizeAnswer } from '@posttrain/interfaces/answers';
export { EstimatorError } from '@posttrain/interfaces/estimators';
export {
  applyFilters,
  type ExactMatchOptions,
  exactMatch,
  type Filter,
  type FormatTagsOptions,
  type FunctionVerifierOptions,
  formatTags,
  functionVerifier,
  type NumericMatchOptions,
  numericMatch,
  VerifierFailedError,
  VerifierInputError,
  type VerifierResult,
  VerifierTimeoutError,
} from '@posttrain/interfaces/verifiers';
export { type Tool, type ToolAgentOptions, toolAgent } from './agents/tool-agent.js';
export { type ToolCallF1Options, type ToolCallScore, toolCallF1 } from './agents/tool-call-f1.js';
export {
  ARGUMENT_MODES,
  type ArgumentMode,
  type ArgumentRule,
  type ToolCall,
  toolCallsOf,
} from './agents/tool-calls.js';
export { type TrajectoryMatchOptions, trajectoryMatch } from './agents/trajectory-match.js';
export type { Benchmark, BenchmarkRow } from './benchmarks/benchmark.js';
export { arenaBattles, type BenchmarkName, benchmarks, benchmarkTask, codeBenchmark } from './benchmarks/benchmarks.js';
export {
  type DialogueScores,
  type DialogueState,
  type DialogueTurn,
  dialogueScores,
  type MultiWozDialogue,
  multiWozTurns,
} from './benchmarks/dialogue-states.js';
export {
  type HannaCorrelation,
  type HannaCorrelationOptions,
  type HannaCriterion,
  type HannaRow,
  type HannaStory,
  hannaCorrelations,
  hannaCriteria,
  hannaStories,
} from './benchmarks/hanna.js';
export {
  type HleFiles,
  type HleJudgement,
  type HleScores,
  hleJudged,
  hleJudgement,
  hleScores,
} from './benchmarks/hle.js';
export { type Lr2Task, lr2Answer, lr2Cells } from './benchmarks/lr2bench.js';
export {
  type MtBenchAnswer,
  type MtBenchFiles,
  type MtBenchJudgement,
  type MtBenchPair,
  type MtBenchPrompt,
  type MtBenchQuestion,
  type MtBenchScores,
  type MtBenchWinRate,
  mtBenchAnswers,
  mtBenchRating,
  mtBenchScores,
  mtBenchSingle,
  mtBenchVerdict,
  mtBenchWinRates,
} from './benchmarks/mt-bench.js';
export {
  type MtBenchModel,
  type MtBenchPairFiles,
  type MtBenchPairJudgement,
  mtBenchPairs,
} from './benchmarks/mt-bench-pairs.js';
export { type RewardBenchSection, rewardBenchScore, rewardBenchSections } from './benchmarks/preferences.js';
export {
  type BeirDataset,
  type BeirText,
  beirDataset,
  type Qrels,
  type RankingScores,
  type RankingScoresOptions,
  type Run,
  rankingScores,
  readQrels,
  readRun,
} from './benchmarks/rankings.js';
export {
  type ToolCompFiles,
  type ToolCompGrade,
  type ToolCompScores,
  toolCompAnswer,
  toolCompGrade,
  toolCompGrades,
  toolCompJudged,
  toolCompScores,
} from './benchmarks/toolcomp.js';
export { type CommandContext, evalCommand } from './command/eval-command.js';
export { type CompareOptions, type Comparison, compare } from './compare.js';
export {
  type ArmAccuracy,
  type ArmedQuestion,
  type ArmOutcome,
  type ComputeOptimalOptions,
  type ComputeOptimalPoint,
  type ComputeOptimalResult,
  type CostName,
  type Costs,
  computeOptimal,
  computeOptimalCurve,
  type HeldOutChoice,
} from './compute-optimal/compute-optimal.js';
export { difficultyBin, difficultyEdges } from './compute-optimal/difficulty.js';
export {
  type FlopsMatchedOptions,
  type FlopsMatchedPoint,
  flopsMatched,
  inferenceFlops,
  matchedInference,
  pretrainingFlops,
  type SearchPoint,
} from './compute-optimal/flops-matched.js';
export { type TradeOffRow, tradeOffPlots, tradeOffs } from './compute-optimal/trade-offs.js';
export { type AcrossDomains, acrossDomains } from './diagnostics/across-domains.js';
export {
  type AttackedRow,
  type AttackSuccess,
  type AttackSuccessOptions,
  attackSuccess,
} from './diagnostics/attack-success.js';
export { type GcgChoice, type GcgOptions, type GcgResult, gcg, gcgCandidates } from './diagnostics/attacks/gcg.js';
export { type InjectionName, injections } from './diagnostics/attacks/injections.js';
export { type PerturbationName, perturbations } from './diagnostics/attacks/perturbations.js';
export {
  type BbqAnswer,
  type BbqScore,
  bbqScore,
  type CrowsPair,
  type CrowsScore,
  crowsPairsScore,
  type StereoSetItem,
  type StereoSetScore,
  stereoSetScore,
} from './diagnostics/bias-scores.js';
export { type CleanGap, cleanGap, perturbedTwins, type TwinGap } from './diagnostics/contamination-report.js';
export { type CounterfactualGap, counterfactualGap } from './diagnostics/counterfactual-gap.js';
export { type Efficiency, efficiency, type Truncation } from './diagnostics/efficiency.js';
export {
  type ForgettingBattery,
  type ForgettingBatteryOptions,
  forgettingBattery,
  forgettingMatrix,
} from './diagnostics/forgetting-battery.js';
export { type MinKOptions, minKProb, tokenMoments } from './diagnostics/min-k.js';
export {
  type NgramContamination,
  type NgramContaminationOptions,
  ngramContamination,
} from './diagnostics/ngram-contamination.js';
export {
  type FaithfulnessPoint,
  type ReasonedProblem,
  type ReasoningFaithfulness,
  type ReasoningFaithfulnessOptions,
  reasoningFaithfulness,
} from './diagnostics/reasoning-faithfulness.js';
export { type Saturation, saturation } from './diagnostics/saturation.js';
export { EvaluationError } from './errors.js';
export { type EvaluateOptions, evaluate, taskKinds } from './evaluate.js';
export {
  canonicalAnswer,
  finalAnswer,
  lowercase,
  type RegexOptions,
  regex,
  removePunctuation,
  removeWhitespace,
  replace,
  strip,
} from './filters/filter.js';
export { formatMeasured, formatNumber, formatSeconds, type Measured, type NumberFormat } from './format.js';
export { readInspectLog } from './formats/read-inspect-log.js';
export { readLmEvalFiles } from './formats/read-lm-eval-files.js';
export { readRuns } from './formats/read-runs.js';
export { writeInspectLog } from './formats/write-inspect-log.js';
export { writeLmEvalFiles } from './formats/write-lm-eval-files.js';
export {
  type BabiInTextOptions,
  type BabiRow,
  type BabiStory,
  type BabiTaskName,
  babiInText,
  babiTasks,
} from './generated/babi.js';
export type { CountTokens } from './generated/fit.js';
export {
  bfsLayer,
  type GraphRow,
  type GraphWalksOptions,
  graphWalks,
  nodeF1,
  parentsOf,
} from './generated/graph-walks.js';
export { type JsonSchemaRow, type JsonSchemasOptions, jsonSchemas } from './generated/json-schemas.js';
export { type NeedleInHaystackOptions, type NeedleRow, needleInHaystack } from './generated/needle-in-haystack.js';
export type { RulerQuestion } from './generated/ruler/questions.js';
export { type RulerOptions, type RulerRow, type RulerTaskName, ruler, rulerTasks } from './generated/ruler/ruler.js';
export {
  SHOP_POLICY,
  type ShopRow,
  type ShopState,
  type ShopTaskOptions,
  shopTask,
  shopTools,
} from './generated/shop.js';
export { type StringMatchOptions, stringMatch } from './generated/string-match.js';
export {
  checkFunctionCalls,
  type FunctionCallCategory,
  type FunctionCallRow,
  type FunctionDescription,
  functionCalls,
  type PossibleAnswer,
  parseFunctionCalls,
} from './instructions/function-calls.js';
export { type IfbenchInstruction, ifbenchChecks } from './instructions/ifbench-checks.js';
export {
  everyStep,
  type IfevalOptions,
  type IfevalRow,
  ifbench,
  ifeval,
  instructionsFollowed,
  looseVersions,
  shareOfSteps,
} from './instructions/ifeval.js';
export {
  type IfevalInstruction,
  type InstructionArguments,
  type InstructionCheck,
  type InstructionTools,
  ifevalChecks,
} from './instructions/ifeval-checks.js';
export { type AiFeedbackOptions, aiFeedback } from './judges/ai-feedback.js';
export {
  type CascadeStage,
  cascade,
  confident,
  type PairStage,
  pairCascade,
  type VerifierStage,
} from './judges/cascade.js';
export { type JudgeDrift, judgeDrift } from './judges/judge-drift.js';
export {
  type JudgeReliability,
  type JudgeReliabilityOptions,
  judgeReliability,
  type PairGold,
} from './judges/judge-reliability.js';
export { type PairJudgeOptions, pairJudge, pairPrompt } from './judges/pair-judge.js';
export { pairJury } from './judges/pair-jury.js';
export { type JudgedSide, type SelfPreference, selfPreference } from './judges/self-preference.js';
export {
  type Agent,
  type AgentProblem,
  type AgentRequest,
  type AgentRun,
  type AgentTask,
  agent,
  agentKind,
} from './kinds/agent.js';
export { type ArenaProblem, type ArenaTask, arena, arenaKind, type LoggedBattle } from './kinds/arena.js';
export type { LoggedSide } from './kinds/judged-pairs.js';
export {
  type PairwiseProblem,
  type PairwiseTask,
  pairwise,
  pairwiseKind,
} from './kinds/pairwise.js';
export {
  type PreferenceProblem,
  type PreferenceTask,
  pairAccuracy,
  preferenceKind,
  preferencePairs,
} from './kinds/preference-pairs.js';
export { type RollingProblem, type RollingTask, rollingKind, rollingPerplexity } from './kinds/rolling.js';
export {
  type LmEvalAggregate,
  LmEvalFunction,
  type LmEvalGroupConfig,
  type LmEvalTaskConfig,
  readLmEvalConfig,
} from './lm-eval/config.js';
export {
  type LmEvalGroup,
  type LmEvalGroupMetric,
  lmEvalGroupMetrics,
  type ResolvedLmEvalTasks,
  resolveLmEvalTasks,
} from './lm-eval/group.js';
export {
  type LmEvalProblem,
  type LmEvalTask,
  type LmEvalTaskOptions,
  lmEvalKind,
  lmEvalTask,
} from './lm-eval/lm-eval-task.js';
export type {
  ChoiceProblem,
  EvalConfig,
  EvalResult,
  GenerateProblem,
  LoggedChoice,
  LoggedCompletion,
  LogHeader,
  LogLine,
  MetricResult,
  ProblemBase,
  ProblemRecord,
  ResultLine,
} from './log/format.js';
export { LOG_FORMAT, LOG_VERSION } from './log/format.js';
export { readLog } from './log/read-log.js';
export { type AgentMetric, agentCost, stateSuccess, toolCalls, trajectory } from './metrics/agent.js';
export { type ArenaMetric, battlesOf, bradleyTerryRating, eloRating } from './metrics/arena.js';
export { battlesOfPairs } from './metrics/battles-of-pairs.js';
export { type BestAtKOptions, bestAtK } from './metrics/best-at-k.js';
export { d4rlScore, jointGoal, matthewsCorrelation } from './metrics/classification.js';
export { choiceMetrics, metricOf, sampleMetrics } from './metrics/compute-metrics.js';
export {
  abilityDelta,
  type ContinualMetrics,
  type ContinualMetricsOptions,
  continualMetrics,
} from './metrics/continual.js';
export { type ClaimedText, type FactScore, factScore } from './metrics/factuality.js';
export { gPassAtK, meanGPassAtK } from './metrics/g-pass-at-k.js';
export { majorityAtK } from './metrics/majority-at-k.js';
export { meanScore } from './metrics/mean.js';
export { accuracy, accuracyPerByte, accuracyPerCharacter } from './metrics/multiple-choice.js';
export {
  firstPositionBias,
  type PairwiseMetric,
  positionConsistency,
  secondPositionBias,
  tieRate,
  winRate,
} from './metrics/pairwise.js';
export { estimatePassAtK, passAtK } from './metrics/pass-at-k.js';
export { passHatK } from './metrics/pass-hat-k.js';
export {
  criticStep,
  type FirstError,
  firstWrongStep,
  type ProcessBenchResult,
  type ProcessBenchRow,
  prmScore,
  processBench,
  processBenchF1,
} from './metrics/process-reward.js';
export { ndcg, type Relevance, recallAtK, reciprocalRank } from './metrics/retrieval.js';
export { bitsPerByte, bytePerplexity, type RollingMetric, wordPerplexity } from './metrics/rolling.js';
export { type BertScore, type BertScoreOptions, bertScore } from './metrics/text/bert-score.js';
export { type Bleu, type BleuOptions, bleu } from './metrics/text/bleu.js';
export { type Chrf, type ChrfOptions, chrf } from './metrics/text/chrf.js';
export { type Cider, type CiderOptions, cider } from './metrics/text/cider.js';
export { type MeteorOptions, meteor } from './metrics/text/meteor.js';
export { porterStem } from './metrics/text/porter-stemmer.js';
export { type Rouge, type RougeOptions, rouge } from './metrics/text/rouge.js';
export { type Ter, type TerOptions, ter } from './metrics/text/ter.js';
export { type TextGraderOptions, textGrader } from './metrics/text/text-grader.js';
export { truthfulMc1, truthfulMc2 } from './metrics/truthful-qa.js';
export { type WeightedBestAtKOptions, weightedBestAtK } from './metrics/weighted-best-at-k.js';
export { canaryExposure } from './privacy/canary-exposure.js';
export {
  type ExtractedText,
  type ExtractionAttackOptions,
  type ExtractionMetric,
  extractionAttack,
  extractionScores,
  type LogPerplexities,
} from './privacy/extraction.js';
export { extrapolatedExposure } from './privacy/extrapolated-exposure.js';
export {
  type LiraAttackOptions,
  type LiraConfidences,
  type LiraResult,
  liraAttack,
  liraScores,
} from './privacy/lira.js';
export { type LossAttackOptions, lossAttack } from './privacy/loss-attack.js';
export { type Memorization, type MemorizationOptions, memorization, subsetInfluence } from './privacy/memorization.js';
export {
  type CompletionExamplesOptions,
  completionExamples,
  type EvaluationBlocksOptions,
  evaluationBlocks,
  samplesCurvePlots,
  scalingCurvePlots,
  type TrainingCurvesOptions,
  type TrainingLogLine,
  trainingCurves,
} from './report/builders.js';
export type { BarPlot, LinePlot, Plot, PlotPoint, PlotSeries, ScatterPlot } from './report/plots.js';
export type {
  ExamplesBlock,
  FiguresBlock,
  Report,
  ReportBlock,
  ReportSection,
  TableBlock,
  TextBlock,
} from './report/section.js';
export { type ViewerOptions, writeViewer } from './report/viewer/write-viewer.js';
export { type RenderReportOptions, renderReport, writeReport } from './report/write-report.js';
export { type Prices, type RunLedger, type RunLedgerOptions, runLedger, type Spent } from './run-ledger.js';
export { type SamplesCurvePoint, samplesCurve } from './samples-curve.js';
export { type ScalingCurveOptions, type ScalingRow, type ScalingStrategy, scalingCurve } from './scaling-curve.js';
export {
  fitScalingLaw,
  type ScalingLaw,
  type ScalingLawConstants,
  type ScalingLawOptions,
  type ScalingRun,
} from './scaling-laws/chinchilla.js';
export {
  approximateInferenceFlops,
  approximateTrainingFlops,
  type DecoderShape,
  decoderForwardFlops,
  decoderParameters,
} from './scaling-laws/decoder-flops.js';
export {
  fitOverOptimization,
  type OverOptimizationLaw,
  type OverOptimizationOptions,
  type OverOptimizationPoint,
} from './scaling-laws/over-optimization.js';
export {
  type OverOptimizationRow,
  overOptimizationCurve,
  type ProxiedSamples,
} from './scaling-laws/over-optimization-curve.js';
export { type Agreement, type CohenKappaOptions, cohenKappa } from './statistics/agreement/cohen-kappa.js';
export { fleissKappa } from './statistics/agreement/fleiss-kappa.js';
export {
  type KrippendorffAlpha,
  type KrippendorffOptions,
  krippendorffAlpha,
} from './statistics/agreement/krippendorff-alpha.js';
export { type AurocEstimate, auroc, truePositiveRate } from './statistics/auroc.js';
export type { Battle, Rating } from './statistics/battle.js';
export { type BradleyTerryOptions, bradleyTerry } from './statistics/bradley-terry.js';
export { type ConfidenceSequenceOptions, confidenceSequence } from './statistics/confidence-sequence.js';
export { type EloOptions, elo } from './statistics/elo.js';
export {
  atLook,
  type GroupSequentialOptions,
  groupSequential,
  type Look,
  type LookVerdict,
} from './statistics/group-sequential.js';
export {
  type LengthComparison,
  type LengthControlledOptions,
  type LengthControlledWinRate,
  lengthControlledWinRate,
} from './statistics/length-controlled-win-rate.js';
export { type McNemarResult, mcnemar } from './statistics/mcnemar.js';
export { benjaminiHochberg, holm } from './statistics/multiple-comparisons.js';
export { type PairedBootstrapOptions, type PairedDifference, pairedBootstrap } from './statistics/paired-bootstrap.js';
export {
  type DetectableDifferenceOptions,
  detectableDifference,
  type PowerOptions,
  type PowerPlan,
  type ProblemsNeededOptions,
  pilot,
  powerOf,
  problemsNeeded,
} from './statistics/power.js';
export { clopperPearsonInterval, wilsonInterval } from './statistics/proportion-intervals.js';
export {
  type QuantileCalibration,
  type QuantileCalibrationOptions,
  quantileCalibration,
  shareBelow,
} from './statistics/quantile-calibration.js';
export { type Effect, type RandomEffects, randomEffects } from './statistics/random-effects.js';
export { type RankCorrelation, type RankCorrelationOptions, rankCorrelation } from './statistics/rank-correlation.js';
export { acrossSeeds, type SeededEstimate } from './statistics/seeds.js';
export { type SignFlipOptions, type SignFlipResult, signFlipTest } from './statistics/sign-flip.js';
export {
  type MeanEstimate,
  meanDifference,
  meanWithStandardError,
  ratioWithStandardError,
} from './statistics/standard-error.js';
export { type WelchDifference, welchDifference } from './statistics/welch-difference.js';
export {
  type JsonFieldsOptions,
  type JsonValidityOptions,
  jsonFields,
  jsonValidity,
  type SchemaComplianceOptions,
  schemaCompliance,
} from './structured/json-schema-grader.js';
export {
  type SchemaCoverage,
  type SchemaOutcome,
  type SchemaShare,
  schemaCoverage,
} from './structured/schema-coverage.js';
export { metricsTable, type TableCell, type TableColumn, type TableRow } from './table.js';
export type {
  ChoiceMetric,
  GenerateTask,
  Grade,
  GradedProblem,
  GradedSample,
  Grader,
  Metric,
  MultipleChoiceTask,
  Row,
  SampledProblem,
  SampledSample,
  SampleMetric,
  Task,
  TaskBase,
} from './task.js';
export {
  type AskContext,
  assertLength,
  hashRequest,
  type KindTask,
  type Problem,
  problemSeed,
  recordOf,
  requireList,
  requireMethod,
  type TaskKind,
  untilAborted,
} from './task-kind.js';
export { type CreateProgressOptions, createProgress, type Progress, type ProgressStream } from './terminal/progress.js';
export { type RenderTableOptions, renderTable } from './terminal/table.js';
export {
  type BrierScore,
  brierOfClasses,
  brierScore,
  type Calibration,
  type CalibrationBin,
  type CalibrationOptions,
  calibration,
  logScore,
} from './uncertainty/calibration.js';
export { crps, crpsOfNormal, quantileLoss, rankedProbabilityScore } from './uncertainty/forecast-scores.js';
export { type SelectiveRisk, selectiveRisk } from './uncertainty/selective-risk.js';
export {
  type SampledAnswer,
  type SemanticEntropy,
  type SemanticEntropyOptions,
  semanticEntropy,
} from './uncertainty/semantic-entropy.js';
export {
  type AskedModels,
  type UncertaintyCost,
  type UncertaintyEstimator,
  type UncertaintyLatency,
  type UncertaintyLatencyOptions,
  uncertaintyLatency,
} from './uncertainty/uncertainty-latency.js';
