import {
  type Engine,
  findNonFinite,
  type NonFinite,
  nameScope,
  realize,
  type Tensor,
  valueAndGrad,
} from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import {
  type ExpertsConfig,
  type LayerHooks,
  loadBalancingLossOf,
  type RouterSums,
  recordRouterLogits,
  routerSums,
} from '@posttrain/lm';
import { changeEmbeddings, neftuneNoise } from '../loss/embeddings.js';
import type { ForwardPass, Loss, LossResult } from '../loss/loss.js';
import { checkedResult } from '../loss/loss-result.js';
import type { RowBatch } from '../loss/rows.js';
import { hiddenStates } from '../readouts/heads.js';
import { forwardPass, lossInputs } from './forward-pass.js';
import type { TrainableAdapter } from './trainable-adapter.js';
import type { TrainableModel } from './trainable-model.js';

/** One micro-batch, with all that recomputes its gradients. */
export interface Pass {
  readonly loss: Loss;
  readonly batch: RowBatch;
  readonly dropoutKey: Tensor;
  /** Numbers of the step that the loss asks for, float32 scalars. */
  readonly scalars: Named;
  /**
   * Router load over all passes of a step, of a mixture of experts. Left out: that of this pass.
   */
  readonly routed?: RoutedTokens;
}

export type RoutedTokens = Pick<RouterSums, 'choices' | 'tokens'>;

/** What a traced pass takes. */
export interface PassInputs {
  readonly parameters: Named;
  readonly frozen: Named;
  readonly batch: RowBatch;
  readonly dropoutKey: Tensor;
  readonly scalars: Named;
  readonly routed?: RoutedTokens;
  /** What the gradients are multiplied by; left out, 1. */
  readonly lossScale?: Tensor;
}

/** What a pass runs over: the trained tensors stand in the weights or in an adapter. */
export interface Layers {
  readonly weights: Named;
  readonly hooks: LayerHooks;
  /** The same hooks, watched: what the pass itself runs over, and no further pass that a readout asks for. Default: `hooks`. */
  readonly watched?: LayerHooks;
  /** int32 [2]: of the noise on embeddings, where there is some. */
  readonly noiseKey?: Tensor;
}

/** What a pass graph is made with. */
export interface PassSettings {
  readonly gradientCheckpointing: boolean;
  readonly fp16: boolean;
  /** α of NEFTune; 0: no noise. */
  readonly neftuneNoiseAlpha: number;
  /** Which of the parameters have a gradient. */
  readonly trains: (name: string) => boolean;
}

/** What tells the key of the noise from that of dropout. */
const NOISE_KEY = 0x4e454654;

/** `NAME.weight.absmax` and the like: what a quantised weight is made of beside its codes. */
const isQuantizedPart = (name: string): boolean => name.includes('.weight.');

/** How passes over the model are traced: every function here is called inside a compiled one, but for `inputsOf`. */
export class PassGraph {
  #frozen: Named | undefined;
  /** Of a model whose training adds its routers' loss. */
  readonly experts: ExpertsConfig | undefined;

  constructor(
    readonly base: TrainableModel,
    readonly adapter: TrainableAdapter | undefined,
    private readonly settings: PassSettings,
  ) {
    const { experts } = base.config;
    this.experts = experts?.outputRouterLogits ? experts : undefined;
    if (this.experts && settings.gradientCheckpointing) {
      throw new PosttrainError(
        'ROUTER_LOSS',
        `${base.name}: the loss of its routers (output_router_logits) cannot be had with gradientCheckpointing, ` +
          'which computes layers apart; turn one of them off.',
      );
    }
  }

  get engine(): Engine {
    return this.base.network.engine;
  }

  /** Those of the parameters that have a gradient. */
  trained(parameters: Named): Named {
    return Object.fromEntries(Object.entries(parameters).filter(([name]) => this.settings.trains(name)));
  }

  async inputsOf(
    { batch, dropoutKey, scalars, routed }: Omit<Pass, 'loss'>,
    parameters: Named,
    lossScale?: Tensor,
  ): Promise<PassInputs> {
    this.#frozen ??= this.adapter ? await this.#frozenWeights() : {};
    const optional = { ...(routed && { routed }), ...(lossScale && { lossScale }) };
    return { parameters, frozen: this.#frozen, batch, dropoutKey, scalars, ...optional };
  }

  /** The weights that are not trained, in the type that passes compute in. */
  async #frozenWeights(): Promise<Named> {
    const frozen = this.#inComputeType(this.base.weights);
    await realize(Object.values(frozen), { engine: this.engine });
    return frozen;
  }

