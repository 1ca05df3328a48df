export type { AnyPeftMethod, CreateAdapterOptions } from './adapters/adapter.js';
export { createAdapter, withAdapterParameters } from './adapters/adapter.js';
export {
  AdapterConfigError,
  AdapterFileError,
  AdapterTrainingError,
  MergeError,
  TargetModulesError,
} from './adapters/errors.js';
export type { FusedMember, FusedParameter } from './adapters/fused-parameters.js';
export type {
  AdapterTarget,
  FusedForm,
  LayerMethod,
  MergedTarget,
  PreparedTarget,
  TargetedConfig,
} from './adapters/layer-method.js';
export { linearShape } from './adapters/layer-method.js';
export type { MergeOptions, MergeResult, UnmergeOptions } from './adapters/merge.js';
export { mergeAdapter, unmergeAdapter } from './adapters/merge.js';
export {
  excludeOption,
  layerOptions,
  type MethodOptions,
  methodOptions,
  targetOptions,
} from './adapters/method-options.js';
export type { AdaptableModel, AdapterPlan, AdapterReport, PeftAdapter, TaskType } from './adapters/peft-adapter.js';
export { NO_PLAN } from './adapters/peft-adapter.js';
export type {
  AdapterTensors,
  MethodContext,
  PeftMethod,
  PlannedAdapter,
  PrepareContext,
} from './adapters/peft-method.js';
export { perLayer } from './adapters/per-layer.js';
export { inputOf } from './adapters/row-inputs.js';
export type { SaveAdapterOptions } from './adapters/save-adapter.js';
export { saveAdapter } from './adapters/save-adapter.js';
export { type StackedAdapter, stackAdapters } from './adapters/stack-adapters.js';
export type { SkippedModule, TargetMatch, TargetOptions } from './adapters/targets.js';
export { matchTargets } from './adapters/targets.js';
export type { TokenIndices, TokenRows } from './adapters/trainable-tokens.js';
export type { LoadAdapterOptions } from './load-adapter.js';
export { loadAdapter } from './load-adapter.js';
export { type ExtractedLora, type ExtractLoraOptions, extractLora } from './merging/extract-lora.js';
export { gramMatrices, saveGramMatrices } from './merging/gram-matrices.js';
export { type GreedySoup, greedySoup } from './merging/greedy-soup.js';
export { mergeCommand } from './merging/merge-command.js';
export {
  innerProducts,
  type MergeMethod,
  type MergeMethodOptions,
  type MergeParameters,
  type MergePart,
  type MergeParts,
  type MergeTensor,
  weightedSum,
} from './merging/merge-method.js';
export { mergeMethods } from './merging/merge-methods.js';
export { type MergedModels, type MergeModelsOptions, mergeModels } from './merging/merge-models.js';
export { type MergeRecipe, MergeRecipeError, readMergeRecipe } from './merging/recipe.js';
export type { MergeSetting } from './merging/setting.js';
export { addWeightedAdapter, type WeightedAdapterOptions } from './merging/weighted-adapter.js';
export { type AdaLoraConfig, adaLora } from './methods/adalora.js';
export { type BitFitConfig, bitFit } from './methods/bitfit.js';
export { type BoftConfig, boft } from './methods/boft.js';
export { type C3aConfig, c3a } from './methods/c3a.js';
export { type CptConfig, cpt } from './methods/cpt.js';
export { type CurLoraConfig, curLora } from './methods/curlora.js';
export { type FourierFtConfig, fourierFt } from './methods/fourierft.js';
export { type HoulsbyConfig, houlsby } from './methods/houlsby.js';
export { type HraConfig, hra } from './methods/hra.js';
export { type Ia3Config, ia3 } from './methods/ia3.js';
export { type LnTuningConfig, lnTuning } from './methods/ln-tuning.js';
export { type LoftqOptions, type LoftqResult, loftq } from './methods/loftq.js';
export { type LohaConfig, loha } from './methods/loha.js';
export { type LokrConfig, lokr } from './methods/lokr.js';
export type { LoraConfig } from './methods/lora.js';
export { lora } from './methods/lora.js';
export { type LoraXsConfig, loraXs } from './methods/lora-xs.js';
export { type LoReftConfig, loReft } from './methods/loreft.js';
export { type MissConfig, miss } from './methods/miss.js';
export { type MoleConfig, mole } from './methods/mole.js';
export { type MultitaskPromptTuningConfig, multitaskPromptTuning } from './methods/multitask-prompt-tuning.js';
export { type OftConfig, oft } from './methods/oft.js';
export { type OsfConfig, osf } from './methods/osf.js';
export { type PTuningConfig, pTuning } from './methods/p-tuning.js';
export { peftMethods } from './methods/peft-methods.js';
export { type PolyConfig, poly } from './methods/poly.js';
export { type PrefixTuningConfig, prefixTuning } from './methods/prefix-tuning.js';
export { progressivePrompt } from './methods/progressive-prompts.js';
export { type PromptTuningConfig, promptTuning } from './methods/prompt-tuning.js';
export { type RandLoraConfig, randLora } from './methods/randlora.js';
export { type RoadConfig, road } from './methods/road.js';
export { type ShiraConfig, shira } from './methods/shira.js';
export { type TinyLoraConfig, tinyLora } from './methods/tinylora.js';
export { type VbLoraConfig, vbLora } from './methods/vb-lora.js';
export { type VeraConfig, vera } from './methods/vera.js';
export { type WaveFtConfig, waveFt } from './methods/waveft.js';
export { type XLoraConfig, xLora } from './methods/xlora.js';
export { type LoraFaOptions, type LoraFaState, loraFa } from './optim/lora-fa.js';
export { type LoraPlusOptions, loraPlus } from './optim/lora-plus.js';
export { type RankAllocatorOptions, type RankAllocatorState, rankAllocator } from './optim/rank-allocator.js';
