import {
  type Compiled,
  compile,
  Key,
  type LossScale,
  type LossScaler,
  type LossScalerOptions,
  leavesOf,
  lossScaler,
  mapNamed,
  mapTree,
  type Named,
  type NonFinite,
  type Optimizer,
  type OptimizerChoice,
  type OptimizerName,
  type OptimizerSpec,
  optimizerOf,
  scalar,
  type Tensor,
  tensor,
} from '@posttrain/core-tensor';
import { boolean, custom, options as declare, integer, number, PosttrainError } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, contextOf, NO_ADAPTER, withParameters } from '@posttrain/lm';
import { decaysInTransformers } from './decay.js';
import { GradientAccumulator, type Pass } from './gradient-accumulator.js';
import { NonFiniteError } from './non-finite-error.js';
import { checkRows, microBatches, type TrainingRow, toBatch } from './rows.js';
import type { TokenLoss } from './token-loss.js';
import type { TrainableAdapter } from './trainable-adapter.js';

export interface TrainerOptions<State> {
  /** A Hugging Face name, a name with options, or an optimizer of your own; see `optimizers` of core-tensor. */
  readonly optimizer: OptimizerName | OptimizerSpec | Optimizer<State>;
  /** Trained tensors beside a frozen model. Left out: every weight of the model is trained. */
  readonly adapter?: TrainableAdapter;
  /** Of the dropout, which depends on it and the number of the step only. Default 0. */
  readonly seed?: number;
  /** Gradients are scaled down to this global norm; 0 turns clipping off. Default 1. */
  readonly maxGradNorm?: number;
  /** Most tokens, padding included, in one pass: memory only, never the result. Default 4096. */
  readonly maxTokensPerPass?: number;
  /** Keep the inputs of the blocks only, and compute the rest again for the gradient. Memory for time. Default false. */
  readonly gradientCheckpointing?: boolean;
  /**
   * Passes compute in float16 (log-probabilities in float32) from parameters, optimizer state and gradients in float32: mixed
   * precision (arXiv 1710.03740). For engines that have float16; others widen it. Default false.
   */
  readonly fp16?: boolean;
  /** Dynamic loss scaling; `true` for its defaults. Default: `true` with `fp16`, else none. */
  readonly lossScaling?: true | LossScalerOptions;
}

export interface ForwardBackwardResult {
  readonly loss: number;
  /** The loss's own metrics, added up over the micro-batches or combined as the loss says. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Tokens in the rows, padding not counted. */
  readonly tokens: number;
}

export interface OptimStepResult {
  /** Of all gradients together, before clipping. */
  readonly gradNorm: number;
  /**
   * True when loss scaling found a gradient that is not finite: nothing was updated, no step counted, and the scale is
   * lower now. Try the same rows again.
   */
  readonly skipped: boolean;
}

const trainerOptions = declare('Trainer', {
  optimizer: custom<OptimizerChoice>()('an optimizer or its name', (value) => value !== null, {}),
  adapter: custom<TrainableAdapter>()('an adapter', (value) => typeof value === 'object' && value !== null, {
    optional: true,
  }),
  seed: integer({ optional: true, min: 0 }),
  maxGradNorm: number({ optional: true, min: 0 }),
  maxTokensPerPass: integer({ optional: true, min: 1 }),
  gradientCheckpointing: boolean({ optional: true }),
  fp16: boolean({ optional: true }),
  lossScaling: custom<true | LossScalerOptions>()('true, or options of the loss scaler', (value) => value !== null, {
    optional: true,
  }),
});

const COMBINED = { sum: (a: number, b: number) => a + b, min: Math.min, max: Math.max } as const;

/** The optimizer's state is a tree that only the optimizer looks into. */
interface Trained {
  readonly parameters: Named;
  readonly state: object;
}

/** `LossScale` as scalars, so that it is saved with the rest. */
interface SavedScale {
  readonly scale: Tensor;
  readonly growthTracker: Tensor;
}

