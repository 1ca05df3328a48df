import { type Compiled, compile, realize, type Tensor, zerosBuffer } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import type { Loss, LossResult, Readout, ReadoutValue } from '../loss/loss.js';
import type { Pass, PassGraph, PassInputs, RoutedTokens } from './pass-graph.js';

/** `isFirst`: overwrites the accumulator instead of adding to it. */
type MicroStep = Compiled<
  [gradients: Named, inputs: PassInputs, isFirst: boolean],
  LossResult & { readonly gradients: Named }
>;

/** Loss and metrics of a pass without a gradient. */
type EvaluationStep = Compiled<[inputs: PassInputs], LossResult>;

/** What a readout gives of a pass as training computes it, without a gradient. */
type ReadStep = Compiled<[inputs: PassInputs], ReadoutValue>;

/** The sum of the gradients of passes, in one piece of memory, and which passes they are. */
export class GradientAccumulator {
  #gradients: Named;
  #passes: Pass[] = [];
  readonly #microSteps = new WeakMap<Loss, MicroStep>();
  readonly #evaluationSteps = new WeakMap<Loss, EvaluationStep>();
  readonly #readSteps = new Map<Readout<ReadoutValue>, ReadStep>();
  readonly #scaled = compile((gradients: Named, factor: Tensor): Named => mapNamed(gradients, (g) => g.mul(factor)), {
    name: 'takeGradients',
  });
  readonly #route: Compiled<[inputs: PassInputs], RoutedTokens>;

  constructor(
    private readonly graph: PassGraph,
    parameters: Named,
  ) {
    // Before anything is added, in memory of their own.
    this.#gradients = mapNamed(graph.trained(parameters), (p) => zerosBuffer(p.shape));
    this.#route = compile((inputs: PassInputs) => graph.routedTokens(inputs), { name: 'routedTokens' });
  }

  /** What has been added since the last `clear`, in order. */
  get passes(): readonly Pass[] {
    return this.#passes;
  }

  /** Multiplied by the loss scale. They mean nothing while there is no pass. */
  get gradients(): Named {
    return this.#gradients;
  }

  /**
   * How the routers share out the tokens of passes, which is what balances loads over them together: without it, the loss
   * would depend on how rows are split. Undefined where the model has no such loss.
   */
  async routedTokens(passes: readonly Pass[], parameters: Named): Promise<RoutedTokens | undefined> {
    if (!this.graph.experts) return undefined;
    let all: RoutedTokens | undefined;
    for (const pass of passes) {
      const { choices, tokens } = await this.#route(await this.graph.inputsOf(pass, parameters));
      all = all ? { choices: all.choices.add(choices), tokens: all.tokens.add(tokens) } : { choices, tokens };
    }
    await realize(Object.values(all!), { engine: this.graph.engine });
    return all;
  }

  /** Adds the gradients of one pass. */
  async add(pass: Pass, parameters: Named, lossScale?: Tensor): Promise<LossResult> {
    const inputs = await this.graph.inputsOf(pass, parameters, lossScale);
    const isFirst = this.#passes.length === 0;
    const { gradients, ...result } = await this.#microStep(pass.loss)(this.#gradients, inputs, isFirst);
    this.#gradients = gradients;
    this.#passes.push(pass);
    return result;
  }

  /** Loss and metrics of one pass under the parameters: no gradient, no dropout, no loss of the routers. */
  async evaluate(pass: Pass, parameters: Named): Promise<LossResult> {
    const { loss } = pass;
    const known = this.#evaluationSteps.get(loss);
    const step: EvaluationStep =
      known ??
      compile(
        ({ parameters: trained, frozen, batch, scalars }) =>
          this.graph.lossOf(loss, this.graph.plain(trained, frozen), batch, scalars),
        { name: `evaluate(${loss.name})`, engine: this.graph.engine },
      );
    if (!known) this.#evaluationSteps.set(loss, step);
    return step(await this.graph.inputsOf(pass, parameters));
  }

  /** What a readout gives of one pass, with its dropout. */
  async read<T extends ReadoutValue>(readout: Readout<T>, pass: Omit<Pass, 'loss'>, parameters: Named): Promise<T> {
    const known = this.#readSteps.get(readout);
    const step: ReadStep =
      known ??
      compile(
        ({ parameters: trained, frozen, batch, dropoutKey }) =>
          this.graph.forward(this.graph.training(trained, frozen, dropoutKey), batch).read(readout),
        { name: `read(${readout.name})`, engine: this.graph.engine },
      );
    if (!known) this.#readSteps.set(readout, step);
    return (await step(await this.graph.inputsOf(pass, parameters))) as T;
  }

  /** Takes the accumulated gradients, times `factor`, as a copy, and resets the accumulator. */
  async take(factor: Tensor): Promise<Named> {
    const taken = await this.#scaled(this.#gradients, factor);
    this.clear();
    return taken;
  }

  /** Resets the accumulator, whose memory is reused. */
  clear(): void {
    this.#passes = [];
  }

  /** Rolls back to the first `count` passes, by replaying them: a sum cannot be undone. */
  async keep(count: number, parameters: Named, lossScale?: Tensor): Promise<void> {
    const kept = this.#passes.slice(0, count);
    this.clear();
    for (const pass of kept) await this.add(pass, parameters, lossScale);
  }

  #microStep(loss: Loss): MicroStep {
    const known = this.#microSteps.get(loss);
    if (known) return known;
    const microStep: MicroStep = compile(
      (gradients, inputs, isFirst) => {
        const { gradients: added, ...result } = this.graph.objective(loss, inputs, isFirst);
        return { gradients: isFirst ? added : mapNamed(gradients, (g, name) => g.add(added[name]!)), ...result };
      },
      { name: `forwardBackward(${loss.name})`, donate: { 0: 'gradients' }, engine: this.graph.engine },
    );
    this.#microSteps.set(loss, microStep);
    return microStep;
  }
}
