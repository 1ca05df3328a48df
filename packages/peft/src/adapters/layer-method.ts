import type { Key, Tensor } from '@posttrain/core-tensor';
import type { Named, Optimizer } from '@posttrain/core-tensor/optim';
import type { EmbeddingLayer, LinearLayer, LowRankUpdate, ModuleInfo, RowInputsSpec } from '@posttrain/lm';
import type { FusedMember, FusedParameter } from './fused-parameters.js';
import type { MethodOptions } from './method-options.js';
import type { AdaptableModel } from './peft-adapter.js';
import type { TokenIndices } from './trainable-tokens.js';

/** Which modules an adapter enters, as `targetOptions` and its kin declare it. A method has those that PEFT has. */
export interface TargetedConfig {
  readonly targetModules: readonly string[] | string | null;
  readonly excludeModules?: readonly string[] | string | null;
  readonly layersToTransform?: readonly number[] | number | null;
  readonly layersPattern?: readonly string[] | string | null;
  readonly modulesToSave?: readonly string[] | null;
  /** Tokens whose embeddings are trained: `tokensOption`. */
  readonly trainableTokenIndices?: TokenIndices | null;
  /** Whether a tied output layer follows its embedding: of methods with `headTensors`. */
  readonly ensureWeightTying?: boolean;
  /** Weights of experts that are one parameter in transformers, and routers: of methods with `fused`. */
  readonly targetParameters?: readonly string[] | null;
  /** Which biases of the base are trained, as copies: those of the targets (the method's own word), all, or none. */
  readonly bias?: string;
}

/** A module with the tensors an adapter changes. */
export type AdapterTarget = ModuleInfo & { readonly weight: Tensor; readonly bias?: Tensor | undefined };

/** The tensors of a module after merging. */
export interface MergedTarget {
  readonly weight: Tensor;
  readonly bias?: Tensor | undefined;
}

/** Initial tensors of a module that `init` could not make: in the place of those with the same names, or frozen. */
export interface PreparedTarget {
  readonly trained?: Named;
  readonly frozen?: Named;
}

/** What a new adapter takes from rows of token ids, beside its options. */
export interface RowStart<Config extends object> {
  /** The configuration that they decide: ranks by module, fewer targets. */
  readonly config: Config;
  /** Initial tensors, by module. */
  readonly tensors: ReadonlyMap<string, PreparedTarget>;
}

/** What a start from rows is made of. */
export interface RowStartContext<Config extends object> {
  readonly base: AdaptableModel;
  readonly targets: readonly AdapterTarget[];
  readonly config: Config;
  /** The option `rows` of `createAdapter`. */
  readonly rows: readonly (readonly number[])[];
  readonly key: Key;
}

/** How a method enters parameters that stand for several modules: `TargetedConfig.targetParameters`. */
export interface FusedForm<Config extends object> {
  /** Throws for options that cannot be with such parameters. */
  check(config: Config): void;
  /** New tensors for all members of one, named as `LayerMethod.init` names them. */
  init(parameter: FusedParameter, config: Config, key: Key): Named;
  /** Those of one member out of them, as `apply` and its kin take them. */
  ofMember(parameter: FusedParameter, member: FusedMember, parameters: Named): Named;
}

/**
 * A method that changes modules one by one: how a module with a frozen weight is changed by a few trained tensors. Matching
 * modules, biases and modules trained whole, files, merging a model and training are written once, elsewhere: `perLayer` makes
 * a `PeftMethod` of it.
 *
 * Tensors are named as PEFT names them after the module path: `lora_A.weight`. `apply`, `embed`, `merge` and `unmerge` get those of
 * the module, trained and frozen, and the shared ones, in one record.
 */
