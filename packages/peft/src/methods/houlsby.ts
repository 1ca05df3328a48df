import { gelu, type Key, relu, silu, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import { custom, integer, number, oneOf, type Read } from '@posttrain/interfaces';
import { applyLinear, type ModelConfig, type Sublayer } from '@posttrain/lm';
import { methodOptions, targetOptions } from '../adapters/method-options.js';
import { NO_PLAN } from '../adapters/peft-adapter.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import { matchSaved } from '../adapters/targets.js';

type Part = Sublayer['part'];

const isParts = (value: unknown): boolean =>
  Array.isArray(value) && value.length > 0 && value.every((part) => part === 'attention' || part === 'mlp');

const houlsbyOptions = methodOptions('HOULSBY', {
  /** Width m of the bottleneck. Default 64. */
  bottleneckSize: integer({ default: 64, min: 1 }),
  /** f. Default `gelu`. */
  nonLinearity: oneOf(['gelu', 'relu', 'silu'], { default: 'gelu' }),
  /** After which sublayers of a block: `['mlp']` is Pfeiffer's (arXiv 2005.00247). Default: both. */
  parts: custom<readonly Part[]>()('a list of "attention" and "mlp"', isParts, { default: ['attention', 'mlp'] }),
  /**
   * What the bottleneck reads. `sequential`: the sublayer's output. `parallel`: what the sublayer has read (arXiv 2110.04366). `stream`: the residual stream
   * with the output added to it, as adapter-hub's Pfeiffer adapter (`SeqBnConfig`) of a decoder. Default `sequential`.
   */
  placement: oneOf(['sequential', 'parallel', 'stream'], { default: 'sequential' }),
  /** What the bottleneck gives is multiplied by this: s of arXiv 2110.04366, 4 in adapter-hub's `ParBnConfig`. Default 1. */
  scaling: number({ default: 1 }),
  /** Modules trained whole, as copies: paths or dotted endings. Default: none. */
  modulesToSave: targetOptions.modulesToSave,
});
/** Options of `houlsby`, complete. */
export type HoulsbyConfig = Read<typeof houlsbyOptions>;

const ACTIVATIONS = { gelu, relu, silu } as const;

/**
 * Bottleneck adapters (Houlsby et al., arXiv 1902.00751): what a sublayer adds to the residual stream becomes
 * y + s (W_up f(W_down y + b_down) + b_up) with W_down [m, width], W_up [width, m]. Weights start normal with deviation 0.01, cut off at two
 * deviations, and biases zero, so that the model starts near what it is. PEFT has no such method; the files are this package's own.
 */
export const houlsby: PeftMethod<HoulsbyConfig> = {
  peftType: 'HOULSBY',
  options: houlsbyOptions,
  fileDefaults: {},

  plan({ network }, config, strictness) {
    const saved = matchSaved(network.modules.values(), config, strictness);
    return { config, plan: { ...NO_PLAN, saved }, skipped: [] };
  },

  parameters: ({ config, model }) =>
    placesOf(config, model).length *
    (2 * config.bottleneckSize * model.hiddenSize + config.bottleneckSize + model.hiddenSize),

  init({ config, model }, _, key) {
    const { bottleneckSize: size } = config;
    const { hiddenSize: width } = model;
    const trained: Record<string, Tensor> = {};
    placesOf(config, model).forEach((place, i) => {
      const own = key.child(i);
      trained[`${place}.adapter_down.weight`] = nearZero(own.child(0), [size, width]);
      trained[`${place}.adapter_down.bias`] = zeros([size]);
      trained[`${place}.adapter_up.weight`] = nearZero(own.child(1), [width, size]);
      trained[`${place}.adapter_up.bias`] = zeros([width]);
    });
    return { trained, frozen: {} };
  },

  hooks({ config }, { trained }) {
    const activation = ACTIVATIONS[config.nonLinearity];
    return {
      sublayer(output, { layer, part, input }) {
        if (!config.parts.includes(part)) return output;
        const linear = (x: Tensor, name: string) => {
          const place = `${placeOf(layer, part)}.adapter_${name}`;
          return applyLinear(x, trained[`${place}.weight`]!, trained[`${place}.bias`]!, false);
        };
        const from = { sequential: output, parallel: input, stream: output.add(input) }[config.placement];
        return output.add(linear(activation(linear(from, 'down')), 'up').mul(config.scaling));
      },
    };
  },
};

const placeOf = (layer: number, part: Part): string => `layers.${layer}.${part}`;

const placesOf = ({ parts }: HoulsbyConfig, { numHiddenLayers }: ModelConfig): string[] =>
  Array.from({ length: numHiddenLayers }, (_, layer) => parts.map((part) => placeOf(layer, part))).flat();

function nearZero(key: Key, shape: readonly [number, number]): Tensor {
  const values = key.normalHost(shape[0] * shape[1]);
  return tensor(
    Float32Array.from(values, (x) => 0.01 * Math.max(-2, Math.min(2, x))),
    [...shape],
  );
}
