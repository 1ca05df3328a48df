import { ones, type Tensor, tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, type Read } from '@posttrain/interfaces';
import { AdapterConfigError } from '../adapters/errors.js';
import { type AdapterTarget, type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { excludeOption, methodOptions, targetOptions } from '../adapters/method-options.js';
import { isTargeted } from '../adapters/targets.js';

const ia3Options = methodOptions('IA3', {
  ...targetOptions,
  ...excludeOption,
  /**
   * Those of the targets whose input is scaled and not their output, written as `targetModules`. Default: null, PEFT's of the
   * model type.
   */
  feedforwardModules: excludeOption.excludeModules,
  /** Start with ones, so that the model starts as it is. False: random, for tests. Default true. */
  initIa3Weights: boolean({ default: true }),
});
/** Options of `ia3`, complete, by PEFT's names in camel case. */
export type Ia3Config = Read<typeof ia3Options>;

const qkvDown = { targets: ['q_proj', 'v_proj', 'down_proj'], feedforward: ['down_proj'] };
const kvDown = { targets: ['k_proj', 'v_proj', 'down_proj'], feedforward: ['down_proj'] };

/** PEFT's defaults per `model_type` (TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING and its feedforward part, PEFT 0.21). */
const DEFAULTS: Readonly<
  Record<string, { readonly targets: readonly string[]; readonly feedforward: readonly string[] }>
> = {
  gemma2: qkvDown,
  gemma3_text: qkvDown,
  gpt2: { targets: ['c_attn', 'mlp.c_proj'], feedforward: ['mlp.c_proj'] },
  llama: kvDown,
  mistral: kvDown,
  mixtral: { targets: ['k_proj', 'v_proj', 'w2'], feedforward: ['w2'] },
  qwen2: qkvDown,
  qwen3: qkvDown,
  gemma: qkvDown,
  phi: { targets: ['q_proj', 'v_proj', 'fc2'], feedforward: ['fc2'] },
  gpt_neox: { targets: ['query_key_value', 'dense_4h_to_h'], feedforward: ['dense_4h_to_h'] },
  falcon: { targets: ['query_key_value', 'dense_4h_to_h'], feedforward: ['dense_4h_to_h'] },
  opt: { targets: ['q_proj', 'k_proj', 'fc2'], feedforward: ['fc2'] },
  bloom: { targets: ['query_key_value', 'mlp.dense_4h_to_h'], feedforward: ['mlp.dense_4h_to_h'] },
};

/**
 * (IA)³ (arXiv 2205.05638): learned vectors rescale activations. Of a target y = l ⊙ (W x + b) with l [out]; of a feed-forward
 * target y = W (l ⊙ x) + b with l [in].
 */
export const ia3: LayerMethod<Ia3Config> = {
  peftType: 'IA3',
  kinds: ['linear'],
  options: ia3Options,
  fileDefaults: {},
  defaultTargets: Object.fromEntries(Object.entries(DEFAULTS).map(([type, { targets }]) => [type, targets])),

  complete(config, modelType) {
    if (config.feedforwardModules !== null) return config;
    // As in PEFT, own targets say themselves which of them are of the feed-forward part.
    if (config.targetModules !== null) return { ...config, feedforwardModules: [] };
    return { ...config, feedforwardModules: DEFAULTS[modelType]?.feedforward ?? [] };
  },

  parameters(target, config) {
    const { inputs, outputs } = linearShape(target);
    return isFeedforward(target, config) ? inputs : outputs;
  },

  check({ feedforwardModules }, targets) {
    const entries = typeof feedforwardModules === 'string' ? [feedforwardModules] : feedforwardModules!;
    for (const entry of entries) {
      const pattern = typeof feedforwardModules === 'string' ? feedforwardModules : [entry];
      if (targets.some(({ name }) => isTargeted(pattern, name, 'feedforwardModules'))) continue;
      throw new AdapterConfigError(
        `feedforwardModules: ${JSON.stringify(entry)} is none of the targets, ${targets.map(({ name }) => name).join(', ')}`,
      );
    }
  },

  init(target, config, key) {
    const { inputs, outputs } = linearShape(target);
    const shape = isFeedforward(target, config) ? [1, inputs] : [outputs, 1];
    const size = shape[0]! * shape[1]!;
    return { ia3_l: config.initIa3Weights ? ones(shape) : tensor(key.normalHost(size), shape) };
  },

  apply(x, layer, parameters, config) {
    const scale = vectorOf(parameters);
    return isFeedforward(layer, config) ? layer.apply(x.mul(scale)) : layer.apply(x).mul(scale);
  },

  merge(target, parameters, config) {
    return rescaled(target, parameters, config, (x, scale) => x.mul(scale));
  },

  unmerge(merged, parameters, config) {
    return rescaled(merged, parameters, config, (x, scale) => x.div(scale));
  },
};

const isFeedforward = ({ name }: Pick<AdapterTarget, 'name'>, { feedforwardModules }: Ia3Config): boolean =>
  isTargeted(feedforwardModules ?? [], name, 'feedforwardModules');

const vectorOf = (parameters: Named): Tensor => parameters.ia3_l!.reshape([parameters.ia3_l!.size]);

function rescaled(
  target: AdapterTarget,
  parameters: Named,
  config: Ia3Config,
  by: (x: Tensor, scale: Tensor) => Tensor,
) {
  const scale = vectorOf(parameters);
  const isInput = isFeedforward(target, config);
  // A weight is stored [out, in], or [in, out] when it is transposed.
  const isLast = isInput !== linearShape(target).transposed;
  const weight = by(target.weight, scale.expandDims(isLast ? 0 : 1));
  return { weight, bias: target.bias && !isInput ? by(target.bias, scale) : target.bias };
}
