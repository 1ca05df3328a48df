import {
  type Compiled,
  clipByGlobalNorm,
  compile,
  findNonFinite,
  globalNorm,
  Key,
  leavesOf,
  mapNamed,
  mapTree,
  type Named,
  type NonFinite,
  nameScope,
  type Optimizer,
  scalar,
  type Tensor,
  tensor,
  valueAndGrad,
  zeros,
  zerosBuffer,
} from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import {
  type Adapter,
  type CausalLM,
  type LayerHooks,
  NO_ADAPTER,
  predictionLogProbs,
  withParameters,
} from '@posttrain/lm';
import { NonFiniteError } from './non-finite-error.js';
import { checkRows, microBatches, type RowBatch, type TrainingRow, toBatch } from './rows.js';
import type { TokenLoss } from './token-loss.js';

/** An adapter that may behave differently while it is trained. */
export interface TrainableAdapter extends Adapter<Named> {
  /** `hooks` for a training step: with dropout drawn from an int32 [2] key. Left out: `hooks`. */
  trainingHooks?(parameters: Named, dropoutKey: Tensor): LayerHooks;
}

export interface TrainerOptions<State> {
  readonly optimizer: Optimizer<State>;
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
}

export interface ForwardBackwardResult {
  readonly loss: number;
  /** The loss's own metrics, added up over the micro-batches or combined as the loss says. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Tokens in the rows, padding not counted. */
  readonly tokens: number;
}

type MicroStep = Compiled<
  [gradients: Named, parameters: Named, frozen: Named, batch: RowBatch, dropoutKey: Tensor],
  { gradients: Named; loss: Tensor; metrics: Readonly<Record<string, Tensor>> }
>;

const COMBINED = { sum: (a: number, b: number) => a + b, min: Math.min, max: Math.max } as const;

/** Gradients before anything was added to them, in memory of their own. */
const noGradients = (parameters: Named): Named => mapNamed(parameters, (p) => zerosBuffer(p.shape));

/** One micro-batch, enough to compute its gradients again. */
interface Pass {
  readonly loss: TokenLoss;
  readonly batch: RowBatch;
  readonly dropoutKey: Tensor;
}

