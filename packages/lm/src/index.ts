export { type DecodeEvent, type DecodeOptions, decode } from './batching/decode.js';
export { CacheTooSmallError, type ScheduledToken, Scheduler, type SchedulerOptions } from './batching/scheduler.js';
export * from './chat-template/index.js';
export * from './config/index.js';
export { type AutomatonParts, automatonBuffers } from './constraint/automaton-parts.js';
export {
  compileConstraint,
  compileConstraintWith,
  constraintAutomaton,
  prepareConstraints,
} from './constraint/compile-constraint.js';
export { InvalidConstraintError } from './constraint/expression.js';
export type { CompiledConstraint } from './constraint/grammar-constraint.js';
export { UnsupportedSchemaError } from './constraint/schema-value.js';
export type { TokenConstraint } from './constraint/token-constraint.js';
export { BertEncoder, type BertEncoderParts } from './embed/bert-encoder.js';
export { isEmbeddingFolder } from './embed/embedding-folder.js';
export { instructedQuery, type LoadEmbedderOptions, loadEmbedder } from './embed/load-embedder.js';
export { type EmbeddingModel, LocalEmbedder, type LocalEmbedderOptions } from './embed/local-embedder.js';
export { type Pooling, pool } from './embed/pooling.js';
export { type ExportGeneratorOptions, exportGenerator, type GeneratorManifest } from './export/export-generator.js';
export { type SaveGgufOptions, saveGguf } from './export/save-gguf.js';
export { InvalidModelFileError, isJsonObject, type JsonObject } from './files.js';
export { type BudgetForcingOptions, budgetForcing } from './generate/budget-forcing.js';
export { completionDecoder } from './generate/completion-decoder.js';
export {
  type EarlyExit,
  type EarlyExitOptions,
  type ExitedText,
  earlyExit,
  exitLayers,
} from './generate/early-exit.js';
export {
  type BegunCompletion,
  type LocalGenerateRequest,
  LocalGenerator,
  type LocalGeneratorOptions,
  type StreamEvent,
} from './generate/generator.js';
export * from './gguf/index.js';
export { type ClassifierGradientsOptions, classifierGradients } from './heads/classifier-gradients.js';
export {
  type ClassifierNetwork,
  classifierLogits,
  EncoderClassifier,
  type EncoderClassifierConfig,
  type EncoderClassifierOptions,
  loadEncoderClassifier,
  parseEncoderClassifierConfig,
} from './heads/encoder-classifier.js';
export type { HeadLoadOptions, HeadModelParts, HeadScoringOptions } from './heads/head-model.js';
export { type EntailmentLabels, type NliEntailerOptions, nliEntailer } from './heads/nli-entailer.js';
export { RewardVerifier, type RewardVerifierOptions } from './heads/reward-verifier.js';
export { type NewHeadOptions, SequenceClassifier } from './heads/sequence-classifier.js';
export { type StepTagVerifierOptions, stepTagVerifier } from './heads/step-tag-verifier.js';
export { StepError, StepVerifier, type StepVerifierOptions, type TokenScores } from './heads/step-verifier.js';
export { TokenClassifier, type TokenVerifierOptions } from './heads/token-classifier.js';
export { type NewValueHeadOptions, ValueModel } from './heads/value-model.js';
export * from './hub/index.js';
export {
  type Adapter,
  adapterFor,
  contextOf,
  type LowRankUpdate,
  NO_ADAPTER,
  type RowInputs,
  type RowInputsSpec,
  type WeightedNetwork,
  withParameters,
} from './model/adapter.js';
export { bertNetwork } from './model/bert.js';
export { CausalLM, type CausalLMParts, initialWeights } from './model/causal-lm.js';
export { encoderNetwork } from './model/encoder.js';
export type { EncoderNetwork } from './model/encoder-network.js';
export type { ParameterInfo } from './model/family.js';
export { HeadError, headLogits, sequenceLogits, tokenLogits, tokenValues } from './model/head.js';
export type { KvCache, KvCacheDtype } from './model/kv-cache.js';
export type {
  EarlierPass,
  EmbeddingLayer,
  KeyValuePrefix,
  LayerHooks,
  LinearLayer,
  ModuleInfo,
  NormInfo,
  NormLayer,
  NormTensors,
  PassInfo,
  Sublayer,
  VirtualTokenKinds,
  Weights,
} from './model/layers.js';
export { applyLinear } from './model/layers.js';
export { availableBytes, ModelMemoryError } from './model/memory-need.js';
export {
  loadBalancingLoss,
  loadBalancingLossOf,
  type RouterSums,
  type RouterSumsOptions,
  recordRouterLogits,
  routerSums,
} from './model/mixture-of-experts.js';
export type { HiddenOptions, Network, RunnableModel, SequenceInput } from './model/network.js';
export { networkOf } from './model/network-of.js';
export type { OutputLayer } from './model/output-layer.js';
export type { PruneOptions } from './model/prune.js';
export { ModelQuantizationError, type QuantizationOptions, type WeightStorage } from './model/quantize.js';
export type { AwqQuantizationOptions } from './model/quantize-awq.js';
export type { CalibratedQuantizationOptions } from './model/quantize-calibrated.js';
export type { GptqQuantizationOptions } from './model/quantize-gptq.js';
export type { SmoothQuantQuantizationOptions } from './model/quantize-smooth-quant.js';
export { INT4_FORMATS, type Int4FileFormat } from './model/quantized-files.js';
export { floatWeight } from './model/quantized-layer.js';
export type { LayerState, StateShape, StateSlots } from './model/recurrence/layer-state.js';
export { WeightMismatchError } from './model/stored-names.js';
export {
  type KeepOptions,
  type LoadedWeights,
  type LoadWeightsOptions,
  loadWeights,
  type SaveWeightsOptions,
  saveWeights,
} from './model/weights.js';
export { NoModelFolderError } from './model-folder.js';
export { type ChatRowOptions, callArguments, chatOptionsOf, type RowMessage, rowMessages } from './prompts/chat-row.js';
export { NoChatTemplateError, promptTokens, type TextModel, type TokenPrompt } from './prompts/prompt-tokens.js';
export {
  type CompletionTokens,
  NoEndTokenError,
  type TokenizeCompletionOptions,
  tokenizeCompletion,
  withEndToken,
} from './prompts/tokenize-completion.js';
export type { CachedSequence, ExtendInput, ExtendOptions, ExtendResult } from './runner/extend-inputs.js';
export { ModelRunner } from './runner/model-runner.js';
export { NonFiniteLogitsError } from './runner/non-finite.js';
export type { ModelRunnerOptions, PackWeights } from './runner/runner-options.js';
export type { RowSoftmax } from './runner/step-memory.js';
export type { DecodeHook, DecodeState, DecodeStep } from './sampling/decode-hook.js';
export { ContextLengthError, type DecodeRow } from './sampling/decode-row.js';
export type { DecodingMix, InnerLayers, LogitsFrom } from './sampling/decoding-mix.js';
export { type ContrastiveOptions, contrastive } from './sampling/mixes/contrastive.js';
export { type DolaOptions, dola } from './sampling/mixes/dola.js';
export { type FudgeOptions, fudge } from './sampling/mixes/fudge.js';
export { type GeometricMixtureOptions, geometricMixture } from './sampling/mixes/geometric-mixture.js';
export { type ProxyTuningOptions, proxyTuning } from './sampling/mixes/proxy-tuning.js';
export { type TeacherMixtureOptions, teacherMixture } from './sampling/mixes/teacher-mixture.js';
export { type ValueGuidedOptions, valueGuided } from './sampling/mixes/value-guided.js';
export type { SampledToken, TokenStatistics } from './sampling/report-token.js';
export { sampleToken, tokenDistribution } from './sampling/sampler.js';
export type { SamplerSettings } from './sampling/sampler-settings.js';
export { type SamplerContext, TokenHistory } from './sampling/token-history.js';
export { type TokenStatistic, type TokenView, tokenStatistics } from './sampling/token-statistics.js';
export { NoTokenAllowedError } from './sampling/warpers/candidates.js';
export {
  type ContinuationLogProbs,
  type ContinuationLogProbsOptions,
  continuationLogProbs,
} from './score/continuation-log-probs.js';
export { type HiddenStatesOptions, hiddenStates } from './score/hidden-states.js';
export { type InputGradientsOptions, inputGradients } from './score/input-gradients.js';
export { perplexity } from './score/perplexity.js';
export { logProbsOf, type PredictionLogProbs, predictionLogProbs } from './score/prediction-log-probs.js';
export type { Continuation } from './score/prefix-tree.js';
export {
  type RollingOptions,
  type RollingWindow,
  rollingLogProbs,
  rollingWindows,
  strideWindows,
} from './score/rolling-log-probs.js';
export { type RowFeaturesOptions, rowFeatures } from './score/row-features.js';
export { LocalScorer, type LocalScorerOptions, type RollingScoreOptions } from './score/scorer.js';
export { type LogProbsOptions, type SequenceLogProbs, sequenceLogProbs } from './score/token-log-probs.js';
export * from './search/index.js';
export type { DraftSchedule } from './speculative/draft-length.js';
export type { EagleSpeculation } from './speculative/eagle.js';
export type { Eagle2Tree } from './speculative/eagle-2-tree.js';
export { EagleHead, type EagleShape, eagleStates } from './speculative/eagle-head.js';
export { type LookaheadOptions, lookahead } from './speculative/lookahead.js';
export type { MedusaSpeculation } from './speculative/medusa.js';
export { MedusaHeads, type MedusaShape, medusaHead } from './speculative/medusa-heads.js';
export { type PromptLookupOptions, promptLookup } from './speculative/prompt-lookup.js';
export type { Proposal, ProposalRequest, Proposer, VerifiedPass, VerifiedRun } from './speculative/proposer.js';
export { RestDatastore, type RestOptions, rest, restProposal } from './speculative/rest.js';
export {
  type DraftModelSpeculation,
  DraftVocabularyError,
  type PromptLookupSpeculation,
  type ProposerRun,
  type ProposerSpeculation,
  type SpeculativeOptions,
  type SpeculativeStatistics,
} from './speculative/speculative-decoding.js';
export {
  type Candidate,
  residualDistribution,
  verifyCandidates,
  verifyToken,
} from './speculative/speculative-sampling.js';
export type { TokenDistribution } from './speculative/token-distribution.js';
export { type Acceptance, type TypicalAcceptanceOptions, typicalAcceptance } from './speculative/typical-acceptance.js';
export * from './tokenizer/index.js';
export * from './tools/index.js';
