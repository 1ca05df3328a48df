import {
  type Compiled,
  compile,
  Key,
  leavesOf,
  mapTree,
  type NonFinite,
  scalar,
  type Tensor,
  withEngine,
} from '@posttrain/core-tensor';
import {
  type LossScaler,
  lossScaler,
  mapNamed,
  type Named,
  type Optimizer,
  optimizerOf,
} from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, contextOf, NO_ADAPTER, withParameters } from '@posttrain/lm';
import type { Loss, Readout, ReadoutValue } from '../loss/loss.js';
import { checkRows, microBatches, type RowLimits, type TrainingRow, toBatch } from '../loss/rows.js';
import { decaysInTransformers } from './decay.js';
import { GradientAccumulator, type Pass } from './gradient-accumulator.js';
import { type AnyLoss, asLoss } from './lift-token-loss.js';
import { NonFiniteError } from './non-finite-error.js';
import { assertTrainable, copiesOf, firstUnlike } from './parameters.js';
import { type ForwardBackwardResult, PassSum } from './pass-sum.js';
import { addPenalty, type Penalty } from './penalty.js';
import { rowValues, type ValuesOfRows } from './row-values.js';
import { type SavedScale, savedScale } from './saved-scale.js';
import { scalarsOf } from './scalars.js';
import type {
  EvaluateOptions,
  OptimStepOptions,
  OptimStepResult,
  Penalized,
  ReadOptions,
  StepInputs,
} from './step-options.js';
import type { TrainableAdapter } from './trainable-adapter.js';
import type { TrainableModel } from './trainable-model.js';
import { type TrainerOptions, type TrainerSettings, trainerOptions } from './trainer-options.js';

/** The optimizer's state is a tree that only the optimizer looks into. */
interface Trained {
  readonly parameters: Named;
  readonly state: object;
}

/** torch's: what is added to the norm that gradients are divided by. */
const CLIP_EPSILON = 1e-6;

/** Where a gradient overflows even with this scale, scaling is not what is wrong. */
const SMALLEST_LOSS_SCALE = 1;

/**
 * Four verbs that every training method is written in: `forwardBackward` adds the gradients of a loss over annotated
 * rows, `optimStep` applies them, `adapter`/`model` are what to sample from, and `snapshot`/`restore` save the run;
 * `evaluate` only looks. It knows no method: SFT, distillation, preference and policy optimisation differ in the rows and
 * the loss they bring.
 */
export class Trainer<M extends TrainableModel = CausalLM> {
  readonly #base: M;
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
  static async create<M extends TrainableModel>(model: M, given: TrainerOptions): Promise<Trainer<M>> {
    const options = trainerOptions.read(given);
    const start = options.adapter ? options.adapter.parameters : model.weights;
    assertTrainable(model, options.adapter, start);
    const asked = optimizerOf(options.optimizer, { decays: decaysInTransformers });
    const optimizer = options.adapter?.optimizer?.(asked) ?? asked;
    const parameters = await copiesOf(start);
    // What it compiles is for the model's engine, whichever was set while the parameters were read.
    return withEngine(model.network.engine, () => new Trainer(model, { ...options, optimizer }, parameters));
  }

