/**
 * The types every `@posttrain` package speaks. Nothing here runs a model and nothing here has a dependency,
 * so `tts`, `data` and `eval` can use models without installing a tensor engine.
 */

export { commonSubsequences, rougeL, rougeWords } from './common-subsequence.js';
export type { CompareRequest, PairJudge, PairVerdict } from './compare.js';
export {
  type CandidateDistribution,
  type CandidateRequest,
  type CandidateScorer,
  candidateScorer,
} from './distribution.js';
export type { Embedder, TokenEmbedder, TokenVectors } from './embed.js';
export {
  type Entailer,
  type Entailment,
  type EntailmentRequest,
  type SemanticClustersOptions,
  sameTextEntailer,
  semanticClusters,
} from './entail.js';
export { isPosttrainError, nearestName, PosttrainError } from './errors.js';
export { excerpt } from './excerpt.js';
export {
  type FeatureOptions,
  type FeatureRequest,
  type GradientOptions,
  hashedWords,
  type RowFeatures,
  type RowGradients,
} from './features.js';
export type {
  Completion,
  Constraint,
  GenerateRequest,
  Generator,
  SamplingParams,
  TokenLogProb,
  Usage,
} from './generate.js';
export { isDeeperThan } from './nesting.js';
export { GENERATE_HINTS } from './options/generate-hints.js';
export { assertKnownOptions, type OptionHints } from './options/known-options.js';
export {
  boolean,
  custom,
  integer,
  listOf,
  number,
  type Option,
  type OptionSpec,
  oneOf,
  type Presence,
  type Range,
  text,
} from './options/option.js';
export { assertArgument, assertPath, OptionError, showValue } from './options/option-error.js';
export { type Given, type OptionShape, type Options, options, type Read } from './options/options.js';
export { type ExplicitPreference, extractPreferencePrompt, isPlainObject, sameJson } from './preference.js';
export type { OnProgress, ProgressEvent } from './progress.js';
export type { ChatMessage, Prompt } from './prompt.js';
export type {
  BegunSample,
  SamplerServer,
  SamplerServerFacts,
  TokenSample,
  TokenSampleRequest,
} from './sampler-server.js';
export {
  type Sandbox,
  type SandboxCheck,
  type SandboxCode,
  type SandboxCommand,
  SandboxFailureError,
  type SandboxJob,
  type SandboxLimits,
  type SandboxProbe,
  type SandboxResult,
  type SandboxStop,
  SandboxUnavailableError,
} from './sandbox.js';
export type {
  ChangeableSequence,
  ContinuationScore,
  InputGradients,
  RollingScorer,
  ScoreRequest,
  Scorer,
  TokenScorer,
  TokenScores,
} from './score.js';
export {
  addSettings,
  type DecisiveSettings,
  type HasSettings,
  hashText,
  NOT_GIVEN,
  type SettingDifference,
  settingDifferences,
  settingsOf,
  showDifferences,
} from './settings.js';
export { type ScorerTrainer, type TrainableRow, type TrainScorerOptions, unigramTrainer } from './train.js';
export type { Verdict, Verifier, VerifyRequest } from './verify.js';
