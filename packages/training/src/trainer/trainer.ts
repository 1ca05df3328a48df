import { Key, type NonFinite, scalar, withEngine } from '@posttrain/core-tensor';
import { type Named, type Optimizer, optimizerOf } from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, NO_ADAPTER, withParameters } from '@posttrain/lm';
import type { Readout, ReadoutValue } from '../loss/loss.js';
import { refuseIdleRows, type TrainingRow } from '../loss/rows.js';
import type { Curvature } from './curvature.js';
import { decaysInTransformers } from './decay.js';
import { GradientAccumulator } from './gradient-accumulator.js';
import { KeptTensors } from './kept-tensors.js';
import { type AnyLoss, asLoss } from './lift-token-loss.js';
import { LossScaling, type SavedScale } from './loss-scaling.js';
import { NonFiniteError } from './non-finite-error.js';
import { assertTrainable, copiesOf, firstUnlike } from './parameters.js';
import { type Pass, PassGraph } from './pass-graph.js';
import { type ForwardBackwardResult, PassSum } from './pass-sum.js';
import { type Penalty, penalized } from './penalty.js';
import type { GradientReduction } from './row-gradients.js';
import { type Place, RowPasses } from './row-passes.js';
import type { ValuesOfRows } from './row-values.js';
import { type TensorSnapshot, tensorsByPath, treeOfSnapshot } from './snapshot.js';
import type {
  AssignOptions,
  EvaluateOptions,
  GradientsResult,
  OptimStepOptions,
  OptimStepResult,
  Penalized,
  ReadOptions,
  ReducedGradients,
  ReduceOptions,
  StepInputs,
  TrialInputs,
} from './step-options.js';
import type { TrainableAdapter } from './trainable-adapter.js';
import type { TrainableModel } from './trainable-model.js';
import { type Offload, offloadOf, type ParameterState, type Trained, TrainedTensors } from './trained-tensors.js';
import { type TrainerOptions, type TrainerSettings, trainerOptions } from './trainer-options.js';
import { assertTrainingFits } from './training-memory.js';

/**
 * Four verbs that every training method is written in: `forwardBackward` adds the gradients of a loss over annotated
 * rows, `optimStep` applies them, `adapter`/`model` are what to sample from, and `snapshot`/`restore` save the run;
 * `evaluate` only looks. It knows no method: SFT, distillation, preference and policy optimisation differ in the rows and
 * the loss they bring.
 */
export class Trainer<M extends TrainableModel = CausalLM> {
  readonly #base: M;
  readonly #adapter: TrainableAdapter | undefined;
  readonly #graph: PassGraph;
  readonly #accumulated: GradientAccumulator;
  readonly #passes: RowPasses;
  readonly #trained: TrainedTensors;
  readonly #scaling: LossScaling;
  readonly #kept = new KeptTensors();
  #step = 0;

  /** A trainer that starts from the adapter's parameters (or the model's weights) as they are now; both stay usable. */
  static async create<M extends TrainableModel>(model: M, given: TrainerOptions): Promise<Trainer<M>> {
    const options = trainerOptions.read(given);
    const start = options.adapter ? options.adapter.parameters : model.weights;
    assertTrainable(model, options.adapter, start);
    const asked = optimizerOf(options.optimizer, { decays: decaysInTransformers });
    const optimizer = options.adapter?.optimizer?.(asked) ?? asked;
    const statesElsewhere = options.offloadOptimizer?.nvmePath !== undefined;
    assertTrainingFits(model.name, start, optimizer, { device: model.network.engine.device, statesElsewhere });
    const parameters = await copiesOf(start);
    const offload = options.offloadOptimizer && (await offloadOf(options.offloadOptimizer));
    // What it compiles is for the model's engine, whichever was set while the parameters were read.
    return withEngine(model.network.engine, () => new Trainer(model, { ...options, optimizer }, parameters, offload));
  }

