import {
  concat,
  dropout,
  iota,
  randomBits,
  relu,
  softmax,
  stopGradient,
  type Tensor,
  tensor,
  where,
} from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, number, type Read } from '@posttrain/interfaces';
import { applyLinear, type LayerHooks, type LowRankUpdate } from '@posttrain/lm';
import { AdapterConfigError } from '../adapters/errors.js';
import { uniformWithin } from '../adapters/initial.js';
import { methodOptions, orNull } from '../adapters/method-options.js';
import type { AdapterPlan } from '../adapters/peft-adapter.js';
import type { MethodContext, PeftMethod } from '../adapters/peft-method.js';
import { expertOptions, expertsOf, expertsPlan, expertUpdates, frozenExperts } from './lora-experts.js';

const xLoraOptions = methodOptions('XLORA', {
  ...expertOptions,
  /** Width of the model, for the file. Default: the model's. */
  hiddenSize: orNull(integer({ min: 1 })),
  /** Scalings are a softmax over the adapters. Default true. */
  enableSoftmax: boolean({ default: true }),
  /** Scalings of the `topKLora` adapters are a softmax over them. Default false. */
  enableSoftmaxTopk: boolean({ default: false }),
  /** Scalings for each layer, and not the same for all. Default false. */
  layerwiseScalings: boolean({ default: false }),
  /** Linear layers of the classifier. Default 1. */
  xloraDepth: integer({ default: 1, min: 1 }),
  /** Width of the classifier, where it has more than one layer. Default 2048. */
  xloraSize: integer({ default: 2048, min: 1 }),
  /** Probability with which an element between the classifier's layers is dropped in training. Default 0.2. */
  xloraDropoutP: number({ default: 0.2, min: 0, below: 1 }),
  /** Train the adapters too. Not supported, since PEFT's files do not hold them: true is refused. Default false. */
  useTrainableAdapters: boolean({ default: false }),
  /** Divides the logits of `enableSoftmax`. Default 1. */
  softmaxTemperature: number({ default: 1, above: 0 }),
  /** Only the k adapters with the largest scalings count, token by token. Default: all. */
  topKLora: orNull(integer({ min: 1 })),
  /** The scalings of the earlier pass: 0 is the base model. Default 0. */
  scalingPassValue: number({ default: 0 }),
  /** Multiplies what all adapters add. Default 1. */
  globalScalingWeight: number({ default: 1 }),
});
/** Options of `xLora`, complete, by PEFT's names in camel case. */
export type XLoraConfig = Read<typeof xLoraOptions>;

type Context = MethodContext<XLoraConfig>;
type Scalings = (layer: number) => Tensor;

const CLASSIFIER = 'internal_xlora_classifier';

/**
 * X-LoRA (arXiv 2402.07148): frozen LoRA adapters i, mixed token by token, y = W x + b + g · Σ_i σ_i s_i·B_i·A_i·x, by scalings
 * σ [b, s, n] that a classifier (linear layers with ReLU between them) reads from the final hidden states of a pass before, of
 * the base model. The classifier is all that is trained. Its dropout counts in training; that of the adapters does not, which
 * are frozen.
 *
 * PEFT computes both passes over the whole sequence for every token that it generates. Here both have a cache: since both are
 * causal, that gives the same.
 */
export const xLora: PeftMethod<XLoraConfig> = {
  peftType: 'XLORA',
  options: xLoraOptions,
  fileDefaults: {},

  async plan(model, given) {
    const { hiddenSize: width } = model.config;
    if (given.useTrainableAdapters) {
      throw new AdapterConfigError(
        'useTrainableAdapters is not supported: files hold the classifier and not the adapters',
      );
    }
    if (given.hiddenSize !== null && given.hiddenSize !== width) {
      throw new AdapterConfigError(`hiddenSize is ${given.hiddenSize}, and the model's ${width}: leave it out`);
    }
    const planned = await expertsPlan(model, { ...given, hiddenSize: width });
    const count = expertsOf(planned.plan).length;
    if (given.enableSoftmaxTopk && given.topKLora === null) {
      throw new AdapterConfigError('enableSoftmaxTopk needs topKLora: over how many adapters the softmax is');
    }
    if ((given.topKLora ?? 1) > count) {
      throw new AdapterConfigError(`topKLora is ${given.topKLora}, and there are ${count} adapters`);
    }
    return planned;
  },

  parameters: (context) => layersOf(context).reduce((sum, { inputs, outputs }) => sum + (inputs + 1) * outputs, 0),

  init(context, _, key) {
    const trained: Record<string, Tensor> = {};
    layersOf(context).forEach(({ name, inputs, outputs }, i) => {
      trained[`${name}.weight`] = uniformWithin(key.child(2 * i), [outputs, inputs], inputs ** -0.5);
      trained[`${name}.bias`] = uniformWithin(key.child(2 * i + 1), [outputs], inputs ** -0.5);
    });
    return { trained, frozen: frozenExperts(context.plan) };
  },

  fileKey: (name) => `base_model.${name}`,
  earlierPass: () => true,
  stochastic: ({ xloraDepth, xloraDropoutP: p }) => (xloraDepth > 1 && p > 0 ? `xloraDropoutP is ${p}` : undefined),

  hooks(context, { trained, frozen }, dropoutKey) {
    const { config, plan } = context;
    const updates = expertUpdates(context, frozen);
    const count = updates.length;
    const { scalingPassValue: value } = config;
    const constant = () => chosen(config, tensor(new Float32Array(count).fill(value), [1, 1, count]));
    return {
      earlier: {
        hooks: value === 0 ? {} : mixed(plan, updates, constant, config),
        hooksAfter(hidden) {
          const logits = classified(context, stopGradient(hidden), trained, dropoutKey);
          const known = new Map<number, Tensor>();
          const scalings = (layer: number): Tensor => {
            const at = config.layerwiseScalings ? layer : 0;
            const of = () => {
              const own = logits.slice(2, at * count, (at + 1) * count);
              return chosen(config, config.enableSoftmax ? softmax(own.div(config.softmaxTemperature)) : own);
            };
            const found = known.get(at) ?? of();
            known.set(at, found);
            return found;
          };
          return mixed(plan, updates, scalings, config);
        },
      },
    };
  },
};