/** torch's: what is added to the norm that gradients are divided by. */
const CLIP_EPSILON = 1e-6;

/** Where a gradient overflows even with this scale, scaling is not what is wrong. */
const SMALLEST_LOSS_SCALE = 1;

/**
 * Four verbs that every training method is written in: `forwardBackward` adds the gradients of a loss over annotated
 * rows, `optimStep` applies them, `adapter`/`model` are what to sample from, and `snapshot`/`restore` save the run. It
 * knows no method: SFT, distillation, preference and policy optimisation differ in the rows and the loss they bring.
 */
export class Trainer {
  readonly #base: CausalLM;
  readonly #maxTokensPerPass: number;
  readonly #adapter: TrainableAdapter | undefined;
  readonly #dropout: Key;
  readonly #accumulated: GradientAccumulator;
  readonly #optimizer: Optimizer<object>;
  readonly #maxGradNorm: number;
  readonly #scaler: LossScaler | undefined;
  readonly #update: Compiled<
    [trained: Trained, gradients: Named, gradientFactor: Tensor, learningRate: Tensor],
    { trained: Trained }
  >;
  #trained: Trained;
  #lossScale: SavedScale | undefined;
  #step = 0;

  /** A trainer that starts from the adapter's parameters (or the model's weights) as they are now; both stay usable. */
  static async create<State extends object>(model: CausalLM, options: TrainerOptions<State>): Promise<Trainer> {
    trainerOptions.read(options as TrainerOptions<object>);
    const start = options.adapter ? options.adapter.parameters : model.weights;
    const copies = Object.entries(start).map(async ([name, p]) => {
      if (p.dtype !== 'float32')
        throw new PosttrainError('TRAINED_DTYPE', `${name} is ${p.dtype}; ${trainable(model, options.adapter)}`);
      // The reference engine gives float64.
      return [name, tensor(Float32Array.from(await p.data()), p.shape)];
    });
    // The class is not generic: what it may do with a state does not depend on its type.
    const { optimizer, ...rest } = options;
    const asked: Optimizer<object> = optimizerOf(optimizer as OptimizerChoice, { decays: decaysInTransformers });
    const plain = { ...rest, optimizer: options.adapter?.optimizer?.(asked) ?? asked };
    return new Trainer(model, plain, Object.fromEntries(await Promise.all(copies)));
  }