  private constructor(
    model: M,
    settings: TrainerSettings & { readonly optimizer: Optimizer<object> },
    parameters: Named,
    offload?: Offload,
  ) {
    const { optimizer, adapter, seed, maxGradNorm, maxTokensPerPass, gradientCheckpointing, fp16, neftuneNoiseAlpha } =
      settings;
    // Weights that are trained are copies: the model's own need not stay in memory for them.
    this.#base = adapter ? model : model.withWeights({});
    this.#adapter = adapter;
    if (Object.keys(parameters).length === 0)
      throw new PosttrainError('NOTHING_TO_TRAIN', 'the adapter has no parameters');
    const entries = Object.entries(parameters);
    const trained = new Set(entries.filter(([name, p]) => optimizer.trains?.(name, p) ?? true).map(([name]) => name));
    if (trained.size === 0) throw new PosttrainError('NOTHING_TO_TRAIN', 'the optimizer freezes every parameter');
    const passSettings = {
      gradientCheckpointing,
      fp16,
      neftuneNoiseAlpha,
      trains: (name: string) => trained.has(name),
    };
    this.#graph = new PassGraph(this.#base, adapter, passSettings);
    this.#trained = new TrainedTensors(optimizer, maxGradNorm, parameters, offload);
    this.#accumulated = new GradientAccumulator(this.#graph, parameters);
    this.#scaling = new LossScaling(settings.lossScaling ?? (fp16 || undefined));
    const planning = { dropout: Key.fromSeed(seed), maxTokensPerPass };
    this.#passes = new RowPasses(this.#graph, this.#accumulated, this.#scaling, planning);
  }

  /** Number of updates made. */
  get step(): number {
    return this.#step;
  }

  /** The trained tensors, as they are now. Donated to the next `optimStep`: read or copy them before. */
  get parameters(): Named {
    return this.#trained.parameters;
  }

  /** Those of the parameters that have a gradient: all but what the optimizer's groups freeze. */
  get variables(): Named {
    return this.#graph.trained(this.parameters);
  }

  /** The trained tensors as they are now, in memory of their own: anchors, or what a step at trial parameters goes back to. */
  copyParameters(): Promise<Named> {
    return copiesOf(this.parameters);
  }

  /**
   * Puts other numbers in the place of the trained tensors: a step that was tried and is accepted, or one that is taken
   * back. The optimizer's state stays. With `countsStep` it is an update that the run has made: a rule of its own,
   * instead of `optimStep`.
   *
   * @throws PosttrainError PARAMETERS where one is missing or of another shape, or gradients have been added since the last update
   */
  async assign(parameters: Named, { countsStep = false }: AssignOptions = {}): Promise<void> {
    if (this.#accumulated.passes.length > 0) {
      const problem = 'parameters are given, but gradients have been added to those that are there';
      throw new PosttrainError('PARAMETERS', `step ${this.#step}: ${problem}`);
    }
    await this.#trained.assign(parameters, this.#step);
    if (countsStep) this.#step++;
  }

  /**
   * The optimizer state, by parameter: Adam's `mean` m, `square` v and `step`, other optimizers' by their own
   * names. Donated to the next `optimStep`: read or copy them before. Frozen parameters have none.
   */
  get optimizerState(): Readonly<Record<string, ParameterState>> {
    return this.#trained.optimizerState;
  }

  /** What `keep` was given under a name, without the name; undefined where nothing was. */
  kept(name: string): Named | undefined {
    return this.#kept.of(name);
  }