  private constructor(
    model: M,
    settings: TrainerSettings & { readonly optimizer: Optimizer<object> },
    parameters: Named,
  ) {
    const { optimizer, adapter, seed, maxGradNorm, maxTokensPerPass, gradientCheckpointing, fp16 } = settings;
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
    const lossScaling = settings.lossScaling ?? (fp16 || undefined);
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

  /** The trained tensors as they are now, in memory of their own: anchors, or what a step at trial parameters goes back to. */
  copyParameters(): Promise<Named> {
    return copiesOf(this.parameters);
  }

  /**
   * Puts other numbers in the place of the trained tensors: a step that was tried and is accepted, or one that is taken back.
   * The optimizer's state stays, and no step is counted.
   *
   * @throws PosttrainError PARAMETERS where one is missing or of another shape, or gradients have been added since the last update
   */
  async assign(parameters: Named): Promise<void> {
    const wrong = firstUnlike(this.parameters, parameters);
    const what = wrong ? `there is none of the shape of ${wrong}` : 'gradients have been added to those that are there';
    if (wrong || this.#accumulated.passes.length > 0) {
      throw new PosttrainError('PARAMETERS', `step ${this.#step}: parameters are given, but ${what}`);
    }
    const own = Object.fromEntries(Object.keys(this.parameters).map((name) => [name, parameters[name]!]));
    this.#trained = { ...this.#trained, parameters: await copiesOf(own) };
  }

  /** The adapter with the parameters as they are now; without an adapter, "no adapter". Valid until `optimStep`. */
  get adapter(): Adapter {
    return this.#adapter ? withParameters(this.#adapter, this.parameters) : NO_ADAPTER;
  }

  /** The model with the weights as they are now: the base model itself when an adapter is trained. */
  get model(): M {
    return this.#adapter ? this.#base : this.#base.withWeights(this.parameters);
  }

  /**
   * Adds the gradients of a loss (over readouts, or over tokens) over `rows`. The rows' weights carry the normalisation, so splitting rows over several
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
  async forwardBackward(
    rows: readonly TrainingRow[],
    given: AnyLoss,
    { scalars }: StepInputs = {},
  ): Promise<ForwardBackwardResult> {
    const loss = asLoss(given);
    const numbers = scalarsOf(loss, scalars);
    checkRows(rows, loss, this.#limits);
    const accumulated = this.#accumulated;
    const before = accumulated.passes.length;
    const sum = new PassSum(loss);
    const passes = this.#planned(rows, loss).map(({ batch, dropoutKey }): Pass => {
      return { loss, batch, dropoutKey, scalars: numbers };
    });
    const routed = passes.length > 1 ? await accumulated.routedTokens(passes, this.parameters) : undefined;
    for (const planned of passes) {
      const pass = routed ? { ...planned, routed } : planned;
      const result = await accumulated.add(pass, this.parameters, this.#lossScale?.scale);
      const value = await sum.add(result);
      if (!Number.isFinite(value)) {
        await accumulated.keep(before, this.parameters, this.#lossScale?.scale);
        throw NonFiniteError.ofStep('the loss', value, this.#step, await this.#findNonFinite([pass]));
      }
    }
    return sum.result(rows);
  }

  /**
   * What a readout gives of every row, in the order of the rows, for losses that couple rows of several micro-batches: read the
   * values of the whole step, work out ∂L/∂value, and give it to `forwardBackward` as an annotation. Nothing is changed; the
   * numbers are those that `forwardBackward` computes next with the same rows and the same `groupSize`, its dropout included.
   * Entries of a row stand one after the other, those of padding left out.
   *
   * @throws TrainingRowError
   */
  async read<T extends ReadoutValue>(
    rows: readonly TrainingRow[],
    readout: Readout<T>,
    { groupSize = 1, annotations = readout.annotations ?? [] }: ReadOptions = {},
  ): Promise<ValuesOfRows<T>> {
    checkRows(rows, { annotations, ...(readout.wholeRow && { wholeRow: true }) }, this.#limits);
    return rowValues(rows, readout, this.#planned(rows, { groupSize, annotations }), (pass) =>
      this.#accumulated.read(readout, { ...pass, scalars: {} }, this.parameters),
    );
  }

  /** The micro-batches of rows, with what dropout draws for them when they are the next to be added. */
  #planned(rows: readonly TrainingRow[], { groupSize = 1, annotations }: Pick<Loss, 'groupSize' | 'annotations'>) {
    const before = this.#accumulated.passes.length;
    return microBatches(rows, this.#maxTokensPerPass, groupSize).map((rowsOfPass, i) => ({
      rows: rowsOfPass,
      batch: toBatch(rowsOfPass, annotations, groupSize, this.adapter),
      dropoutKey: this.#dropout
        .child(this.#step)
        .child(before + i)
        .toTensor(),
    }));
  }

