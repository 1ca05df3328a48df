import {
  type Compiled,
  compile,
  findNonFinite,
  globalNorm,
  mapNamed,
  type Named,
  type NonFinite,
  nameScope,
  realize,
  type Tensor,
  valueAndGrad,
  zerosBuffer,
} from '@posttrain/core-tensor';
import { type Adapter, type CausalLM, type LayerHooks, predictionLogProbs } from '@posttrain/lm';
import type { RowBatch } from './rows.js';
import type { TokenLoss } from './token-loss.js';

/** An adapter that may behave differently while it is trained. */
export interface TrainableAdapter extends Adapter<Named> {
  /** `hooks` for a training step: with dropout drawn from an int32 [2] key. Left out: `hooks`. */
  trainingHooks?(parameters: Named, dropoutKey: Tensor): LayerHooks;
}

/** One micro-batch, enough to compute its gradients again. */
export interface Pass {
  readonly loss: TokenLoss;
  readonly batch: RowBatch;
  readonly dropoutKey: Tensor;
}

interface PassResult {
  readonly loss: Tensor;
  readonly metrics: Readonly<Record<string, Tensor>>;
}

interface PassInputs {
  readonly parameters: Named;
  readonly frozen: Named;
  readonly batch: RowBatch;
  readonly dropoutKey: Tensor;
  /** What the gradients are multiplied by; left out, 1. */
  readonly lossScale?: Tensor;
}

/** `isFirst`: the gradients' memory is written over, not added to. */
type MicroStep = Compiled<
  [gradients: Named, inputs: PassInputs, isFirst: boolean],
  PassResult & { readonly gradients: Named }
>;

/** `NAME.weight.absmax` and the like: what a quantised weight is made of beside its codes. */
const isQuantizedPart = (name: string): boolean => name.includes('.weight.');

/** Gradients before anything was added to them, in memory of their own. */
const noGradients = (parameters: Named): Named => mapNamed(parameters, (p) => zerosBuffer(p.shape));

/** The sum of the gradients of passes, in one piece of memory, and which passes they are. */
export class GradientAccumulator {
  #gradients: Named;
  #passes: Pass[] = [];
  readonly #microSteps = new Map<TokenLoss, MicroStep>();
  readonly #norm = compile((gradients: Named) => globalNorm(gradients), { name: 'gradNorm' });

  #frozen: Named | undefined;

  constructor(
    private readonly base: CausalLM,
    private readonly adapter: TrainableAdapter | undefined,
    private readonly options: { readonly gradientCheckpointing: boolean; readonly fp16: boolean },
    parameters: Named,
  ) {
    this.#gradients = noGradients(parameters);
  }

  /** What has been added since the last `clear`, in order. */
  get passes(): readonly Pass[] {
    return this.#passes;
  }

  /** Multiplied by the loss scale. They mean nothing while there is no pass. */
  get gradients(): Named {
    return this.#gradients;
  }

  async norm(): Promise<number> {
    return (await this.#norm(this.#gradients)).item();
  }

  /** Adds the gradients of one pass. */
  async add(pass: Pass, parameters: Named, lossScale?: Tensor): Promise<PassResult> {
    const inputs = await this.#inputsOf(pass, parameters, lossScale);
    const isFirst = this.#passes.length === 0;
    const { gradients, ...result } = await this.#microStep(pass.loss)(this.#gradients, inputs, isFirst);
    this.#gradients = gradients;
    this.#passes.push(pass);
    return result;
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
    for (const pass of passes) {
      const { parameters: variables, frozen, ...inputs } = await this.#inputsOf(pass, parameters, lossScale);
      const found = await findNonFinite(
        (trained: Named, weights: Named, rest: Omit<PassInputs, 'parameters' | 'frozen'>) =>
          this.#objective(pass.loss, { ...rest, parameters: trained, frozen: weights }),
        [variables, frozen, inputs],
        ['parameters', 'weights', 'pass'],
      );
      if (found) return found;
    }
    return undefined;
  }

  async #inputsOf({ batch, dropoutKey }: Pass, parameters: Named, lossScale: Tensor | undefined): Promise<PassInputs> {
    this.#frozen ??= this.adapter ? await this.#frozenWeights() : {};
    return { parameters, frozen: this.#frozen, batch, dropoutKey, ...(lossScale && { lossScale }) };
  }

  /** The weights that are not trained, in the type that passes compute in. */
  async #frozenWeights(): Promise<Named> {
    const frozen = this.#inComputeType(this.base.weights);
    await realize(Object.values(frozen));
    return frozen;
  }

  /** Parts of quantised weights stay as they are: their products give what they are multiplied with. */
  #inComputeType(weights: Named): Named {
    if (!this.options.fp16) return weights;
    return mapNamed(weights, (x, name) => (x.dtype === 'float32' && !isQuantizedPart(name) ? x.cast('float16') : x));
  }

  #microStep(loss: TokenLoss): MicroStep {
    const known = this.#microSteps.get(loss);
    if (known) return known;
    const microStep: MicroStep = compile(
      (gradients, inputs, isFirst) => {
        const { gradients: added, ...result } = this.#objective(loss, inputs);
        return { gradients: isFirst ? added : mapNamed(gradients, (g, name) => g.add(added[name]!)), ...result };
      },
      { name: `forwardBackward(${loss.name})`, donate: { 0: 'gradients' } },
    );
    this.#microSteps.set(loss, microStep);
    return microStep;
  }

  /** Loss, metrics and gradients of one pass, to be traced. */
  #objective(loss: TokenLoss, { parameters, frozen, batch, dropoutKey, lossScale }: PassInputs) {
    const { base, adapter } = this;
    const { gradientCheckpointing } = this.options;
    const objective = (variables: Named) => {
      const trained = this.#inComputeType(variables);
      const weights = adapter ? frozen : trained;
      const hooks = adapter?.trainingHooks?.(trained, dropoutKey) ?? adapter?.hooks(trained) ?? {};
      const temperature = loss.temperature ?? 1;
      const options = { hooks, temperature, gradientCheckpointing };
      const predicted = predictionLogProbs(base.network, weights, batch, options);
      const { loss: value, metrics } = nameScope(`loss ${loss.name}`, () =>
        loss.compute({ ...predicted, weights: batch.weights, annotations: batch.annotations }),
      );
      return [lossScale ? value.mul(lossScale) : value, { value, metrics }] as const;
    };
    const { value, gradient } = valueAndGrad(objective)(parameters);
    return { gradients: gradient as Named, loss: value[1].value, metrics: value[1].metrics };
  }
}