  /** Tensors of a rule for updates, in the place of what was kept under its name: they are in snapshots, as `kept.NAME.…`. */
  keep(name: string, tensors: Named): void {
    this.#kept.keep(name, tensors);
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
   * Accumulates the gradients of a loss (over readouts, or over tokens) over `rows`. The rows' weights carry the
   * normalisation, so splitting rows over several calls or micro-batches changes nothing but rounding. When the loss is
   * not finite, the call has added nothing: what earlier calls added is still there, and the error names the first tensor
   * that went wrong.
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
    inputs: StepInputs = {},
  ): Promise<ForwardBackwardResult> {
    const loss = asLoss(given);
    if (this.#adapter) refuseIdleRows(rows, this.#adapter);
    const accumulated = this.#accumulated;
    const before = accumulated.passes.length;
    const sum = new PassSum(loss);
    const passes = this.#passes.lossPasses(rows, loss, inputs, this.#step);
    const routed = passes.length > 1 ? await accumulated.routedTokens(passes, this.parameters) : undefined;
    for (const planned of passes) {
      const pass = routed ? { ...planned, routed } : planned;
      const result = await accumulated.add(pass, this.parameters, this.#scaling.tensor);
      const value = await sum.add(result);
      if (!Number.isFinite(value)) {
        await accumulated.keep(before, this.parameters, this.#scaling.tensor);
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
    options: ReadOptions = {},
  ): Promise<ValuesOfRows<T>> {
    return this.#passes.read(rows, readout, options, this.#at());
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
    options: EvaluateOptions = {},
  ): Promise<ForwardBackwardResult> {
    return this.#passes.evaluate(rows, asLoss(given), options, this.#at(options));
  }

  /**
   * Loss and gradients of rows, at the parameters as they are now or at others, before clipping and without the loss
   * scale. They are added to nothing: several of a step stay apart, whatever `forwardBackward` has added.
   *
   * @throws TrainingRowError, NonFiniteError
   */
  async gradients(rows: readonly TrainingRow[], loss: AnyLoss, inputs: TrialInputs = {}): Promise<GradientsResult> {
    return this.#passes.gradients(rows, asLoss(loss), inputs, this.#at(inputs));
  }

  /**
   * Streams the gradient of every row (of every group, where the loss has groups) into a reduction, so that
   * memory has one at a time. Values and norms are in the order of the rows.
   *
   * @throws TrainingRowError, NonFiniteError; PosttrainError ROW_GRADIENTS where a part of the loss belongs to no row
   */
  async reduceGradients<State>(
    rows: readonly TrainingRow[],
    loss: AnyLoss,
    reduction: GradientReduction<State>,
    { state, ...inputs }: ReduceOptions<State>,
  ): Promise<ReducedGradients<State>> {
    return this.#passes.reduceGradients(rows, asLoss(loss), { reduction, state, inputs }, this.#at(inputs));
  }

  /**
   * B v of a symmetric matrix B over what is trained, which is not made: `hessian(loss)` or `fisher()` of rows. Without
   * dropout, the adapter's penalty and the routers' loss.
   *
   * @throws TrainingRowError; PosttrainError VECTOR where the vector lacks a trained tensor
   */
  async product(
    rows: readonly TrainingRow[],
    curvature: Curvature,
    vector: Named,
    inputs: TrialInputs = {},
  ): Promise<Named> {
    return this.#passes.product(rows, curvature, vector, inputs, this.#at(inputs));
  }

  /**
   * Σ w KL(π ‖ π_trial) in nats over the predictions of rows, with w their weights and over the whole vocabulary: how
   * far trial parameters would take what the model predicts. At the parameters themselves it is 0, and its Hessian
   * there is `fisher()`.
   *
   * @throws TrainingRowError; OptionError for a temperature that is not above 0
   */
  async divergence(
    rows: readonly TrainingRow[],
    trial: Named,
    { temperature = 1 }: { readonly temperature?: number } = {},
  ): Promise<number> {
    return this.#passes.divergence(rows, trial, temperature, this.#at());
  }

  #at({ parameters = this.parameters }: TrialInputs = {}): Place {
    return { parameters, step: this.#step };
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
    const scale = await this.#scaling.value();
    const { all: norm } = await this.#trained.norms(this.#accumulated.gradients);
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
   * Applies the gradients accumulated since the last call and gives their norm before clipping. When that is not finite, the
   * weights and the optimizer's state stay as they were, and the gradients start again from zero. `gradients`, where they are
   * given, are applied in the place of those: one for every parameter, as `takeGradients` gives them.
   *
   * @throws NonFiniteError; PosttrainError without a `forwardBackward` since the last update, or with one whose gradients are
   *   still there while others are given
   */
  async optimStep({ learningRate, gradients, penalties = [] }: OptimStepOptions): Promise<OptimStepResult> {
    if (gradients) return this.#applyGiven(gradients, learningRate, penalties);
    const passes = this.#added();
    const scale = await this.#scaling.value();
    const all = await this.#penalized(this.#accumulated.gradients, scale, penalties);
    const norms = await this.#trained.norms(all.gradients);
    const norm = norms.all / scale;
    const present = this.#scaling.tensor;
    await this.#scaling.next(Number.isFinite(norm));
    if (!Number.isFinite(norm)) {
      this.#accumulated.clear();
      if (this.#scaling.canFall(scale)) return { gradNorm: norm, skipped: true, penalties: all.values };
      throw NonFiniteError.ofStep('the gradient norm', norm, this.#step, await this.#findNonFinite(passes, present));
    }
    return this.#apply(all, { norm, clipped: norms.clipped / scale }, scale, learningRate);
  }

  async #applyGiven(gradients: Named, learningRate: number, penalties: readonly Penalty[]): Promise<OptimStepResult> {
    const { passes } = this.#accumulated;
    const wrong = firstUnlike(this.variables, gradients);
    const what = wrong ? `there is none of the shape of ${wrong}` : 'those of forwardBackward have not been taken';
    if (wrong || passes.length > 0) {
      throw new PosttrainError('GRADIENTS', `step ${this.#step}: gradients are given, but ${what}`);
    }
    const all = await this.#penalized(gradients, 1, penalties);
    const { all: norm, clipped } = await this.#trained.norms(all.gradients);
    if (!Number.isFinite(norm)) throw NonFiniteError.ofStep('the gradient norm', norm, this.#step, undefined);
    return this.#apply(all, { norm, clipped }, 1, learningRate);
  }

  #penalized(gradients: Named, scale: number, penalties: readonly Penalty[]): Promise<Penalized> {
    return penalized(gradients, penalties, this.parameters, scalar(scale), this.#graph.engine);
  }

  async #apply(
    { gradients, values }: Penalized,
    { norm, clipped }: { readonly norm: number; readonly clipped: number },
    scale: number,
    learningRate: number,
  ): Promise<OptimStepResult> {
    await this.#trained.apply(gradients, { norm: clipped, scale, learningRate, step: this.#step });
    this.#step++;
    this.#accumulated.clear();
    return { gradNorm: norm, skipped: false, penalties: values };
  }

  /**
   * Everything a resumed run needs, by name: trained parameters under `parameters.`, optimizer state under `state.`, the
   * loss scale under `lossScale.`, and what rules keep under `kept.`.
   */
  snapshot(): TensorSnapshot {
    return { step: this.#step, tensors: { ...tensorsByPath(this.#saved()), ...this.#kept.saved } };
  }

  /**
   * Continues from a snapshot of a trainer with the same parameters and optimizer.
   *
   * @throws PosttrainError when a tensor is missing or of another shape or dtype; nothing has been changed then
   */
  restore(snapshot: TensorSnapshot): void {
    const { lossScale, ...trained } = treeOfSnapshot(this.#saved(), snapshot);
    this.#trained.restore(trained);
    this.#scaling.restore(lossScale);
    this.#accumulated.clear();
    this.#kept.restore(snapshot.tensors);
    this.#step = snapshot.step;
  }

  #saved(): Trained & { readonly lossScale?: SavedScale } {
    const lossScale = this.#scaling.saved;
    return { ...this.#trained.saved, ...(lossScale && { lossScale }) };
  }

  #findNonFinite(passes: readonly Pass[], lossScale = this.#scaling.tensor): Promise<NonFinite | undefined> {
    return this.#graph.findNonFinite(passes, this.parameters, lossScale);
  }
}
