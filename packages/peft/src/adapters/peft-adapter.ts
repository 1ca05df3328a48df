import type { Tensor } from '@posttrain/core-tensor';
import type { Named, Optimizer } from '@posttrain/core-tensor/optim';
import type { Adapter, CausalLM, LayerHooks, ModelConfig, ModuleInfo, NormInfo } from '@posttrain/lm';
import type { FusedParameter } from './fused-parameters.js';
import type { PeftMethod } from './peft-method.js';
import type { SkippedModule } from './targets.js';
import type { TokenRows } from './trainable-tokens.js';
import type { TiedHead } from './weight-tying.js';

/** What an adapter entered, what it left out, and how much of the model it trains. */
export interface AdapterReport {
  /** Paths of the modules the method enters. */
  readonly matched: readonly string[];
  readonly skipped: readonly SkippedModule[];
  readonly trainableParameters: number;
  /** Parameters of the base and of the adapter. */
  readonly totalParameters: number;
}

/** What an adapter needs of a model: a `CausalLM`, a classifier, a reward model and a value model have it. */
export type AdaptableModel = Pick<CausalLM, 'name' | 'config' | 'network' | 'weights' | 'storage'>;

/** PEFT's name for what the outputs of a model are. */
export type TaskType = 'CAUSAL_LM' | 'SEQ_CLS' | 'TOKEN_CLS';

/** The modules of a model that an adapter changes, and how. */
export interface AdapterPlan {
  /** Modules the method enters. */
  readonly targets: readonly ModuleInfo[];
  /** Parameters the method enters that stand for several modules, which are not among `targets`. */
  readonly fused?: readonly FusedParameter[];
  /** Normalisations the method enters. */
  readonly norms: readonly NormInfo[];
  /** Modules trained whole. */
  readonly saved: readonly ModuleInfo[];
  /** Normalisations trained whole. */
  readonly savedNorms?: readonly NormInfo[];
  /** Rows of embeddings that are trained. */
  readonly tokens?: readonly TokenRows[];
  /** An output layer that has what is trained of its embedding. */
  readonly tied?: TiedHead;
  /** Parameter name of each bias that is trained, by module path. */
  readonly biases: ReadonlyMap<string, string>;
  /** Adapters that the method mixes, whose tensors are among its own. */
  readonly experts?: readonly PeftAdapter[];
  /** The base's own embeddings that PEFT puts into the file when they are targets, by their names there. */
  readonly carried: Named;
}

/** The plan of a method that enters no module. */
export const NO_PLAN: AdapterPlan = { targets: [], norms: [], saved: [], biases: new Map(), carried: {} };

/**
 * An adapter of a PEFT method, for the model it was made for and every other with the same modules. `parameters` are
 * named by PEFT's keys without the `base_model.model.` prefix.
 */
export interface PeftAdapter<Config extends object = object> extends Adapter<Named> {
  readonly method: PeftMethod<Config>;
  /** Complete, with `targetModules` written out. */
  readonly config: Config;
  readonly plan: AdapterPlan;
  /** Tensors that are no parameters: they stay as they are. */
  readonly frozen: Named;
  /** Config and name of the model it was made for. */
  readonly model: ModelConfig;
  readonly baseModel: string;
  /** Of the model it was made for; `task_type` of adapter_config.json. */
  readonly taskType: TaskType;
  readonly report: AdapterReport;
  /** Method and configuration as JSON, and a digest of the frozen tensors: with the parameters, all that decides what it computes. */
  readonly identity: object;
  /**
   * What `trainingHooks` draws at random, as `loraDropout is 0.1`: a training step then computes otherwise than `hooks`.
   * Undefined: nothing.
   */
  readonly stochastic: string | undefined;
  /** The adapter as it was made, where that and not the model without it is what training starts from. */
  readonly reference?: Adapter<Named>;
  /** `hooks` for a training step: with dropout, drawn from an int32 [2] key that must differ from step to step. */
  trainingHooks(parameters: Named, dropoutKey: Tensor): LayerHooks;
  /** A scalar that is added to the loss once a step. */
  penalty?(parameters: Named): Tensor;
  /** Labels among the tokens that its virtual tokens stand for: token ids, and what each counts. */
  readonly contextLabels?: { readonly tokens: readonly number[]; readonly weights: readonly number[] };
  /** The optimizer of a run that asked for `inner`. */
  optimizer?(inner: Optimizer<object>): Optimizer<object>;
  /** `saveAdapter` of this adapter with other numbers: what checkpoints of a run hold. */
  save(folder: string, parameters: Named): Promise<void>;
}
