export { createRandom, philox4x32, type Random } from '@posttrain/interfaces/random';
export {
  type ActiveLearningOptions,
  type ActiveRound,
  activeLearning,
  agreement,
  type StoppingRule,
  stoppingRules,
} from './active/active-learning.js';
export {
  type Annotated,
  type AnnotateOptions,
  type Annotation,
  type AnnotationLedger,
  annotate,
} from './active/annotate.js';
export { type CoreSetSelectOptions, coreSetSelect, kCenterGreedy } from './active/core-set.js';
export { type CandidateRow, type GenerateCandidatesOptions, generateCandidates } from './active/generate-candidates.js';
export { type LlmRankSelectOptions, llmRankSelect } from './active/llm-rank-select.js';
export { type UncertaintyMeasure, uncertaintyMeasures } from './active/uncertainty.js';
export { type UncertaintySelectOptions, uncertaintySelect } from './active/uncertainty-select.js';
export { type DataVersion, dataVersion, fileVersion } from './data-version.js';
export { BloomFilter } from './dedup/bloom-filter.js';
export { hashShingles, type MinHasher, minHasher, type ShingleHashes } from './dedup/minhash.js';
export { simplifyText, wordShingles } from './dedup/shingles.js';
export {
  DataFileError,
  DataOptionError,
  DataStepError,
  type FileLocation,
  RowError,
  TaskExhaustedError,
} from './errors.js';
export { type BadWordsOptions, badWords } from './filters/bad-words.js';
export { type C4ParagraphsOptions, c4Paragraphs } from './filters/c4-paragraphs.js';
export { type C4QualityOptions, c4Quality } from './filters/c4-quality.js';
export { type FinewebQualityOptions, finewebQuality } from './filters/fineweb-quality.js';
export { type GopherQualityOptions, gopherQuality } from './filters/gopher-quality.js';
export { type GopherRepetitionOptions, gopherRepetition } from './filters/gopher-repetition.js';
export {
  type DetectedLanguage,
  type LanguageFilterOptions,
  languageFilter,
  type WithLanguage,
} from './filters/language-filter.js';
export { type ReadabilityFilterOptions, readabilityFilter } from './filters/readability-filter.js';
export { type RepairTextOptions, repairText } from './filters/repair-text.js';
export { type PiiKind, type ScrubPiiOptions, scrubPii } from './filters/scrub-pii.js';
export { type UrlFilterOptions, urlFilter } from './filters/url-filter.js';
export { formatReport } from './format-report.js';
export { fromAlpaca, fromAlpacaToChat } from './formats/alpaca.js';
export { type DetectedFormat, detectFormat } from './formats/detect-format.js';
export { fromOpenAi } from './formats/openai.js';
export {
  fromRanking,
  fromUltraFeedback,
  type RatedPair,
  type RatedPairsOptions,
  type RatedRow,
  ratedPairs,
  validateRatings,
} from './formats/ratings.js';
export type {
  ImplicitPreferenceRow,
  LanguageModelingRow,
  PreferenceRow,
  PromptCompletionRow,
  PromptOnlyRow,
  RowFormat,
  RowFormats,
  RowMessage,
  StepwiseSupervisionRow,
  UnpairedPreferenceRow,
} from './formats/row-formats.js';
export { detectLayout, type RowLayout, toTrl } from './formats/row-layout.js';
export { fromShareGpt } from './formats/sharegpt.js';
export { fromSwift, toSwift } from './formats/swift.js';
export { toAlpaca, toShareGpt } from './formats/to-llama-factory.js';
export {
  extractPrompt,
  isConversational,
  isConversationalFromValue,
  maybeConvertToChatml,
  maybeExtractPrompt,
  maybeUnpairPreferenceDataset,
  unpairPreferenceDataset,
} from './formats/trl-data-utils.js';
export { validate, validateRow } from './formats/validate-row.js';
export { readArrow } from './io/arrow/read-arrow.js';
export { type WriteArrowOptions, writeArrow } from './io/arrow/write-arrow.js';
export { type WriteSummary, writeFileAtomically } from './io/atomic-file.js';
export { type ReadCsvOptions, readCsv, type WriteCsvOptions, writeCsv } from './io/csv.js';
export { type DataFilesOptions, dataFiles, readDataset } from './io/data-files.js';
export type { WrittenSplit } from './io/dataset-card.js';
export { type HtmlToTextOptions, htmlToText, type PageText } from './io/documents/html-to-text.js';
export { type PdfText, pdfToText } from './io/documents/pdf-to-text.js';
export { type ReadSqlOptions, readSql, writeSql } from './io/duckdb.js';
export { readRows, writeRows } from './io/files.js';
export { readJson } from './io/json.js';
export { type ReadJsonlOptions, readJsonl, writeJsonl } from './io/jsonl.js';
export { type ReadParquetOptions, readParquet } from './io/parquet/read-parquet.js';
export { type WriteParquetOptions, writeParquet } from './io/parquet/write-parquet.js';
export { inferParquetSchema, type ParquetColumnType, type ParquetSchema } from './io/parquet/write-schema.js';
export { type ReadTextOptions, readTextFile, writeTextFile } from './io/text-file.js';
export { type ReadWebDatasetOptions, readWebDataset, writeWebDataset } from './io/webdataset.js';
export { type WriteDatasetOptions, writeDataset } from './io/write-dataset.js';
export { type LaunchedShard, launcherShard } from './launch/launcher-shard.js';
export { addReports, completedParts, mergeParts, type PartMarker, readParts, writePart } from './launch/part-files.js';
export { type GenerationMode, type GenerationsOptions, generations } from './loops/generations.js';
export {
  type ScoredSample,
  type SelfTrainingMethod,
  type SelfTrainingOptions,
  type SelfTrainingRound,
  type SelfTrainingRow,
  selfTraining,
  selfTrainingMethods,
} from './loops/self-training.js';
export { type WeakBoostingOptions, type WeakBoostingRound, weakBoosting } from './loops/weak-boosting.js';
export { type BlendOptions, type BlendSource, blend, blendProbabilities } from './mixture/blend.js';
export { type BlendedList, type BlendedSource, type BlendedState, blendedSource } from './mixture/blended-source.js';
export { type DoReMiOptions, type DoReMiStep, doReMi, doReMiUpdate } from './mixture/doremi.js';
export { fitMixtureLoss, type MixtureRun, randomMixtures, regMix } from './mixture/regmix.js';
export { type Pipeline, type PipelineOptions, pipeline } from './pipeline.js';
export type { Row, RowSource } from './rows.js';
export { flashOrder, reversePrefix, reverseStarts } from './selection/curricula.js';
export {
  advantageGate,
  type DifficultyPool,
  DifficultyPools,
  type DifficultyState,
} from './selection/difficulty-pools.js';
export { bucketShares, HashedNgrams } from './selection/hashed-ngrams.js';
export { influence, meanDirection, type TargetDirection } from './selection/influence.js';
export { kMeansPlusPlus } from './selection/k-means-plus-plus.js';
export {
  type ConfidentJoint,
  calibratedJoint,
  confidentJoint,
  confidentThresholds,
  type FindLabelErrorsOptions,
  findLabelErrors,
} from './selection/label-errors.js';
export { fitScoreHead, type ScoredText, type ScoreHead, scoreOf } from './selection/score-head.js';
export type { SelectionPlan, SelectionStep } from './selection/selection-step.js';
export { SortedRecords, type SortedRecordsOptions } from './spill/sorted-records.js';
export { canonicalJson, hashFraction } from './stable-hash.js';
export { type RunShardsOptions, runShards, type ShardTask } from './stages/run-shards.js';
export type { Source } from './stages/source-reader.js';
export type {
  AnyStep,
  DataStep,
  DroppedRow,
  Keyed,
  LineageEntry,
  RowKey,
  Shard,
  StepContext,
  StepReport,
} from './step.js';
export {
  type CurateAgentTracesOptions,
  curateAgentTraces,
  type TraceQuality,
  traceQuality,
} from './steps/agent-traces.js';
export { type AlpaGasusOptions, alpaGasus } from './steps/alpagasus.js';
export type { Prompts, Synthesis, SynthesisCost, Synthesised } from './steps/asking.js';
export { type BadgePlan, type BadgeSelectOptions, badgeSelect } from './steps/badge-select.js';
export { type BloomDeduplicateOptions, bloomDeduplicate } from './steps/bloom-deduplicate.js';
export {
  type ConstitutionalRevisionOptions,
  constitutionalRevision,
  type Principle,
  type RevisedRow,
  type Revision,
} from './steps/constitutional-revision.js';
export {
  type Contamination,
  contaminationOf,
  type DecontaminateOptions,
  decontaminate,
  type EvaluationText,
  evaluationNgrams,
} from './steps/decontaminate.js';
export {
  type DeitaSelectOptions,
  deitaSelect,
  type ExpectedRatingOptions,
  expectedRating,
} from './steps/deita-select.js';
export {
  type DensityRatioOptions,
  type DensityRatioPlan,
  densityRatio,
  type WithDensityRatio,
} from './steps/density-ratio.js';
export { type DsirOptions, dsir, logRatios } from './steps/dsir.js';
export { type ExactDeduplicateOptions, exactDeduplicate } from './steps/exact-deduplicate.js';
export {
  type ExactSubstringDeduplicateOptions,
  exactSubstringDeduplicate,
  type SubstringPlan,
} from './steps/exact-substring-deduplicate.js';
export { type FilterOptions, type FilterVerdict, filter } from './steps/filter.js';
export {
  type FormatStructuredCotOptions,
  formatStructuredCot,
  type StructuredRow,
} from './steps/format-structured-cot.js';
export {
  type GenerativeVerifierRowsOptions,
  generativeVerifierRows,
  type VerificationRow,
  type VerifiedRow,
} from './steps/generative-verifier-rows.js';
export { type IfdSelectOptions, ifdSelect, instructionFollowingDifficulty, superfilter } from './steps/ifd-select.js';
export {
  type LessCheckpoint,
  type LessPlan,
  type LessSelectOptions,
  type LessTargets,
  lessSelect,
} from './steps/less-select.js';
export { type LimoSelectOptions, limoSelect, reasoningTraits } from './steps/limo-select.js';
export {
  type Long2shortPair,
  type Long2shortPairsOptions,
  long2shortPairs,
  type ShortestRejectionSamplingOptions,
  type ShortestRow,
  shortestRejectionSampling,
} from './steps/long2short.js';
export { type MapOptions, map } from './steps/map.js';
export { type MathShepherdOptions, mathShepherd, type StepLabels } from './steps/math-shepherd.js';
export { type DuplicatePlan, type MinhashDeduplicateOptions, minhashDeduplicate } from './steps/minhash-deduplicate.js';
export { firstError, type OmegaPrmOptions, type OmegaPrmPath, omegaPrm } from './steps/omega-prm.js';
export { type PassRate, type PassRateFilterOptions, passRateFilter } from './steps/pass-rate-filter.js';
export { type PerplexityFilterOptions, type PerplexityPlan, perplexityFilter } from './steps/perplexity-filter.js';
export {
  type ProcessAdvantages,
  type ProcessAdvantagesOptions,
  processAdvantages,
} from './steps/process-advantages.js';
export { type RTuningOptions, type RTuningRow, rTuning } from './steps/r-tuning.js';
export { type RaftOptions, type RaftPlan, type RaftRow, raft } from './steps/raft.js';
export {
  type AcceptedRow,
  type AcceptedSample,
  type RejectionSamplingOptions,
  rejectionSampling,
  type SampleProvenance,
} from './steps/rejection-sampling.js';
export type { RepeatedParts } from './steps/repeated-parts.js';
export type { ProblemRow, SolutionRow } from './steps/rollouts.js';
export { type RrmAugmentOptions, type RrmPair, type RrmSource, rrmAugment } from './steps/rrm-augment.js';
export { type S1kSelectOptions, s1kSelect } from './steps/s1k-select.js';
export { type ScoreFilterOptions, scoreFilter, type WithScore } from './steps/score-filter.js';
export {
  type SemanticDecontaminateOptions,
  type SemanticMatch,
  semanticDecontaminate,
} from './steps/semantic-decontaminate.js';
export { type SemDeDupOptions, semDeDup } from './steps/semdedup.js';
export { type SentenceDeduplicateOptions, sentenceDeduplicate } from './steps/sentence-deduplicate.js';
export { type ShuffleOptions, shuffle } from './steps/shuffle.js';
export { type SplitName, type SplitRule, split, splitOf } from './steps/split.js';
export { take } from './steps/take.js';
export { type StreamedRows, type StreamRowsOptions, type StreamState, streamRows } from './streaming/stream-rows.js';
export {
  type AdversarialAugmentOptions,
  type AdversarialRow,
  adversarialAugment,
  type Perturbation,
  perturbations,
} from './synthesis/adversarial-augment.js';
export {
  type BacktranslatedRow,
  type InstructionBacktranslationOptions,
  instructionBacktranslation,
} from './synthesis/backtranslation.js';
export {
  type EvolInstructOptions,
  type EvolOperation,
  type EvolvedRow,
  evolInstruct,
  evolutionFailure,
} from './synthesis/evol-instruct.js';
export { type FailureAwareOptions, type FailureAwareRow, failureAwareAugment } from './synthesis/failure-aware.js';
export { type MagpieOptions, type MagpieRow, magpie } from './synthesis/magpie.js';
export { type MammothOptions, type MammothRow, mammoth, programOf } from './synthesis/mammoth.js';
export {
  type MetaMathKind,
  type MetaMathOptions,
  type MetaMathRow,
  maskedNumbers,
  metaMath,
} from './synthesis/meta-math.js';
export {
  type MultiAgentTrajectoriesOptions,
  multiAgentTrajectories,
  type TrajectoryRole,
  type TrajectoryRow,
} from './synthesis/multi-agent-trajectories.js';
export { NoveltyPool } from './synthesis/novelty.js';
export { type PersonaOptions, type PersonaRow, personas } from './synthesis/personas.js';
export {
  type InstructedRow,
  type SeedTask,
  type SelfInstructOptions,
  selfInstruct,
  unsuitableInstruction,
} from './synthesis/self-instruct.js';
export { type StarOptions, type StarRow, star } from './synthesis/star.js';
export {
  type Aspect,
  type RatedAnswer,
  type UltraFeedbackOptions,
  type UltraFeedbackRow,
  ultraFeedback,
} from './synthesis/ultra-feedback.js';
export { type VStarOptions, type VStarRow, vStar } from './synthesis/v-star.js';
export {
  type ArithmeticOperator,
  type ArithmeticOptions,
  type ArithmeticProblem,
  arithmetic,
} from './tasks/arithmetic.js';
export { type CountdownOptions, type CountdownProblem, countdown } from './tasks/countdown.js';
export {
  type ChainOperator,
  type ModularChainOptions,
  type ModularChainProblem,
  modularChain,
} from './tasks/modular-chain.js';
export {
  type IntegerRange,
  type ProceduralTask,
  splitOfProblem,
  type TaskRow,
  type TaskRowsOptions,
  type TaskVerdict,
  TEST_FRACTION,
  taskRows,
  taskVerifier,
} from './tasks/procedural-task.js';
export {
  type CurriculumMode,
  type ReasoningTask,
  type ReasoningTaskMaker,
  type ReasoningTaskOptions,
  type ReasoningTaskSpec,
  reasoningTask,
  type TaskCurriculum,
  taggedAnswer,
  taskCurriculum,
} from './tasks/reasoning-task.js';
export { reasoningTasks } from './tasks/reasoning-tasks.js';
export { type ReverseTextOptions, type ReverseTextProblem, reverseText } from './tasks/reverse-text.js';
export { englishSentences, englishWords } from './text/english-words.js';
export {
  type Expression,
  evaluateExpression,
  type Fraction,
  type Operator,
  type ParsedExpression,
  parseExpression,
  renderExpression,
} from './text/expression.js';
export {
  type Readability,
  type ReadabilityCounts,
  readability,
  readabilityCounts,
  readabilityOf,
  syllablesOf,
} from './text/readability.js';
export { repairMojibake, repairUnicode } from './text/repair-unicode.js';