  private constructor(
    model: CausalLM,
    options: TrainerOptions<object> & { readonly optimizer: Optimizer<object> },
    parameters: Named,
  ) {
    const { optimizer, adapter, seed = 0, maxGradNorm = 1, maxTokensPerPass = 4096 } = options;
    const { gradientCheckpointing = false, fp16 = false } = options;
    this.#dropout = Key.fromSeed(seed);
    // Weights that are trained are copies: the model's own need not stay in memory for them.
    this.#base = adapter ? model : model.withWeights({});
    this.#adapter = adapter;
    this.#maxTokensPerPass = maxTokensPerPass;
    if (Object.keys(parameters).length === 0)
      throw new PosttrainError('NOTHING_TO_TRAIN', 'the adapter has no parameters');
    this.#trained = { parameters, state: optimizer.init(parameters) };
    this.#accumulated = new GradientAccumulator(this.#base, adapter, { gradientCheckpointing, fp16 }, parameters);
    this.#optimizer = optimizer;
    this.#maxGradNorm = maxGradNorm;
    const lossScaling = options.lossScaling ?? (fp16 || undefined);
    this.#scaler = lossScaling && lossScaler(lossScaling === true ? {} : lossScaling);
    this.#lossScale = this.#scaler && savedScale(this.#scaler.initial);
    this.#update = compile(
      ({ parameters: current, state }, gradients, gradientFactor, learningRate) => {
        const used = mapNamed(gradients, (g) => g.mul(gradientFactor));
        return { trained: optimizer.update(current, used, state, learningRate) };
      },
      { name: 'optimStep', donate: { 0: 'trained' } },
    );
  }

  /** Number of updates made. */
  get step(): number {
    return this.#step;
  }

  /** The trained tensors, as they are now. They are given away by the next `optimStep`: read or copy them before. */
  get parameters(): Named {
    return this.#trained.parameters;
  }

  /** The adapter with the parameters as they are now; without an adapter, "no adapter". Valid until `optimStep`. */
  get adapter(): Adapter {
    return this.#adapter ? withParameters(this.#adapter, this.parameters) : NO_ADAPTER;
  }

  /** The model with the weights as they are now: the base model itself when an adapter is trained. */
  get model(): CausalLM {
    return this.#adapter ? this.#base : this.#base.withWeights(this.parameters);
  }

  /**
   * Adds the gradients of `loss` over `rows`. The rows' weights carry the normalisation, so splitting rows over several
   * calls or micro-batches changes nothing but rounding. When the loss is not finite, the call has added nothing: what
   * earlier calls added is still there, and the error names the first tensor that went wrong.
   *
   * Where the config of a mixture of experts says `output_router_logits`, `router_aux_loss_coef` times the
   * `loadBalancingLoss` of all tokens of the rows is added, as in transformers; the metric `aux_loss` is the loss without
   * the factor. It is not a sum over rows, so give the rows of a step in one call. Rows that need several passes cost one
   * more forward pass then.
   *
   * @throws TrainingRowError, NonFiniteError
   */
  async forwardBackward(rows: readonly TrainingRow[], loss: TokenLoss): Promise<ForwardBackwardResult> {
    const groupSize = loss.groupSize ?? 1;
    const { config } = this.#base;
    checkRows(rows, loss.annotations, { ...config, maxPositionEmbeddings: contextOf(config, this.#adapter) });
    const accumulated = this.#accumulated;
    const before = accumulated.passes.length;
    let total = 0;
    const metrics: Record<string, number> = {};
    const passes = microBatches(rows, this.#maxTokensPerPass, groupSize).map((rowsOfPass, i): Pass => {
      const batch = toBatch(rowsOfPass, loss.annotations, groupSize);
      return {
        loss,
        batch,
        dropoutKey: this.#dropout
          .child(this.#step)
          .child(before + i)
          .toTensor(),
      };
    });
    const routed = passes.length > 1 ? await accumulated.routedTokens(passes, this.parameters) : undefined;
    for (const planned of passes) {
      const pass = routed ? { ...planned, routed } : planned;
      const result = await accumulated.add(pass, this.parameters, this.#lossScale?.scale);
      const value = await result.loss.item();
      if (!Number.isFinite(value)) {
        await accumulated.keep(before, this.parameters, this.#lossScale?.scale);
        throw NonFiniteError.ofStep('the loss', value, this.#step, await this.#findNonFinite([pass]));
      }
      total += value;
      for (const [name, tensor] of Object.entries(result.metrics)) {
        const [soFar, added] = [metrics[name], await tensor.item()];
        metrics[name] = soFar === undefined ? added : COMBINED[loss.combine?.[name] ?? 'sum'](soFar, added);
      }
    }
    return { loss: total, metrics, tokens: rows.reduce((sum, row) => sum + row.tokens.length, 0) };
  }

  /**
   * Applies the gradients added up since the last call and gives their norm before clipping. When that is not finite, the
   * weights and the optimizer's state stay as they were, and the gradients start again from zero.
   *
   * @throws NonFiniteError; PosttrainError without a `forwardBackward` since the last update
   */
  async optimStep({ learningRate }: { readonly learningRate: number }): Promise<OptimStepResult> {
    const { passes } = this.#accumulated;
    if (passes.length === 0) {
      throw new PosttrainError('NO_GRADIENTS', `step ${this.#step}: call forwardBackward before optimStep`);
    }
    const scale = (await this.#lossScale?.scale.item()) ?? 1;
    const norm = (await this.#accumulated.norm()) / scale;
    const present = this.#lossScale?.scale;
    await this.#nextLossScale(Number.isFinite(norm));
    if (!Number.isFinite(norm)) {
      this.#accumulated.clear();
      if (this.#scaler && scale > SMALLEST_LOSS_SCALE) return { gradNorm: norm, skipped: true };
      throw NonFiniteError.ofStep('the gradient norm', norm, this.#step, await this.#findNonFinite(passes, present));
    }
    const clip = this.#maxGradNorm > 0 ? Math.min(1, this.#maxGradNorm / (norm + CLIP_EPSILON)) : 1;
    const { parameters, state } = this.#trained;
    const { gradients } = this.#accumulated;
    const ready = (await this.#optimizer.refresh?.(gradients, state, this.#step)) ?? state;
    const factors = [scalar(clip / scale), scalar(learningRate)] as const;
    const { trained } = await this.#update({ parameters, state: ready }, gradients, ...factors);
    this.#trained = trained;
    this.#step++;
    this.#accumulated.clear();
    return { gradNorm: norm, skipped: false };
  }

  /**
   * Everything a resumed run needs, by name: trained parameters under `parameters.`, optimizer state under `state.`, and
   * the loss scale under `lossScale.`.
   */
  snapshot(): { readonly step: number; readonly tensors: Readonly<Record<string, Tensor>> } {
    const tensors = Object.fromEntries(leavesOf(this.#saved()).map(({ path, tensor }) => [path, tensor]));
    return { step: this.#step, tensors };
  }

  /**
   * Continues from a snapshot of a trainer with the same parameters and optimizer.
   *
   * @throws PosttrainError when a tensor is missing or of another shape or dtype; nothing has been changed then
   */
  restore(snapshot: { readonly step: number; readonly tensors: Readonly<Record<string, Tensor>> }): void {
    const problems = leavesOf(this.#saved()).flatMap(({ path, tensor: wanted }) => {
      const saved = snapshot.tensors[path];
      if (!saved) return `lacks ${path}`;
      // A tensor as text is its dtype and shape.
      return String(saved) === String(wanted) ? [] : `has ${path} as ${saved}, not ${wanted}`;
    });
    if (problems.length > 0) throw new PosttrainError('RESUME', `the checkpoint ${problems.join('; ')}`);
    const { lossScale, ...trained } = mapTree(this.#saved(), (_, path) => snapshot.tensors[path]!);
    this.#trained = trained;
    this.#lossScale = lossScale;
    this.#accumulated.clear();
    this.#step = snapshot.step;
  }

  #saved(): Trained & { readonly lossScale?: SavedScale } {
    return { ...this.#trained, ...(this.#lossScale && { lossScale: this.#lossScale }) };
  }

  #findNonFinite(passes: readonly Pass[], lossScale = this.#lossScale?.scale): Promise<NonFinite | undefined> {
    return this.#accumulated.findNonFinite(passes, this.parameters, lossScale);
  }

  async #nextLossScale(gradientsWereFinite: boolean): Promise<void> {
    if (!this.#scaler || !this.#lossScale) return;
    const [scale, growthTracker] = [await this.#lossScale.scale.item(), await this.#lossScale.growthTracker.item()];
    this.#lossScale = savedScale(this.#scaler.next({ scale, growthTracker }, gradientsWereFinite));
  }
}

const savedScale = ({ scale, growthTracker }: LossScale): SavedScale => ({
  scale: scalar(scale),
  growthTracker: scalar(growthTracker, 'int32'),
});

/** How the weights of such a model are trained. */
function trainable({ config }: Pick<CausalLM, 'config'>, adapter: unknown): string {
  if (adapter !== undefined || !config.quantization) return 'train it as float32';
  return (
    `the model is quantised (${config.quantization.method}), and codes cannot be trained. Train an adapter beside it ` +
    '(QLoRA: adapter: await createAdapter(model, lora) of @posttrain/peft), or await model.dequantize().'
  );
}