/** The linear layers of the classifier, by the places that they have in PEFT's sequence of layers. */
function layersOf({ config, plan, model }: Context) {
  const { xloraDepth: depth, xloraSize: size, xloraDropoutP, layerwiseScalings } = config;
  const outputs = expertsOf(plan).length * (layerwiseScalings ? plan.targets.length : 1);
  const step = xloraDropoutP > 0 ? 3 : 2;
  return Array.from({ length: depth }, (_, i) => ({
    name: `${CLASSIFIER}.layers.${i * step}`,
    inputs: i === 0 ? model.hiddenSize : size,
    outputs: i === depth - 1 ? outputs : size,
  }));
}

/** Logits [b, s, n], or [b, s, layers · n]. */
function classified(context: Context, hidden: Tensor, trained: Named, dropoutKey: Tensor | undefined): Tensor {
  const layers = layersOf(context);
  const keys = dropoutKey && randomBits(dropoutKey, [layers.length, 2]);
  return layers.reduce((x, { name }, i) => {
    const y = applyLinear(x, trained[`${name}.weight`]!, trained[`${name}.bias`]!, false);
    if (i === layers.length - 1) return y;
    return keys ? dropout(relu(y), context.config.xloraDropoutP, keys.slice(0, i, i + 1).reshape([2])) : relu(y);
  }, hidden);
}

/** The scalings [..., n] with those that do not count as zeros. Of equal ones the earlier adapter's is larger. */
function chosen({ topKLora: k, enableSoftmaxTopk }: XLoraConfig, scalings: Tensor): Tensor {
  if (k === null) return scalings;
  const count = scalings.shape.at(-1)!;
  const [own, other] = [scalings.expandDims(3), scalings.expandDims(2)];
  const comesEarlier = iota([count, count], 1).less(iota([count, count], 0));
  const isLarger = other.greater(own).cast('float32');
  const isBefore = other.equal(own).cast('float32').mul(comesEarlier.cast('float32'));
  const kept = where(isLarger.add(isBefore).sum(3).less(k), scalings, 0);
  if (!enableSoftmaxTopk) return kept;
  const counts = kept.equal(0).cast('float32');
  // All zero: nobody counts, as in PEFT.
  const mask = counts.neg().add(1);
  return softmax(kept.add(counts.mul(-1e30))).mul(mask);
}

function mixed(
  { targets }: AdapterPlan,
  updates: readonly Readonly<Record<string, LowRankUpdate>>[],
  scalings: Scalings,
  { globalScalingWeight }: XLoraConfig,
): LayerHooks {
  const places = new Map(targets.map(({ name }, i) => [name, i]));
  return {
    linear(x, layer) {
      const place = places.get(layer.name);
      if (place === undefined) return layer.apply(x);
      if (layer.rows)
        throw new AdapterConfigError(`${layer.name} is an expert's, whose tokens X-LoRA cannot tell apart`);
      const own = scalings(place);
      const parts = updates.flatMap((update, i) => {
        const { a, b, scale } = update[layer.name] ?? {};
        if (!a || !b || scale === undefined) return [];
        const narrow = applyLinear(x, a, undefined, false).mul(scale * globalScalingWeight);
        return [{ b, narrow: narrow.mul(own.slice(2, i, i + 1)) }];
      });
      const [narrow, b] = [
        concat(
          parts.map((one) => one.narrow),
          2,
        ),
        concat(
          parts.map((one) => one.b),
          1,
        ),
      ];
      return layer.apply(x).add(applyLinear(narrow, b, undefined, false));
    },
  };
}
