export { type BertConfig, parseBertConfig } from './bert-config.js';
export type { HeadSizes, HiddenActivation, LayerType, WeightDType } from './common-config.js';
export type {
  DecoderConfig,
  DecoderNames,
  DecoderShape,
  DecoderType,
  LatentAttention,
  NormConfig,
  QueryKeyNorm,
  RotaryConfig,
  ShortConvolution,
} from './decoder-config.js';
export { ENCODER_TYPES, type EncoderConfig, loadEncoderConfig, parseEncoderConfig } from './encoder-config.js';
export type { ExpertNames, ExpertsConfig, FusedExperts, GroupedRouting, Routing } from './experts-config.js';
export type { GemmaConfig } from './gemma-config.js';
export type { GenerationConfig } from './generation-config.js';
export {
  generationConfigToJson,
  loadGenerationConfig,
  parseGenerationConfig,
  saveGenerationConfig,
} from './generation-config.js';
export type { HeadConfig, HeadTask, ProblemType } from './head-config.js';
export type { Gpt2Config, ModelConfig, ModelType, RotaryModelConfig } from './model-config.js';
export {
  loadModelConfig,
  parseModelConfig,
  SUPPORTED_MODEL_TYPES,
  UnsupportedArchitectureError,
} from './model-config.js';
export type { ModernBertConfig } from './modernbert-config.js';
export type { Olmo2Config } from './olmo2-config.js';
export { type LongRope, type Phi3Config, rotaryWidth, withLongContext } from './phi3-config.js';
export type { QuantizationConfig } from './quantization-config.js';
export type { GatedDelta, Mamba2, Recurrence } from './recurrence-config.js';
export type { RopeConfig, YarnRope } from './rope-config.js';
export { modelConfigToJson, saveModelConfig } from './write-config.js';
