import { type Key, zerosBuffer } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { OptionError, PosttrainError } from '@posttrain/interfaces';
import { contextOf } from '@posttrain/lm';
import type { Loss, Readout, ReadoutValue } from '../loss/loss.js';
import { checkRows, microBatches, type RowLimits, type TrainingRow, toBatch } from '../loss/rows.js';
import type { Curvature } from './curvature.js';
import { CurvatureProducts } from './curvature-products.js';
import type { GradientAccumulator } from './gradient-accumulator.js';
import type { LossScaling } from './loss-scaling.js';
import { NonFiniteError } from './non-finite-error.js';
import { firstUnlike } from './parameters.js';
import type { Pass, PassGraph } from './pass-graph.js';
import { type ForwardBackwardResult, PassSum } from './pass-sum.js';
import { GradientReducer, type GradientReduction, gradientSum } from './row-gradients.js';
import { rowValues, type ValuesOfRows } from './row-values.js';
import { scalarsOf } from './scalars.js';
import type { EvaluateOptions, GradientsResult, ReadOptions, ReducedGradients, StepInputs } from './step-options.js';

/** Which parameters a pass is at, and the number of the step, for dropout and messages. */
export interface Place {
  readonly parameters: Named;
  readonly step: number;
}

type LossPass = Pass & { readonly rows: readonly TrainingRow[] };

/** What is computed of rows and changes nothing: losses, readouts, gradients and products at any parameters. */
export class RowPasses {
  readonly #reducer: GradientReducer;
  readonly #products: CurvatureProducts;

  constructor(
    private readonly graph: PassGraph,
    private readonly accumulated: GradientAccumulator,
    private readonly scaling: LossScaling,
    private readonly settings: { readonly dropout: Key; readonly maxTokensPerPass: number },
  ) {
    this.#reducer = new GradientReducer(graph);
    this.#products = new CurvatureProducts(graph);
  }

  /** What rows may have: an adapter's virtual tokens take their places in the context. */
  get limits(): RowLimits {
    const { config } = this.graph.base;
    return { ...config, maxPositionEmbeddings: contextOf(config, this.graph.adapter) };
  }

  /** The micro-batches of rows, with what dropout draws for them when they are the next to be added. */
  planned(
    rows: readonly TrainingRow[],
    { groupSize = 1, annotations }: Pick<Loss, 'groupSize' | 'annotations'>,
    step: number,
    maxTokens = this.settings.maxTokensPerPass,
  ) {
    const before = this.accumulated.passes.length;
    return microBatches(rows, maxTokens, groupSize).map((rowsOfPass, i) => ({
      rows: rowsOfPass,
      batch: toBatch(rowsOfPass, annotations, groupSize, this.graph.adapter),
      dropoutKey: this.settings.dropout
        .child(step)
        .child(before + i)
        .toTensor(),
    }));
  }

  /** The same with a loss and its numbers. @throws TrainingRowError */
  lossPasses(
    rows: readonly TrainingRow[],
    loss: Loss,
    { scalars }: StepInputs,
    step: number,
    maxTokens?: number,
  ): LossPass[] {
    const numbers = scalarsOf(loss, scalars);
    checkRows(rows, loss, this.limits);
    return this.planned(rows, loss, step, maxTokens).map((pass) => ({ ...pass, loss, scalars: numbers }));
  }

  async read<T extends ReadoutValue>(
    rows: readonly TrainingRow[],
    readout: Readout<T>,
    { groupSize = 1, annotations = readout.annotations ?? [] }: ReadOptions,
    { parameters, step }: Place,
  ): Promise<ValuesOfRows<T>> {
    checkRows(rows, { annotations, ...(readout.wholeRow && { wholeRow: true }) }, this.limits);
    return rowValues(rows, readout, this.planned(rows, { groupSize, annotations }, step), (pass) =>
      this.accumulated.read(readout, { ...pass, scalars: {} }, parameters),
    );
  }

