import type { Key, Tensor } from '@posttrain/core-tensor';
import type { Named, Optimizer } from '@posttrain/core-tensor/optim';
import type { LayerHooks, LowRankUpdate, ModelConfig, RowInputsSpec, WeightedNetwork } from '@posttrain/lm';
import type { MethodOptions } from './method-options.js';
import type { AdaptableModel, AdapterPlan } from './peft-adapter.js';
import type { SkippedModule } from './targets.js';

/** The tensors of an adapter, by PEFT's keys without the prefix of the file. */
export interface AdapterTensors {
  /** What a training step changes. */
  readonly trained: Named;
  /** What stays as it was made: random projections, the first factors of a decomposition. */
  readonly frozen: Named;
}

/** What is known of an adapter before it has numbers. */
export interface MethodContext<Config extends object = object> {
  /** Complete. */
  readonly config: Config;
  readonly plan: AdapterPlan;
  /** Of the model that the adapter is for. */
  readonly model: ModelConfig;
}

/** What initial values that take work are made from. */
export interface PrepareContext<Config extends object = object> extends MethodContext<Config> {
  /** With its weights: for what is computed on the host (an SVD), for activations and for gradients. */
  readonly base: AdaptableModel;
  /** Token ids of rows to look at: the option `rows` of `createAdapter`. None when an adapter is loaded. */
  readonly rows: readonly (readonly number[])[];
  readonly key: Key;
  /** Whether the adapter comes from a file, whose numbers stand in the place of these: their shapes count only. */
  readonly isLoaded: boolean;
}

/** A configuration written out, and the places of the model that it means. */
export interface PlannedAdapter<Config extends object = object> {
  readonly config: Config;
  readonly plan: AdapterPlan;
  readonly skipped: readonly SkippedModule[];
  /** Initial tensors that planning has made on the way, beside those of `prepare`. */
  readonly prepared?: Named;
}

/** What planning a new adapter may look at, beside the model. */
export interface PlanData {
  /** The option `rows` of `createAdapter`. */
  readonly rows: readonly (readonly number[])[];
  readonly key: Key;
}

/**
 * A parameter-efficient method: what is trained beside a frozen model, what is frozen with it, and how both change a forward
 * pass. A method is a value of pure functions; files, training, generation and checkpoints are written once, elsewhere. What
 * changes modules one by one is shorter as a `LayerMethod`.
 *
 * Tensors have PEFT's keys without the prefix that all have in its files: `model.layers.0.self_attn.q_proj.lora_A.weight`.
 */
