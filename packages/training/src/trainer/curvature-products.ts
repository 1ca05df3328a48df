import { type Compiled, compile, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { weightedSum } from '../loss/token-loss.js';
import { divergence } from '../readouts/divergence.js';
import type { Curvature } from './curvature.js';
import { lossInputs } from './forward-pass.js';
import type { Pass, PassGraph, PassInputs } from './pass-graph.js';

type ProductStep = Compiled<[sum: Named, inputs: PassInputs, vector: Named], { readonly sum: Named }>;
type DivergenceStep = Compiled<[inputs: PassInputs, trial: Named], Tensor>;

/**
 * What is asked of passes beside losses: products of matrices with vectors, and how far other parameters are. No
 * dropout.
 */
export class CurvatureProducts {
  readonly #products = new Map<Curvature, ProductStep>();
  readonly #divergences = new Map<number, DivergenceStep>();

  constructor(private readonly graph: PassGraph) {}

  /** Adds B v of one pass to a sum. */
  async add(
    sum: Named,
    curvature: Curvature,
    pass: Omit<Pass, 'loss'>,
    parameters: Named,
    vector: Named,
  ): Promise<Named> {
    const { graph } = this;
    const known = this.#products.get(curvature);
    const step: ProductStep =
      known ??
      compile(
        (sums, { parameters: all, frozen, batch, scalars }, direction) => {
          const pass = (trained: Named) => graph.forward(graph.plain({ ...all, ...trained }, frozen), batch);
          const product = curvature.product(pass, lossInputs(batch, scalars), graph.trained(all), direction);
          return { sum: Object.fromEntries(Object.entries(sums).map(([name, x]) => [name, x.add(product[name]!)])) };
        },
        { name: curvature.name, donate: { 0: 'sum' }, engine: graph.engine },
      );
    if (!known) this.#products.set(curvature, step);
    return (await step(sum, await graph.inputsOf(pass, parameters), vector)).sum;
  }

  /** Σ w KL(π_θ ‖ π_trial) of one pass. */
  async divergence(pass: Omit<Pass, 'loss'>, parameters: Named, trial: Named, temperature: number): Promise<number> {
    const { graph } = this;
    const known = this.#divergences.get(temperature);
    const step: DivergenceStep =
      known ??
      compile(
        ({ parameters: all, frozen, batch }, other) => {
          const teacher = { network: graph.base.network, ...graph.plain(all, frozen) };
          const { read } = graph.forward(graph.plain(other, frozen), batch);
          return weightedSum(read(divergence({ teacher, beta: 0, temperature })), batch.weights);
        },
        { name: 'divergence', engine: graph.engine },
      );
    if (!known) this.#divergences.set(temperature, step);
    return (await step(await graph.inputsOf(pass, parameters), trial)).item();
  }
}
