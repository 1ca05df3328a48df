import { type Compiled, compile, type Tensor } from '@posttrain/core-tensor';
import { globalNorm, mapNamed, type Named } from '@posttrain/core-tensor/optim';
import type { Loss } from '../loss/loss.js';
import type { Pass, PassGraph, PassInputs } from './pass-graph.js';

/**
 * Streaming reduction of per-row gradients, of which those of one row exist at a time: a sum of clipped ones (DP-SGD),
 * of squares (a Fisher diagonal), a projection (LESS). Keep one object: compilation is memoised by it.
 */
export interface GradientReduction<State> {
  readonly name: string;
  /** Traced once for each shape of rows. `norm` is ‖g‖ over all gradients, a scalar. */
  reduce(
    state: State,
    gradients: Named,
    norm: Tensor,
  ): {
    readonly state: State;
    /** Numbers of this row, by name. Default: none. */
    readonly values?: Named;
  };
}

interface ReductionStepResult {
  readonly state: unknown;
  readonly values: Named;
  readonly norm: Tensor;
  readonly loss: Tensor;
  readonly metrics: Readonly<Record<string, Tensor>>;
}
type ReductionStep = Compiled<
  [state: unknown, inputs: PassInputs, isFirst: boolean, rowsOnly: boolean],
  ReductionStepResult
>;

/** Where and of what a pass has its gradients. */
export interface ReductionPlace {
  readonly parameters: Named;
  readonly lossScale: Tensor | undefined;
  /** Whether it is the pass that the adapter's penalty belongs to. */
  readonly isFirst: boolean;
  /** Whether what belongs to no row is left out. */
  readonly rowsOnly: boolean;
}

/** Gradients of passes that are added to no others: each is given to a reduction. */
export class GradientReducer {
  readonly #steps = new WeakMap<GradientReduction<never>, Map<Loss, ReductionStep>>();

  constructor(private readonly graph: PassGraph) {}

  /** Gives the gradients of one pass, without the loss scale, to a reduction. */
  async add<State>(
    reduction: GradientReduction<State>,
    state: State,
    pass: Pass,
    { parameters, lossScale, isFirst, rowsOnly }: ReductionPlace,
  ): Promise<ReductionStepResult & { readonly state: State }> {
    const inputs = await this.graph.inputsOf(pass, parameters, lossScale);
    const result = await this.#step(reduction, pass.loss)(state, inputs, isFirst, rowsOnly);
    return result as ReductionStepResult & { readonly state: State };
  }

  #step<State>(reduction: GradientReduction<State>, loss: Loss): ReductionStep {
    const steps = this.#steps.get(reduction as GradientReduction<never>) ?? new Map<Loss, ReductionStep>();
    this.#steps.set(reduction as GradientReduction<never>, steps);
    const known = steps.get(loss);
    if (known) return known;
    const step: ReductionStep = compile(
      (state, inputs, isFirst, rowsOnly) => {
        const { gradients: scaled, ...result } = this.graph.objective(loss, inputs, isFirst, rowsOnly);
        const { lossScale } = inputs;
        const gradients = lossScale ? mapNamed(scaled, (g) => g.div(lossScale)) : scaled;
        const norm = globalNorm(gradients);
        return { values: {}, ...reduction.reduce(state as State, gradients, norm), norm, ...result };
      },
      { name: `${reduction.name}(${loss.name})`, donate: { 0: 'state' }, engine: this.graph.engine },
    );
    steps.set(loss, step);
    return step;
  }
}

/** Σ g, which starts from zeros. */
export const gradientSum: GradientReduction<Named> = {
  name: 'gradients',
  reduce: (sums, gradients) => ({ state: mapNamed(sums, (sum, name) => sum.add(gradients[name]!)) }),
};