export interface LayerMethod<Config extends TargetedConfig = TargetedConfig> {
  /** `peft_type` of adapter_config.json. */
  readonly peftType: string;
  /** The modules it can enter. */
  readonly kinds: readonly ModuleInfo['kind'][];
  /** False: weights that are stored [in, out] (Conv1D, in GPT-2) are refused, as PEFT refuses them. Default true. */
  readonly conv1d?: false;
  /** See `PeftMethod.options`. */
  readonly options: MethodOptions<Config>;
  /** What PEFT writes besides: options that are not supported, with the value that means "not used". */
  readonly fileDefaults: Readonly<Record<string, unknown>>;
  /** PEFT's default targets by `model_type`. Default: LoRA's. */
  readonly defaultTargets?: Readonly<Record<string, readonly string[]>>;
  /** Whether files say `fan_in_fan_out`. Default true. */
  readonly fanInFanOut?: boolean;
  /** The word for "the biases of the targets" in `bias`. Default `lora_only`. */
  readonly targetBiases?: string;
  /** Options that say something by module, as an object of patterns: one that reaches no target is refused. */
  readonly modulePatterns?: readonly string[];
  /** Options that are null until the model type is known, written out. Default: as they are. */
  complete?(config: Config, modelType: string): Config;
  /**
   * How many numbers `init` makes for a module. Where a method says it, a config that asks for absurdly many is refused before
   * anything is made.
   */
  parameters?(target: ModuleInfo, config: Config): number;
  /** Throws when options cannot be right together or for these targets; each by itself is right. Left out: all can. */
  check?(config: Config, targets: readonly AdapterTarget[]): void;
  /** Throws when what was read from a file cannot be made again. */
  checkFile?(config: Config): void;
  /**
   * New tensors for a module. Lazy, so that loading an adapter can ask for names and shapes only; with PEFT's default
   * initialisation the module computes what it did before.
   */
  init(target: AdapterTarget, config: Config, key: Key): Named;
  /**
   * Initial tensors that numbers are needed for, such as the factors of an SVD of the weight. Undefined: none. Of an adapter that is
   * loaded their shapes count only.
   */
  prepare?(
    target: AdapterTarget,
    config: Config,
    how: { readonly key: Key; readonly isLoaded: boolean },
  ): Promise<PreparedTarget> | undefined;
  /**
   * Initial tensors and options that rows of token ids decide, asked of a new adapter only, before `prepare`. Undefined: none.
   *
   * @throws AdapterConfigError without the rows that are needed
   */
  fromRows?(context: RowStartContext<Config>): Promise<RowStart<Config> | undefined>;
  /** See `PeftMethod.fileConfig`. */
  fileConfig?(config: Config): Config | undefined;
  /**
   * The tensors of a module in files, where they are others than the trained ones: of every configuration that has a `fileConfig`. Of all its
   * tensors.
   */
  toFile?(module: ModuleInfo, parameters: Named, config: Config): Named;
  /** How many numbers `shared` makes. */
  sharedParameters?(targets: readonly ModuleInfo[], config: Config): number;
  /** Frozen tensors that all targets share, by keys without a module path. Lazy as `init`. */
  shared?(targets: readonly ModuleInfo[], config: Config, key: Key): Named;
  /** Whether files have the frozen tensors, the shared ones behind `base_model.`. Default: not, they are made again. */
  frozenInFile?(config: Config): boolean;
  /** Throws AdapterConfigError when frozen tensors of a file, by their names after the module path, cannot be right. */
  checkFrozen?(target: ModuleInfo, frozen: Named, config: Config): Promise<void>;
  /** x [..., in] → [..., out]. `dropoutKey`, an int32 [2] tensor, is there in training only. */
  apply(x: Tensor, layer: LinearLayer, parameters: Named, config: Config, dropoutKey?: Tensor): Tensor;
  /** What `apply` draws with the dropout key, as `loraDropout is 0.1`; undefined or left out: nothing. */
  stochastic?(config: Config): string | undefined;
  /** What `apply` adds without dropout, where that is a low-rank product of x and nothing else: it is computed faster then. */
  lowRank?(module: ModuleInfo, parameters: Named, config: Config): LowRankUpdate | undefined;
  /**
   * What `apply` and `embed` make of the parameters and the weight alone, by names of its own: they take it from `parameters` where it is
   * there, and compute it elsewhere, as in training. Left out: nothing.
   */
  derive?(target: AdapterTarget, parameters: Named, config: Config): Named;
  /** tokens int32 [...] → [..., width], for methods that enter embeddings. */
  embed?(tokens: Tensor, layer: EmbeddingLayer, parameters: Named, config: Config): Tensor;
  /**
   * What files have of an output layer that follows its embedding, out of the tensors of the embedding, by names after the module path.
   * Left out: `ensureWeightTying` is not an option.
   */
  headTensors?(parameters: Named): Named;
  /** See `PeftMethod.rowInputs`; `apply` finds them by `inputOf`. */
  rowInputs?(config: Config): RowInputsSpec | undefined;
  /** The weight with which the bare module computes what `apply` does. Left out: there is none. */
  merge?(target: AdapterTarget, parameters: Named, config: Config): MergedTarget;
  /** See `PeftMethod.cannotMerge`. */
  cannotMerge?(config: Config): string | undefined;
  /** The inverse of `merge`, for methods that have one. `merged` is the module with its merged tensors. */
  unmerge?(merged: AdapterTarget, parameters: Named, config: Config): MergedTarget;
  /** See `PeftMethod.changesBase`. */
  changesBase?(config: Config): boolean;
  /** See `FusedForm`. `apply` and its kin get a member under the name of the parameter. Left out: `targetParameters` is not an option. */
  readonly fused?: FusedForm<Config>;
  /** A scalar that is added to the loss once a step. `trained` by whole keys. */
  penalty?(trained: Named, config: Config): Tensor;
  /** See `PeftMethod.optimizer`. */
  optimizer?(inner: Optimizer<object>, config: Config): Optimizer<object>;
}

/** A module as a linear map: an embedding is one over one-hot rows, its table stored [in, out]. */
export function linearShape(module: ModuleInfo): { inputs: number; outputs: number; transposed: boolean } {
  const { kind, inFeatures, outFeatures, transposed } = module;
  if (kind === 'embedding') return { inputs: outFeatures, outputs: inFeatures, transposed: true };
  return { inputs: inFeatures, outputs: outFeatures, transposed };
}