export interface PeftMethod<Config extends object = object> {
  /** `peft_type` of adapter_config.json. */
  readonly peftType: string;
  /** Every option, declared once with its default, which is PEFT's: `methodOptions`. In files they have the same names in snake case. */
  readonly options: MethodOptions<Config>;
  /** What PEFT writes besides: options that are not supported, with the value that means "not used". */
  readonly fileDefaults: Readonly<Record<string, unknown>>;
  /** Keys of files that say something of the model (`fan_in_fan_out`), which `facts` gives and reading leaves alone. */
  readonly factNames?: readonly string[];
  facts?(context: MethodContext<Config>): Readonly<Record<string, unknown>>;
  /**
   * The places of a model that a complete configuration means; none for a method without targets. With `'every entry'` each
   * entry of a list must select something, which PEFT does not ask for; `'any entry'` is for files that PEFT wrote. Of a new adapter there are
   * `data`, where rows decide which places or ranks there are.
   *
   * @throws AdapterConfigError, TargetModulesError
   */
  plan(
    model: AdaptableModel,
    config: Config,
    strictness: 'every entry' | 'any entry',
    data?: PlanData,
  ): PlannedAdapter<Config> | Promise<PlannedAdapter<Config>>;
  /**
   * How many numbers `init` makes. Where a method says it, a config that asks for absurdly many is refused before anything is
   * made.
   */
  parameters?(context: MethodContext<Config>): number;
  /** Work that `init` cannot do, since its tensors are lazy: what it gives is `init`'s `prepared`. */
  prepare?(context: PrepareContext<Config>): Promise<Named>;
  /** New tensors. Lazy, so that loading an adapter can ask for names and shapes only. */
  init(context: MethodContext<Config>, base: AdaptableModel, key: Key, prepared: Named): AdapterTensors;
  /** How a pass changes. `dropoutKey`, an int32 [2] tensor, is there in training only. */
  hooks(context: MethodContext<Config>, tensors: AdapterTensors, dropoutKey?: Tensor): LayerHooks;
  /** The whole key of a tensor in files. Default: behind `base_model.model.`. */
  fileKey?(name: string): string;
  /** Whether files have the frozen tensors. Default: not, they are made again. */
  frozenInFile?(config: Config): boolean;
  /** @throws AdapterConfigError for what was read from a file and cannot be made again */
  checkFile?(config: Config): void;
  /**
   * The configuration that files have, where it is another: one that can be read without what this one was made from. `toFile` has its
   * tensors. Undefined: this one.
   */
  fileConfig?(config: Config): Config | undefined;
  /**
   * The method's tensors in a file, where they are others than the adapter's: what an encoder computes and not the encoder. Lazy,
   * by names that `fileKey` completes; their types are those of the file. Left out: what is trained, and with `frozenInFile` what
   * is frozen. Biases and modules trained whole are written beside.
   */
  toFile?(context: MethodContext<Config>, tensors: AdapterTensors): Named | undefined;
  /**
   * The method's tensors from those of a file, `stored` by the names of `toFile`, where they are others or where a file can have
   * numbers that cannot be right. `made` are those of `init`. Left out: `stored` in the place of `made`.
   *
   * @throws AdapterConfigError
   */
  fromFile?(
    context: MethodContext<Config>,
    stored: Named,
    made: AdapterTensors,
  ): AdapterTensors | Promise<AdapterTensors>;
  /** What `hooks` does without dropout, as low-rank updates of linear layers, where that is all it does. */
  lowRank?(
    context: MethodContext<Config>,
    tensors: AdapterTensors,
  ): Readonly<Record<string, LowRankUpdate>> | undefined;
  /**
   * Beside the trained tensors, what `hooks` makes of them and of the model alone and takes where it is there. Left out: nothing. See
   * `Adapter.derived`.
   */
  derive?(context: MethodContext<Config>, tensors: AdapterTensors, base: WeightedNetwork): Named;
  /** The weights of the model that change, with which it computes what `hooks` does. Left out: nothing can be merged. */
  merge?(context: MethodContext<Config>, tensors: AdapterTensors, base: AdaptableModel): Named;
  /** Why nothing can be merged with this configuration, to follow the name of the method. Undefined or left out: it can. */
  cannotMerge?(config: Config): string | undefined;
  /** The inverse of `merge`. `merged` has the merged weights. */
  unmerge?(context: MethodContext<Config>, tensors: AdapterTensors, merged: AdaptableModel): Named;
  /** Positions that the hooks' virtual tokens or prefix take. Left out: none. */
  virtualTokens?(config: Config): number;
  /** Labels among the tokens that the virtual tokens stand for, learnt beside those of rows. Undefined or left out: none. */
  contextLabels?(
    config: Config,
  ): { readonly tokens: readonly number[]; readonly weights: readonly number[] } | undefined;
  /** Whether `hooks` have an `earlier` pass. Left out: no. */
  earlierPass?(config: Config): boolean;
  /** What `hooks` read of every sequence, a task or where to begin. Undefined or left out: nothing. */
  rowInputs?(config: Config): RowInputsSpec | undefined;
  /** What `hooks` draws with the dropout key, as `loraDropout is 0.1`; undefined or left out: nothing. */
  stochastic?(config: Config): string | undefined;
  /**
   * Whether training starts from another base than the model without the adapter: a reference policy is the initial adapter
   * then, `PeftAdapter.reference`.
   */
  changesBase?(config: Config): boolean;
  /** A scalar that is added to the loss once a step. */
  penalty?(trained: Named, config: Config): Tensor;
  /** The optimizer of a run, which may do more than the one that the run asked for. Its state is in the checkpoint. */
  optimizer?(inner: Optimizer<object>, config: Config): Optimizer<object>;
}
