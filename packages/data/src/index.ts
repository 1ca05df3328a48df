export { createRandom, philox4x32, type Random } from '@posttrain/interfaces/random';
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
export { type Pipeline, type PipelineOptions, pipeline } from './pipeline.js';
export type { Row, RowSource } from './rows.js';
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
  type DensityRatioOptions,
  type DensityRatioPlan,
  densityRatio,
  type WithDensityRatio,
} from './steps/density-ratio.js';
export { type ExactDeduplicateOptions, exactDeduplicate } from './steps/exact-deduplicate.js';
export {
  type ExactSubstringDeduplicateOptions,
  exactSubstringDeduplicate,
  type SubstringPlan,
} from './steps/exact-substring-deduplicate.js';
export { type FilterOptions, type FilterVerdict, filter } from './steps/filter.js';
export {
  type GenerativeVerifierRowsOptions,
  generativeVerifierRows,
  type VerificationRow,
  type VerifiedRow,
} from './steps/generative-verifier-rows.js';
export {
  type LessCheckpoint,
  type LessPlan,
  type LessSelectOptions,
  type LessTargets,
  lessSelect,
} from './steps/less-select.js';
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
  type ArithmeticOperator,
  type ArithmeticOptions,
  type ArithmeticProblem,
  arithmetic,
} from './tasks/arithmetic.js';
export { type CountdownOptions, type CountdownProblem, countdown } from './tasks/countdown.js';
export {
  type Expression,
  evaluateExpression,
  type Fraction,
  type Operator,
  type ParsedExpression,
  parseExpression,
  renderExpression,
} from './tasks/expression.js';
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
export { type ReverseTextOptions, type ReverseTextProblem, reverseText } from './tasks/reverse-text.js';
export { englishSentences, englishWords } from './text/english-words.js';
export {
  type Readability,
  type ReadabilityCounts,
  readability,
  readabilityCounts,
  readabilityOf,
  syllablesOf,
} from './text/readability.js';
export { repairMojibake, repairUnicode } from './text/repair-unicode.js';