  /**
   * Loss and metrics of rows under the parameters as they are now, with nothing changed and nothing drawn: no gradient, no
   * dropout, and without the loss of the routers. The rows' weights carry the normalisation, as in `forwardBackward`.
   *
   * @throws TrainingRowError, NonFiniteError; the reason of the signal when that fires, at the next pass
   */
  async evaluate(
    rows: readonly TrainingRow[],
    given: AnyLoss,
    { signal, scalars, parameters = this.parameters }: EvaluateOptions = {},
  ): Promise<ForwardBackwardResult> {
    const loss = asLoss(given);
    const numbers = scalarsOf(loss, scalars);
    const groupSize = loss.groupSize ?? 1;
    checkRows(rows, loss, this.#limits);
    const sum = new PassSum(loss);
    for (const rowsOfPass of microBatches(rows, this.#maxTokensPerPass, groupSize)) {
      signal?.throwIfAborted();
      const batch = toBatch(rowsOfPass, loss.annotations, groupSize, this.adapter);
      const pass = { loss, batch, dropoutKey: this.#dropout.toTensor(), scalars: numbers };
      const value = await sum.add(await this.#accumulated.evaluate(pass, parameters));
      if (Number.isFinite(value)) continue;
      throw NonFiniteError.ofStep('the loss of evaluation', value, this.#step, await this.#findNonFinite([pass]));
    }
    return sum.result(rows);
  }

  /**
   * Takes the gradients added up since the last update out of the trainer, by parameter, before clipping and without the loss
   * scale, so that several of a step are kept apart: `optimStep` applies what a rule makes of them. The next `forwardBackward`
   * starts from zero.
   *
   * @throws NonFiniteError, the gradients being gone; PosttrainError without a `forwardBackward` since the last update
   */
  async takeGradients(): Promise<Named> {
    const passes = this.#added();
    const scale = (await this.#lossScale?.scale.item()) ?? 1;
    const norm = await this.#accumulated.norm();
    if (Number.isFinite(norm)) return this.#accumulated.take(scalar(1 / scale));
    this.#accumulated.clear();
    throw NonFiniteError.ofStep('the gradient norm', norm, this.#step, await this.#findNonFinite(passes));
  }

  #added(): readonly Pass[] {
    const { passes } = this.#accumulated;
    if (passes.length > 0) return passes;
    throw new PosttrainError('NO_GRADIENTS', `step ${this.#step}: call forwardBackward before optimStep`);
  }

  /**
   * Applies the gradients added up since the last call and gives their norm before clipping. When that is not finite, the
   * weights and the optimizer's state stay as they were, and the gradients start again from zero. `gradients`, where they are
   * given, are applied in the place of those: one for every parameter, as `takeGradients` gives them.
   *
   * @throws NonFiniteError; PosttrainError without a `forwardBackward` since the last update, or with one whose gradients are
   *   still there while others are given
   */
  async optimStep({ learningRate, gradients, penalties = [] }: OptimStepOptions): Promise<OptimStepResult> {
    if (gradients) return this.#applyGiven(gradients, learningRate, penalties);
    const passes = this.#added();
    const scale = (await this.#lossScale?.scale.item()) ?? 1;
    const all = await this.#penalized(this.#accumulated.gradients, scale, penalties);
    const norm = (await this.#accumulated.norm(all.gradients)) / scale;
    const present = this.#lossScale?.scale;
    await this.#nextLossScale(Number.isFinite(norm));
    if (!Number.isFinite(norm)) {
      this.#accumulated.clear();
      if (this.#scaler && scale > SMALLEST_LOSS_SCALE) return { gradNorm: norm, skipped: true, penalties: all.values };
      throw NonFiniteError.ofStep('the gradient norm', norm, this.#step, await this.#findNonFinite(passes, present));
    }
    return this.#apply(all, norm, scale, learningRate);
  }

  async #applyGiven(gradients: Named, learningRate: number, penalties: readonly Penalty[]): Promise<OptimStepResult> {
    const { passes } = this.#accumulated;
    const wrong = Object.entries(this.parameters).find(
      ([name, p]) => String(gradients[name]?.shape) !== String(p.shape),
    );
    const what = wrong ? `there is none of the shape of ${wrong[0]}` : 'those of forwardBackward have not been taken';
    if (wrong || passes.length > 0) {
      throw new PosttrainError('GRADIENTS', `step ${this.#step}: gradients are given, but ${what}`);
    }
    const all = await this.#penalized(gradients, 1, penalties);
    const norm = await this.#accumulated.norm(all.gradients);
    if (!Number.isFinite(norm)) throw NonFiniteError.ofStep('the gradient norm', norm, this.#step, undefined);
    return this.#apply(all, norm, 1, learningRate);
  }

  /** Gradients with those of the penalties, and their values. */
  async #penalized(given: Named, scale: number, penalties: readonly Penalty[]): Promise<Penalized> {
    let gradients = given;
    const values: Record<string, number> = {};
    for (const penalty of penalties) {
      const added = await addPenalty(penalty, gradients, this.parameters, scalar(scale), this.#base.network.engine);
      gradients = added.gradients;
      values[penalty.name] = added.value;
    }
    return { gradients, values };
  }

  async #apply(
    { gradients, values }: Penalized,
    gradNorm: number,
    scale: number,
    learningRate: number,
  ): Promise<OptimStepResult> {
    const clip = this.#maxGradNorm > 0 ? Math.min(1, this.#maxGradNorm / (gradNorm + CLIP_EPSILON)) : 1;
    const { parameters, state } = this.#trained;
    const ready = (await this.#optimizer.refresh?.(gradients, state, this.#step)) ?? state;
    const factors = [scalar(clip / scale), scalar(learningRate)] as const;
    const { trained } = await this.#update({ parameters, state: ready }, gradients, ...factors);
    this.#trained = trained;
    this.#step++;
    this.#accumulated.clear();
    return { gradNorm, skipped: false, penalties: values };
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

  /** What rows may have: an adapter's virtual tokens take their places in the context. */
  get #limits(): RowLimits {
    const { config } = this.#base;
    return { ...config, maxPositionEmbeddings: contextOf(config, this.#adapter) };
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
