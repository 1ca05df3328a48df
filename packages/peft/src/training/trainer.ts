import {
  type Compiled,
  compile,
  findNonFinite,
  globalNorm,
  Key,
  type LossScale,
  type LossScaler,
  leavesOf,
  lossScaler,
  mapNamed,
  mapTree,
  type Named,
  type NonFinite,
  nameScope,
  type Optimizer,
  type OptimizerChoice,
  optimizerOf,
  scalar,
  type Tensor,
  tensor,
  valueAndGrad,
  zerosBuffer,
} from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, NO_ADAPTER, predictionLogProbs, withParameters } from '@posttrain/lm';
import { NonFiniteError } from './non-finite-error.js';
import { checkRows, microBatches, type RowBatch, type TrainingRow, toBatch } from './rows.js';
import type { TokenLoss } from './token-loss.js';
import type { ForwardBackwardResult, OptimStepResult, TrainableAdapter, TrainerOptions } from './trainer-types.js';

/** Numbers that change from pass to pass. */
interface PassInputs {
  readonly dropoutKey: Tensor;
  /** What the present gradients are multiplied by before this pass adds to them: 0 in the first after an update. */
  readonly keep: Tensor;
  readonly lossScale: Tensor;
}

type MicroStep = Compiled<
  [gradients: Named, parameters: Named, frozen: Named, batch: RowBatch, pass: PassInputs],
  { gradients: Named; loss: Tensor; metrics: Readonly<Record<string, Tensor>> }
>;

const COMBINED = { sum: (a: number, b: number) => a + b, min: Math.min, max: Math.max } as const;

/** Gradients before anything was added to them, in memory of their own. */
const noGradients = (parameters: Named): Named => mapNamed(parameters, (p) => zerosBuffer(p.shape));

