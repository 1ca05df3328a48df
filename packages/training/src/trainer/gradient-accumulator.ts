import {
  type Compiled,
  compile,
  findNonFinite,
  type NonFinite,
  nameScope,
  realize,
  type Tensor,
  valueAndGrad,
  zerosBuffer,
} from '@posttrain/core-tensor';
import { globalNorm, mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import {
  type ExpertsConfig,
  type LayerHooks,
  loadBalancingLossOf,
  type RouterSums,
  recordRouterLogits,
  routerSums,
} from '@posttrain/lm';
import type { Loss, LossResult, Readout, ReadoutValue } from '../loss/loss.js';
import type { RowBatch } from '../loss/rows.js';
import { forwardPass } from './forward-pass.js';
import type { TrainableAdapter } from './trainable-adapter.js';
import type { TrainableModel } from './trainable-model.js';

/** One micro-batch, enough to compute its gradients again. */
export interface Pass {
  readonly loss: Loss;
  readonly batch: RowBatch;
  readonly dropoutKey: Tensor;
  /** Numbers of the step that the loss asks for, float32 scalars. */
  readonly scalars: Named;
  /** How the routers of a mixture of experts share out the tokens of all passes of a step. Left out: those of this one. */
  readonly routed?: RoutedTokens;
}

type RoutedTokens = Pick<RouterSums, 'choices' | 'tokens'>;

interface PassInputs {
  readonly parameters: Named;
  readonly frozen: Named;
  readonly batch: RowBatch;
  readonly dropoutKey: Tensor;
  readonly scalars: Named;
  readonly routed?: RoutedTokens;
  /** What the gradients are multiplied by; left out, 1. */
  readonly lossScale?: Tensor;
}

/** `isFirst`: the gradients' memory is written over, not added to. */
type MicroStep = Compiled<
  [gradients: Named, inputs: PassInputs, isFirst: boolean],
  LossResult & { readonly gradients: Named }
>;

/** `NAME.weight.absmax` and the like: what a quantised weight is made of beside its codes. */
const isQuantizedPart = (name: string): boolean => name.includes('.weight.');

/** Gradients before anything was added to them, in memory of their own. */
const noGradients = (parameters: Named): Named => mapNamed(parameters, (p) => zerosBuffer(p.shape));

/** Loss and metrics of a pass without a gradient. */
type EvaluationStep = Compiled<[inputs: PassInputs], LossResult>;

/** What a readout gives of a pass as training computes it, without a gradient. */
type ReadStep = Compiled<[inputs: PassInputs], ReadoutValue>;

/** The sum of the gradients of passes, in one piece of memory, and which passes they are. */
export class GradientAccumulator {
  #gradients: Named;
  #passes: Pass[] = [];
  readonly #microSteps = new Map<Loss, MicroStep>();
  readonly #evaluationSteps = new Map<Loss, EvaluationStep>();
  readonly #readSteps = new Map<Readout<ReadoutValue>, ReadStep>();
  readonly #scaled = compile((gradients: Named, factor: Tensor): Named => mapNamed(gradients, (g) => g.mul(factor)), {
    name: 'takeGradients',
  });
  readonly #norm = compile((gradients: Named) => globalNorm(gradients), { name: 'gradNorm' });

  #frozen: Named | undefined;
  /** Of a model whose training adds its routers' loss. */
  readonly #experts: ExpertsConfig | undefined;
  readonly #route = compile(
    ({ parameters, frozen, batch, dropoutKey }: PassInputs): RoutedTokens => {
      const { weights, hooks: plain } = this.#layers(parameters, frozen, dropoutKey);
      const { hooks, logits } = recordRouterLogits(plain);
      this.base.network.hidden(weights, batch, hooks);
      const mask = batch.segments.minimum(1);
      const { choices, tokens } = routerSums(logits, { perToken: this.#experts!.perToken, mask });
      return { choices, tokens };
    },
    { name: 'routedTokens' },
  );

  constructor(
    private readonly base: TrainableModel,
    private readonly adapter: TrainableAdapter | undefined,
    private readonly options: { readonly gradientCheckpointing: boolean; readonly fp16: boolean },
    parameters: Named,
  ) {
    this.#gradients = noGradients(parameters);
    const { experts } = base.config;
    this.#experts = experts?.outputRouterLogits ? experts : undefined;
    if (this.#experts && options.gradientCheckpointing) {
      throw new PosttrainError(
        'ROUTER_LOSS',
        `${base.name}: the loss of its routers (output_router_logits) cannot be had with gradientCheckpointing, which ` +
          'computes layers apart; turn one of them off.',
      );
    }
  }

  /** What has been added since the last `clear`, in order. */
  get passes(): readonly Pass[] {
    return this.#passes;
  }

  /** Multiplied by the loss scale. They mean nothing while there is no pass. */
  get gradients(): Named {
    return this.#gradients;
  }

  async norm(gradients: Named = this.#gradients): Promise<number> {
    return (await this.#norm(gradients)).item();
  }

  /**
   * How the routers share out the tokens of passes, which is what balances loads over them together: without it, the loss
   * would depend on how rows are split. Undefined where the model has no such loss.
   */
  async routedTokens(passes: readonly Pass[], parameters: Named): Promise<RoutedTokens | undefined> {
    if (!this.#experts) return undefined;
    let all: RoutedTokens | undefined;
    for (const pass of passes) {
      const { choices, tokens } = await this.#route(await this.#inputsOf(pass, parameters, undefined));
      all = all ? { choices: all.choices.add(choices), tokens: all.tokens.add(tokens) } : { choices, tokens };
    }
    await realize(Object.values(all!), { engine: this.base.network.engine });
    return all;
  }

  /** Adds the gradients of one pass. */
  async add(pass: Pass, parameters: Named, lossScale?: Tensor): Promise<LossResult> {
    const inputs = await this.#inputsOf(pass, parameters, lossScale);
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
        ({ parameters: trained, frozen, batch, scalars }) => {
          const compute = this.#inComputeType(trained);
          const [weights, hooks] = this.adapter ? [frozen, this.adapter.hooks(compute)] : [compute, {}];
          return this.#lossOf(loss, weights, batch, hooks, scalars);
        },
        { name: `evaluate(${loss.name})`, engine: this.base.network.engine },
      );
    if (!known) this.#evaluationSteps.set(loss, step);
    return step(await this.#inputsOf(pass, parameters, undefined));
  }

  /** What a readout gives of one pass, with its dropout. */
  async read<T extends ReadoutValue>(readout: Readout<T>, pass: Omit<Pass, 'loss'>, parameters: Named): Promise<T> {
    const known = this.#readSteps.get(readout);
    const step: ReadStep =
      known ??
      compile(
        ({ parameters: trained, frozen, batch, dropoutKey }) => {
          const { weights, hooks } = this.#layers(trained, frozen, dropoutKey);
          return forwardPass(this.base.network, weights, batch, { hooks }).read(readout);
        },
        { name: `read(${readout.name})`, engine: this.base.network.engine },
      );
    if (!known) this.#readSteps.set(readout, step);
    return (await step(await this.#inputsOf(pass, parameters, undefined))) as T;
  }

  /** What has been added, times `factor`, in memory of its own; the next pass is then the first again. */
  async take(factor: Tensor): Promise<Named> {
    const taken = await this.#scaled(this.#gradients, factor);
    this.clear();
    return taken;
  }

  /** Forgets all passes. Their memory takes the next ones. */
  clear(): void {
    this.#passes = [];
  }

  /** Takes all but the first `count` passes back: gradients that were added cannot be, so those that stay are added again. */
  async keep(count: number, parameters: Named, lossScale?: Tensor): Promise<void> {
    const kept = this.#passes.slice(0, count);
    this.clear();
    for (const pass of kept) await this.add(pass, parameters, lossScale);
  }

  /** The first tensor that went wrong in any of the passes. */
  async findNonFinite(passes: readonly Pass[], parameters: Named, lossScale?: Tensor): Promise<NonFinite | undefined> {
    for (const [i, pass] of passes.entries()) {
      const { parameters: variables, frozen, ...inputs } = await this.#inputsOf(pass, parameters, lossScale);
      const found = await findNonFinite(
        (trained: Named, weights: Named, rest: Omit<PassInputs, 'parameters' | 'frozen'>) =>
          this.#objective(pass.loss, { ...rest, parameters: trained, frozen: weights }, i === 0),
        [variables, frozen, inputs],
        ['parameters', 'weights', 'pass'],
        { engine: this.base.network.engine },
      );
      if (found) return found;
    }
    return undefined;
  }

  async #inputsOf(
    { batch, dropoutKey, scalars, routed }: Omit<Pass, 'loss'>,
    parameters: Named,
    lossScale: Tensor | undefined,
  ): Promise<PassInputs> {
    this.#frozen ??= this.adapter ? await this.#frozenWeights() : {};
    const optional = { ...(routed && { routed }), ...(lossScale && { lossScale }) };
    return { parameters, frozen: this.#frozen, batch, dropoutKey, scalars, ...optional };
  }

  /** The weights that are not trained, in the type that passes compute in. */
  async #frozenWeights(): Promise<Named> {
    const frozen = this.#inComputeType(this.base.weights);
    await realize(Object.values(frozen), { engine: this.base.network.engine });
    return frozen;
  }

  /** Parts of quantised weights stay as they are: their products give what they are multiplied with. */
  #inComputeType(weights: Named): Named {
    if (!this.options.fp16) return weights;
    return mapNamed(weights, (x, name) => (x.dtype === 'float32' && !isQuantizedPart(name) ? x.cast('float16') : x));
  }

  #microStep(loss: Loss): MicroStep {
    const known = this.#microSteps.get(loss);
    if (known) return known;
    const microStep: MicroStep = compile(
      (gradients, inputs, isFirst) => {
        const { gradients: added, ...result } = this.#objective(loss, inputs, isFirst);
        return { gradients: isFirst ? added : mapNamed(gradients, (g, name) => g.add(added[name]!)), ...result };
      },
      { name: `forwardBackward(${loss.name})`, donate: { 0: 'gradients' }, engine: this.base.network.engine },
    );
    this.#microSteps.set(loss, microStep);
    return microStep;
  }

  /** What a pass runs over: the trained tensors stand in the weights or in an adapter. */
  #layers(
    variables: Named,
    frozen: Named,
    dropoutKey: Tensor,
  ): { readonly weights: Named; readonly hooks: LayerHooks } {
    const { adapter } = this;
    const trained = this.#inComputeType(variables);
    const hooks = adapter?.trainingHooks(trained, dropoutKey) ?? {};
    return { weights: adapter ? frozen : trained, hooks };
  }

  /** Loss and metrics of one pass, to be traced. */
  #lossOf(loss: Loss, weights: Named, batch: RowBatch, hooks: LayerHooks, scalars: Named): LossResult {
    const { gradientCheckpointing } = this.options;
    const { read } = forwardPass(this.base.network, weights, batch, { hooks, gradientCheckpointing });
    const { annotations, groups, segments } = batch;
    const inputs = { weights: batch.weights, segments, annotations, scalars, ...(groups && { groups }) };
    return nameScope(`loss ${loss.name}`, () => loss.computeFrom(read, inputs));
  }

  /** Loss, metrics and gradients of one pass, to be traced. */
  #objective(
    loss: Loss,
    { parameters, frozen, batch, dropoutKey, scalars, routed, lossScale }: PassInputs,
    /** The adapter's penalty is added in the first pass of a step. */
    isFirst: boolean,
  ) {
    const { adapter } = this;
    const objective = (variables: Named) => {
      const { weights, hooks: plain } = this.#layers(variables, frozen, dropoutKey);
      const experts = this.#experts;
      const { hooks, logits } = experts ? recordRouterLogits(plain) : { hooks: plain, logits: [] };
      let { loss: value, metrics } = this.#lossOf(loss, weights, batch, hooks, scalars);
      if (experts) {
        const sums = routerSums(logits, { perToken: experts.perToken, mask: batch.segments.minimum(1) });
        const auxiliary = loadBalancingLossOf(sums, routed ?? sums);
        value = value.add(auxiliary.mul(experts.auxiliaryLossCoefficient));
        metrics = { ...metrics, aux_loss: auxiliary };
      }
      if (isFirst && adapter?.penalty) value = value.add(adapter.penalty(variables));
      return [lossScale ? value.mul(lossScale) : value, { value, metrics }] as const;
    };
    const { value, gradient } = valueAndGrad(objective)(parameters);
    return { gradients: gradient as Named, loss: value[1].value, metrics: value[1].metrics };
  }
}