  /** Parts of quantised weights stay as they are: their products give what they are multiplied with. */
  #inComputeType(weights: Named): Named {
    if (!this.settings.fp16) return weights;
    return mapNamed(weights, (x, name) => (x.dtype === 'float32' && !isQuantizedPart(name) ? x.cast('float16') : x));
  }

  /** As a training step computes, with dropout. */
  training(variables: Named, frozen: Named, dropoutKey: Tensor): Layers {
    const { adapter } = this;
    const trained = this.#inComputeType(variables);
    const hooks = adapter?.trainingHooks(trained, dropoutKey) ?? {};
    const noise = this.settings.neftuneNoiseAlpha > 0 && { noiseKey: dropoutKey.add(NOISE_KEY) };
    return { weights: adapter ? frozen : trained, hooks, ...noise };
  }

  /** Without dropout. */
  plain(variables: Named, frozen: Named): Layers {
    const compute = this.#inComputeType(variables);
    return this.adapter ? { weights: frozen, hooks: this.adapter.hooks(compute) } : { weights: compute, hooks: {} };
  }

  forward({ weights, hooks, watched = hooks, noiseKey }: Layers, batch: RowBatch): ForwardPass {
    const { gradientCheckpointing, neftuneNoiseAlpha } = this.settings;
    const { network } = this.base;
    const noisy = (x: Tensor) =>
      x.add(neftuneNoise(neftuneNoiseAlpha, noiseKey!, batch.segments, x.shape[2]!).cast(x.dtype));
    const [own, running] = [hooks, watched].map((x) => (noiseKey ? changeEmbeddings(network, x, noisy) : x));
    return forwardPass(network, weights, batch, { hooks: own!, running: running!, gradientCheckpointing });
  }

  /** Loss and metrics of one pass. */
  lossOf(loss: Loss, layers: Layers, batch: RowBatch, scalars: Named): LossResult {
    const { read } = this.forward(layers, batch);
    return nameScope(`loss ${loss.name}`, () =>
      checkedResult(loss.name, loss.computeFrom(read, lossInputs(batch, scalars))),
    );
  }

  /** Loss, metrics and gradients of one pass. */
  objective(
    loss: Loss,
    { parameters, frozen, batch, dropoutKey, scalars, routed, lossScale }: PassInputs,
    /** The adapter's penalty is added in the first pass of a step. */
    isFirst: boolean,
    /** Without what belongs to no row: the routers' loss. */
    rowsOnly = false,
  ) {
    const { adapter } = this;
    const experts = rowsOnly ? undefined : this.experts;
    const objective = (trained: Named) => {
      const variables = { ...parameters, ...trained };
      const layers = this.training(variables, frozen, dropoutKey);
      const { hooks: watched, logits } = experts
        ? recordRouterLogits(layers.hooks)
        : { hooks: layers.hooks, logits: [] };
      let { loss: value, metrics } = this.lossOf(loss, { ...layers, watched }, batch, scalars);
      if (experts) {
        const sums = routerSums(logits, { perToken: experts.perToken, mask: batch.segments.minimum(1) });
        const auxiliary = loadBalancingLossOf(sums, routed ?? sums);
        value = value.add(auxiliary.mul(experts.auxiliaryLossCoefficient));
        metrics = { ...metrics, aux_loss: auxiliary };
      }
      if (layers.hooks.rowLoss) {
        if (this.settings.gradientCheckpointing) throw rowLossOfLayers(this.base.name);
        const added = layers.hooks.rowLoss({ segments: batch.segments }).mul(batch.weights.sum(1)).sum();
        value = value.add(added);
        metrics = { ...metrics, row_loss: added };
      }
      if (isFirst && adapter?.penalty) value = value.add(adapter.penalty(variables));
      return [lossScale ? value.mul(lossScale) : value, { value, metrics }] as const;
    };
    const { value, gradient } = valueAndGrad(objective)(this.trained(parameters));
    return { gradients: gradient as Named, loss: value[1].value, metrics: value[1].metrics };
  }

  /** Router load of one pass. */
  routedTokens({ parameters, frozen, batch, dropoutKey }: PassInputs): RoutedTokens {
    const layers = this.training(parameters, frozen, dropoutKey);
    const { hooks: watched, logits } = recordRouterLogits(layers.hooks);
    this.forward({ ...layers, watched }, batch).read(hiddenStates);
    const mask = batch.segments.minimum(1);
    const { choices, tokens } = routerSums(logits, { perToken: this.experts!.perToken, mask });
    return { choices, tokens };
  }

  /** The first tensor that went wrong in any of the passes. */
  async findNonFinite(passes: readonly Pass[], parameters: Named, lossScale?: Tensor): Promise<NonFinite | undefined> {
    for (const [i, pass] of passes.entries()) {
      const { parameters: variables, frozen, ...inputs } = await this.inputsOf(pass, parameters, lossScale);
      const found = await findNonFinite(
        (trained: Named, weights: Named, rest: Omit<PassInputs, 'parameters' | 'frozen'>) =>
          this.objective(pass.loss, { ...rest, parameters: trained, frozen: weights }, i === 0),
        [variables, frozen, inputs],
        ['parameters', 'weights', 'pass'],
        { engine: this.engine },
      );
      if (found) return found;
    }
    return undefined;
  }
}

const rowLossOfLayers = (name: string): PosttrainError =>
  new PosttrainError(
    'ROW_LOSS',
    `${name}: the adapter's loss of what layers give (balance of MoLE) cannot be had with gradientCheckpointing, which computes layers apart; ` +
      'turn one of them off.',
  );