/** One micro-batch, enough to compute its gradients again. */
interface Pass {
  readonly loss: TokenLoss;
  readonly batch: RowBatch;
  readonly inputs: PassInputs;
}

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
  readonly #gradientCheckpointing: boolean;
  readonly #adapter: TrainableAdapter | undefined;
  readonly #dropout: Key;
  /** What has been added to the gradients since the last update, in order. */
  #passes: readonly Pass[] = [];
  readonly #microSteps = new Map<TokenLoss, MicroStep>();
  readonly #optimizer: Optimizer<object>;
  readonly #maxGradNorm: number;
  readonly #scaler: LossScaler | undefined;
  readonly #update: Compiled<
    [trained: Trained, gradients: Named, gradientFactor: Tensor, learningRate: Tensor],
    { trained: Trained }
  >;
  /** Asked before the update, so that a gradient that is not finite never reaches the weights. */
  readonly #norm = compile((gradients: Named) => globalNorm(gradients), { name: 'gradNorm' });
  #trained: Trained;
  /** Those of the passes; what else is in their memory, while there were none, does not count. */
  #gradients: Named;
  #lossScale: SavedScale | undefined;
  #step = 0;

  /** A trainer that starts from the adapter's parameters (or the model's weights) as they are now; both stay usable. */
  static async create<State extends object>(model: CausalLM, options: TrainerOptions<State>): Promise<Trainer> {
    assertKnownOptions('Trainer', options, [
      'optimizer',
      'adapter',
      'seed',
      'maxGradNorm',
      'maxTokensPerPass',
      'lossScaling',
      'gradientCheckpointing',
    ]);
    const start = options.adapter ? options.adapter.parameters : model.weights;
    const copies = Object.entries(start).map(async ([name, p]) => {
      if (p.dtype !== 'float32')
        throw new PosttrainError('TRAINED_DTYPE', `${name} is ${p.dtype}; train it as float32`);
      // The reference engine gives float64.
      return [name, tensor(Float32Array.from(await p.data()), p.shape)];
    });
    // The class is not generic: what it may do with a state does not depend on its type.
    const { optimizer, ...rest } = options;
    const plain = { ...rest, optimizer: optimizerOf(optimizer as OptimizerChoice) };
    return new Trainer(model, plain, Object.fromEntries(await Promise.all(copies)));
  }

  private constructor(
    model: CausalLM,
    options: TrainerOptions<object> & { readonly optimizer: Optimizer<object> },
    parameters: Named,
  ) {
    const { optimizer, adapter, seed = 0, maxGradNorm = 1, maxTokensPerPass = 4096 } = options;
    this.#dropout = Key.fromSeed(seed);
    // Weights that are trained are copies: the model's own need not stay in memory for them.
    this.#base = adapter ? model : model.withWeights({});
    this.#adapter = adapter;
    this.#maxTokensPerPass = maxTokensPerPass;
    this.#gradientCheckpointing = options.gradientCheckpointing ?? false;
    if (Object.keys(parameters).length === 0)
      throw new PosttrainError('NOTHING_TO_TRAIN', 'the adapter has no parameters');
    this.#trained = { parameters, state: optimizer.init(parameters) };
    this.#gradients = noGradients(parameters);
    this.#optimizer = optimizer;
    this.#maxGradNorm = maxGradNorm;
    const { lossScaling } = options;
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

  /** The weights that are not trained. */
  get #frozen() {
    return this.#adapter ? this.#base.weights : {};
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
   * @throws TrainingRowError, NonFiniteError
   */
  async forwardBackward(rows: readonly TrainingRow[], loss: TokenLoss): Promise<ForwardBackwardResult> {
    const groupSize = loss.groupSize ?? 1;
    checkRows(rows, loss.annotations, this.#base.config.maxPositionEmbeddings);
    const before = this.#passes.length;
    let total = 0;
    const metrics: Record<string, number> = {};
    for (const rowsOfPass of microBatches(rows, this.#maxTokensPerPass, groupSize)) {
      const index = this.#passes.length;
      const inputs = {
        dropoutKey: this.#dropout.child(this.#step).child(index).toTensor(),
        keep: scalar(index === 0 ? 0 : 1),
        lossScale: this.#lossScale?.scale ?? scalar(1),
      };
      const pass = { loss, batch: toBatch(rowsOfPass, loss.annotations, groupSize), inputs };
      const result = await this.#add(pass);
      const value = await result.loss.item();
      if (!Number.isFinite(value)) {
        await this.#keepPasses(before);
        throw new NonFiniteError('the loss', value, this.#step, await this.#findNonFinite([pass]));
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
   * weights and the optimizer's state stay as they were, and the gradients start again from nothing.
   *
   * @throws NonFiniteError; PosttrainError without a `forwardBackward` since the last update
   */
  async optimStep({ learningRate }: { readonly learningRate: number }): Promise<OptimStepResult> {
    if (this.#passes.length === 0) {
      throw new PosttrainError('NO_GRADIENTS', `step ${this.#step}: call forwardBackward before optimStep`);
    }
    const scale = (await this.#lossScale?.scale.item()) ?? 1;
    const norm = (await (await this.#norm(this.#gradients)).item()) / scale;
    await this.#nextLossScale(Number.isFinite(norm));
    if (!Number.isFinite(norm)) {
      const passes = this.#passes;
      await this.#keepPasses(0);
      if (this.#scaler && scale > SMALLEST_LOSS_SCALE) return { gradNorm: norm, skipped: true };
      throw new NonFiniteError('the gradient norm', norm, this.#step, await this.#findNonFinite(passes));
    }
    const clip = this.#maxGradNorm > 0 ? Math.min(1, this.#maxGradNorm / (norm + CLIP_EPSILON)) : 1;
    const { parameters, state } = this.#trained;
    const ready = (await this.#optimizer.refresh?.(this.#gradients, state, this.#step)) ?? state;
    const factors = [scalar(clip / scale), scalar(learningRate)] as const;
    const { trained } = await this.#update({ parameters, state: ready }, this.#gradients, ...factors);
    this.#trained = trained;
    this.#step++;
    this.#passes = [];
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
    this.#passes = [];
    this.#gradients = noGradients(this.parameters);
    this.#step = snapshot.step;
  }

  #saved(): Trained & { readonly lossScale?: SavedScale } {
    return { ...this.#trained, ...(this.#lossScale && { lossScale: this.#lossScale }) };
  }

  /** Adds the gradients of one pass. */
  async #add(pass: Pass): ReturnType<MicroStep> {
    const microStep = this.#microStep(pass.loss);
    const { parameters } = this.#trained;
    const result = await microStep(this.#gradients, parameters, this.#frozen, pass.batch, pass.inputs);
    this.#gradients = result.gradients;
    this.#passes = [...this.#passes, pass];
    return result;
  }

  /**
   * Takes all but the first `count` passes back: what was added to a sum cannot be, so those that stay are added again, in
   * new memory, because 0 times what is not finite is not 0.
   */
  async #keepPasses(count: number): Promise<void> {
    const kept = this.#passes.slice(0, count);
    this.#gradients = noGradients(this.parameters);
    this.#passes = [];
    for (const pass of kept) await this.#add(pass);
  }

  /** The first tensor that went wrong in any of the passes. */
  async #findNonFinite(passes: readonly Pass[]): Promise<NonFinite | undefined> {
    for (const { loss, batch, inputs } of passes) {
      const found = await findNonFinite(
        this.#objective(loss),
        [this.#trained.parameters, this.#frozen, batch, inputs],
        ['parameters', 'weights', 'batch', 'pass'],
      );
      if (found) return found;
    }
    return undefined;
  }

  async #nextLossScale(gradientsWereFinite: boolean): Promise<void> {
    if (!this.#scaler || !this.#lossScale) return;
    const [scale, growthTracker] = [await this.#lossScale.scale.item(), await this.#lossScale.growthTracker.item()];
    this.#lossScale = savedScale(this.#scaler.next({ scale, growthTracker }, gradientsWereFinite));
  }

  /** Loss, metrics and gradients of one pass, to be traced. */
  #objective(loss: TokenLoss) {
    const { network } = this.#base;
    const adapter = this.#adapter;
    const isScaled = this.#scaler !== undefined;
    return (parameters: Named, frozen: Named, batch: RowBatch, { dropoutKey, lossScale }: PassInputs) => {
      const objective = (trained: Named) => {
        const weights = adapter ? frozen : trained;
        const hooks = adapter?.trainingHooks?.(trained, dropoutKey) ?? adapter?.hooks(trained) ?? {};
        const predicted = predictionLogProbs(network, weights, batch, {
          hooks,
          temperature: loss.temperature ?? 1,
          gradientCheckpointing: this.#gradientCheckpointing,
        });
        const { loss: value, metrics } = nameScope(`loss ${loss.name}`, () =>
          loss.compute({ ...predicted, weights: batch.weights, annotations: batch.annotations }),
        );
        return [isScaled ? value.mul(lossScale) : value, { loss: value, metrics }] as const;
      };
      const { value, gradient } = valueAndGrad(objective)(parameters);
      return { gradients: gradient as Named, ...value[1] };
    };
  }

  #microStep(loss: TokenLoss): MicroStep {
    const known = this.#microSteps.get(loss);
    if (known) return known;
    const objective = this.#objective(loss);
    const microStep: MicroStep = compile(
      (gradients, parameters, frozen, batch, pass) => {
        const { gradients: added, ...result } = objective(parameters, frozen, batch, pass);
        return { gradients: mapNamed(gradients, (g, name) => g.mul(pass.keep).add(added[name]!)), ...result };
      },
      { name: `forwardBackward(${loss.name})`, donate: { 0: 'gradients' } },
    );
    this.#microSteps.set(loss, microStep);
    return microStep;
  }
}

const savedScale = ({ scale, growthTracker }: LossScale): SavedScale => ({
  scale: scalar(scale),
  growthTracker: scalar(growthTracker, 'int32'),
});