/** The optimizer's state is a tree that only the optimizer looks into. */
interface Trained {
  readonly parameters: Named;
  readonly state: object;
}

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
  #passes: Pass[] = [];
  readonly #microSteps = new Map<TokenLoss, MicroStep>();
  readonly #update: Compiled<
    [trained: Trained, gradients: Named, learningRate: Tensor],
    { trained: Trained; gradients: Named }
  >;
  /** Asked before the update, so that a gradient that is not finite never reaches the weights. */
  readonly #norm = compile((gradients: Named) => globalNorm(gradients), { name: 'gradNorm' });
  #trained: Trained;
  #gradients: Named;
  #step = 0;

  /** A trainer that starts from the adapter's parameters (or the model's weights) as they are now; both stay usable. */
  static async create<State extends object>(model: CausalLM, options: TrainerOptions<State>): Promise<Trainer> {
    const names = ['optimizer', 'adapter', 'seed', 'maxGradNorm', 'maxTokensPerPass', 'gradientCheckpointing'] as const;
    assertKnownOptions('Trainer', options, names);
    const start = options.adapter ? options.adapter.parameters : model.weights;
    const copies = Object.entries(start).map(async ([name, p]) => {
      if (p.dtype !== 'float32')
        throw new PosttrainError('TRAINED_DTYPE', `${name} is ${p.dtype}; train it as float32`);
      // The reference engine gives float64.
      return [name, tensor(Float32Array.from(await p.data()), p.shape)];
    });
    // The class is not generic: what it may do with a state does not depend on its type.
    const { optimizer, ...rest } = options;
    const plain = { ...rest, optimizer: optimizer as unknown as Optimizer<object> };
    return new Trainer(model, plain, Object.fromEntries(await Promise.all(copies)));
  }

  private constructor(model: CausalLM, options: TrainerOptions<object>, parameters: Named) {
    const { optimizer, adapter, seed = 0, maxGradNorm = 1, maxTokensPerPass = 4096 } = options;
    this.#dropout = Key.fromSeed(seed);
    this.#base = model;
    this.#adapter = adapter;
    this.#maxTokensPerPass = maxTokensPerPass;
    this.#gradientCheckpointing = options.gradientCheckpointing ?? false;
    if (Object.keys(parameters).length === 0)
      throw new PosttrainError('NOTHING_TO_TRAIN', 'the adapter has no parameters');
    this.#trained = { parameters, state: optimizer.init(parameters) };
    this.#gradients = noGradients(parameters);
    this.#update = compile(
      ({ parameters: current, state }, gradients, learningRate) => {
        const used = maxGradNorm > 0 ? clipByGlobalNorm(gradients, maxGradNorm).gradients : gradients;
        const trained = optimizer.update(current, used, state, learningRate);
        return { trained, gradients: mapNamed(gradients, (g) => zeros(g.shape)) };
      },
      { name: 'optimStep', donate: { 0: 'trained', 1: 'gradients' } },
    );
  }

  /** The weights that are not trained. */
  get #frozen(): Named {
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
      const batch = toBatch(rowsOfPass, loss.annotations, groupSize);
      const dropoutKey = this.#dropout.child(this.#step).child(this.#passes.length).toTensor();
      const pass = { loss, batch, dropoutKey };
      const result = await this.#add(pass);
      this.#passes.push(pass);
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
   * weights and the optimizer's state stay as they were, and the gradients start again from zero.
   *
   * @throws NonFiniteError
   */
  async optimStep({ learningRate }: { readonly learningRate: number }): Promise<{ readonly gradNorm: number }> {
    const { parameters, state } = this.#trained;
    const norm = await (await this.#norm(this.#gradients)).item();
    if (!Number.isFinite(norm)) {
      const passes = this.#passes;
      await this.#keepPasses(0);
      throw new NonFiniteError('the gradient norm', norm, this.#step, await this.#findNonFinite(passes));
    }
    const result = await this.#update({ parameters, state }, this.#gradients, scalar(learningRate));
    this.#trained = result.trained;
    this.#gradients = result.gradients;
    this.#step++;
    this.#passes = [];
    return { gradNorm: norm };
  }

  /** Everything a resumed run needs, by name: trained parameters under `parameters.`, optimizer state under `state.`. */
  snapshot(): { readonly step: number; readonly tensors: Readonly<Record<string, Tensor>> } {
    const tensors = Object.fromEntries(leavesOf(this.#trained).map(({ path, tensor }) => [path, tensor]));
    return { step: this.#step, tensors };
  }

  /**
   * Continues from a snapshot of a trainer with the same parameters and optimizer.
   *
   * @throws PosttrainError when a tensor is missing or of another shape or dtype; nothing has been changed then
   */
  restore(snapshot: { readonly step: number; readonly tensors: Readonly<Record<string, Tensor>> }): void {
    const problems = leavesOf(this.#trained).flatMap(({ path, tensor: wanted }) => {
      const saved = snapshot.tensors[path];
      if (!saved) return `lacks ${path}`;
      // A tensor as text is its dtype and shape.
      return String(saved) === String(wanted) ? [] : `has ${path} as ${saved}, not ${wanted}`;
    });
    if (problems.length > 0) throw new PosttrainError('RESUME', `the checkpoint ${problems.join('; ')}`);
    this.#trained = mapTree(this.#trained, (_, path) => snapshot.tensors[path]!);
    this.#gradients = noGradients(this.parameters);
    this.#passes = [];
    this.#step = snapshot.step;
  }

  /** Adds the gradients of one pass. */
  async #add({ loss, batch, dropoutKey }: Pass): ReturnType<MicroStep> {
    const microStep = this.#microStep(loss);
    const result = await microStep(this.#gradients, this.#trained.parameters, this.#frozen, batch, dropoutKey);
    this.#gradients = result.gradients;
    return result;
  }

  /** Takes all but the first `count` passes back: gradients that were added cannot be, so those that stay are added again. */
  async #keepPasses(count: number): Promise<void> {
    this.#passes = this.#passes.slice(0, count);
    this.#gradients = noGradients(this.parameters);
    for (const pass of this.#passes) await this.#add(pass);
  }

  /** The first tensor that went wrong in any of the passes. */
  async #findNonFinite(passes: readonly Pass[]): Promise<NonFinite | undefined> {
    for (const { loss, batch, dropoutKey } of passes) {
      const found = await findNonFinite(
        this.#objective(loss),
        [this.#trained.parameters, this.#frozen, batch, dropoutKey],
        ['parameters', 'weights', 'batch', 'dropoutKey'],
      );
      if (found) return found;
    }
    return undefined;
  }

  /** Loss, metrics and gradients of one pass, to be traced. */
  #objective(loss: TokenLoss) {
    const { network } = this.#base;
    const adapter = this.#adapter;
    return (parameters: Named, frozen: Named, batch: RowBatch, dropoutKey: Tensor) => {
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
        return [value, metrics] as const;
      };
      const { value, gradient } = valueAndGrad(objective)(parameters);
      return { gradients: gradient as Named, loss: value[0], metrics: value[1] };
    };
  }

  #microStep(loss: TokenLoss): MicroStep {
    const known = this.#microSteps.get(loss);
    if (known) return known;
    const objective = this.#objective(loss);
    const microStep: MicroStep = compile(
      (gradients, ...rest) => {
        const { gradients: added, ...result } = objective(...rest);
        return { gradients: mapNamed(gradients, (g, name) => g.add(added[name]!)), ...result };
      },
      { name: `forwardBackward(${loss.name})`, donate: { 0: 'gradients' } },
    );
    this.#microSteps.set(loss, microStep);
    return microStep;
  }
}