  async evaluate(
    rows: readonly TrainingRow[],
    loss: Loss,
    { signal, ...inputs }: EvaluateOptions,
    { parameters, step }: Place,
  ): Promise<ForwardBackwardResult> {
    const numbers = scalarsOf(loss, inputs.scalars);
    const groupSize = loss.groupSize ?? 1;
    checkRows(rows, loss, this.limits);
    const sum = new PassSum(loss);
    for (const rowsOfPass of microBatches(rows, this.settings.maxTokensPerPass, groupSize)) {
      signal?.throwIfAborted();
      const batch = toBatch(rowsOfPass, loss.annotations, groupSize, this.graph.adapter);
      const pass = { loss, batch, dropoutKey: this.settings.dropout.toTensor(), scalars: numbers };
      const value = await sum.add(await this.accumulated.evaluate(pass, parameters));
      if (Number.isFinite(value)) continue;
      throw NonFiniteError.ofStep('the loss of evaluation', value, step, await this.#findNonFinite([pass], parameters));
    }
    return sum.result(rows);
  }

  async gradients(
    rows: readonly TrainingRow[],
    loss: Loss,
    inputs: StepInputs,
    place: Place,
  ): Promise<GradientsResult> {
    const passes = this.lossPasses(rows, loss, inputs, place.step);
    const routed = passes.length > 1 ? await this.accumulated.routedTokens(passes, place.parameters) : undefined;
    const all = routed ? passes.map((pass) => ({ ...pass, routed })) : passes;
    const zeros = mapNamed(this.graph.trained(place.parameters), (p) => zerosBuffer(p.shape));
    const sum = new PassSum(loss);
    const { state } = await this.#reduce(all, gradientSum, zeros, sum, place);
    return { gradients: state, ...sum.result(rows) };
  }

  async reduceGradients<State>(
    rows: readonly TrainingRow[],
    loss: Loss,
    {
      reduction,
      state: start,
      inputs: { rowsOnly = false, ...inputs },
    }: { reduction: GradientReduction<State>; state: State; inputs: StepInputs & { rowsOnly?: boolean } },
    place: Place,
  ): Promise<ReducedGradients<State>> {
    const { adapter, experts, base } = this.graph;
    const shared = experts
      ? 'the loss of its routers (output_router_logits)'
      : adapter?.penalty && "the adapter's penalty";
    if (shared && !rowsOnly) {
      const problem = `${shared} belongs to no row, so that gradients of rows do not have it; train without it, or leave it out (rowsOnly)`;
      throw new PosttrainError('ROW_GRADIENTS', `${base.name}: ${problem}`);
    }
    // Every row, or group of rows, on its own: the shortest first. Copies, since one object may stand in several
    // places.
    const copies = rows.map((row) => ({ ...row }));
    const places = new Map<TrainingRow, number>(copies.map((row, i) => [row, i]));
    const passes = this.lossPasses(copies, loss, inputs, place.step, 1);
    const sum = new PassSum(loss);
    const { state, values, norms } = await this.#reduce(passes, reduction, start, sum, { ...place, rowsOnly });
    const order = passes
      .map((pass, i) => ({ i, at: places.get(pass.rows[0]!)! }))
      .sort((a, b) => a.at - b.at)
      .map(({ i }) => i);
    const names = Object.keys(values[0] ?? {});
    const ordered = Object.fromEntries(names.map((name) => [name, order.map((i) => values[i]![name]!)]));
    return { state, values: ordered, norms: order.map((i) => norms[i]!), ...sum.result(rows) };
  }

  /** Gives the gradients of every pass to a reduction, one after the other. */
  async #reduce<State>(
    passes: readonly Pass[],
    reduction: GradientReduction<State>,
    start: State,
    sum: PassSum,
    { parameters, step, rowsOnly = false }: Place & { readonly rowsOnly?: boolean },
  ) {
    let state = start;
    const values: Record<string, Float32Array>[] = [];
    const norms: number[] = [];
    for (const [i, pass] of passes.entries()) {
      const at = {
        parameters,
        lossScale: this.scaling.tensor,
        isFirst: i === 0 && !rowsOnly && this.graph.adapter?.penalty !== undefined,
        rowsOnly,
      };
      const result = await this.#reducer.add(reduction, state, pass, at);
      state = result.state;
      const [value, norm] = [await sum.add(result), await result.norm.item()];
      const wrong = Number.isFinite(value) ? (Number.isFinite(norm) ? undefined : 'the gradient norm') : 'the loss';
      if (wrong) {
        const found = await this.#findNonFinite([pass], parameters);
        throw NonFiniteError.ofStep(wrong, wrong === 'the loss' ? value : norm, step, found);
      }
      norms.push(norm);
      const read = Object.entries(result.values).map(async ([name, x]) => [name, Float32Array.from(await x.data())]);
      values.push(Object.fromEntries(await Promise.all(read)));
    }
    return { state, values, norms };
  }

  async product(
    rows: readonly TrainingRow[],
    curvature: Curvature,
    vector: Named,
    inputs: StepInputs,
    { parameters, step }: Place,
  ): Promise<Named> {
    const trained = this.graph.trained(parameters);
    const wrong = firstUnlike(trained, vector);
    if (wrong) {
      const problem = `the vector has nothing of the shape of ${wrong}; it has one tensor for each that is trained`;
      throw new PosttrainError('VECTOR', `step ${step}: ${problem}`);
    }
    const direction = mapNamed(trained, (_, name) => vector[name]!);
    const scalars = scalarsOf(curvature, inputs.scalars);
    checkRows(rows, curvature, this.limits);
    let sum: Named = mapNamed(trained, (p) => zerosBuffer(p.shape));
    for (const pass of this.planned(rows, curvature, step)) {
      sum = await this.#products.add(sum, curvature, { ...pass, scalars }, parameters, direction);
    }
    return sum;
  }

  async divergence(rows: readonly TrainingRow[], trial: Named, temperature: number, { parameters, step }: Place) {
    if (!(temperature > 0)) {
      const problem = `temperature is ${temperature}; it must be above 0.`;
      throw new OptionError('INVALID_OPTION', 'Trainer.divergence', 'temperature', problem);
    }
    checkRows(rows, { annotations: [] }, this.limits);
    let total = 0;
    for (const pass of this.planned(rows, { annotations: [] }, step)) {
      total += await this.#products.divergence({ ...pass, scalars: {} }, parameters, trial, temperature);
    }
    return total;
  }

  #findNonFinite(passes: readonly Pass[], parameters: Named) {
    return this.graph.findNonFinite(passes, parameters, this.scaling.tensor);
  }
}
