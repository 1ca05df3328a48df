import { concat, dropout, type Tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { custom, integer, number, oneOf, type Read } from '@posttrain/interfaces';
import { applyLinear, type ModuleInfo } from '@posttrain/lm';
import { addedToWeight } from '../adapters/delta.js';
import { AdapterConfigError } from '../adapters/errors.js';
import { linearStart } from '../adapters/initial.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { excludeOption, layerOptions, methodOptions, targetOptions } from '../adapters/method-options.js';

const missOptions = methodOptions('MISS', {
  ...targetOptions,
  ...excludeOption,
  ...layerOptions,
  /** Which biases are trained beside: none, all, or those of the targets. Default `none`. */
  bias: oneOf(['none', 'all', 'MiSS_only'], { default: 'none' }),
  /** Width of the blocks that inputs are added up in. Default 64. */
  r: integer({ default: 64, min: 1 }),
  /** Probability with which an element of the update's input is dropped in training. Default 0. */
  missDropout: number({ default: 0, min: 0, below: 1 }),
  /** With `mini`: outputs that have numbers of their own; the others repeat them. Default 1. */
  miniR: integer({ default: 1, min: 1 }),
  /** True: D [r, out] starts at zero. `mini`: D [r, miniR] does. False: random, for tests. PEFT's `bat` is not here. Default true. */
  initWeights: custom<boolean | 'mini'>()(
    'one of true, false, "mini"',
    (value) => [true, false, 'mini'].includes(value as boolean),
    { default: true },
  ),
});
/** Options of `miss`, complete, by PEFT's names in camel case. */
export type MissConfig = Read<typeof missOptions>;

/**
 * MiSS (arXiv 2409.15371): y = W x + b + Dᵀ Σ_j x_j with the input cut into blocks x_j of r (the last filled up with zeros) and
 * D [r, out], one for all blocks.
 */
export const miss: LayerMethod<MissConfig> = {
  peftType: 'MISS',
  kinds: ['linear'],
  conv1d: false,
  targetBiases: 'MiSS_only',
  options: missOptions,
  fileDefaults: {},
  fanInFanOut: false,

  stochastic: ({ missDropout }) => (missDropout > 0 ? `missDropout is ${missDropout}` : undefined),

  check({ r, miniR, initWeights }, targets) {
    for (const target of targets) {
      const { inputs, outputs } = linearShape(target);
      if (r > inputs) throw new AdapterConfigError(`${target.name} has ${inputs} inputs, fewer than r ${r}`);
      if (initWeights !== 'mini' || outputs % miniR === 0) continue;
      throw new AdapterConfigError(`${target.name} has ${outputs} outputs, no multiple of miniR ${miniR}`);
    }
  },

  parameters: (target, config) => shapeOf(target, config).reduce((a, b) => a * b),

  init(target, config, key) {
    const shape = shapeOf(target, config);
    return { miss_block: config.initWeights === false ? linearStart(key, shape) : zeros([...shape]) };
  },

  apply(x, layer, parameters, { r, missDropout }, dropoutKey) {
    const { inputs } = linearShape(layer);
    const blocks = Math.ceil(inputs / r);
    const rest = blocks * r - inputs;
    const before = x.shape.slice(0, -1);
    const filled = rest > 0 ? concat([x, zeros([...before, rest], x.dtype)], before.length) : x;
    const dropped = dropoutKey ? dropout(filled, missDropout, dropoutKey) : filled;
    const summed = dropped.reshape([...before, blocks, r]).sum(before.length);
    return layer.apply(x).add(applyLinear(summed, blockOf(layer, parameters), undefined, true));
  },

  ...addedToWeight<MissConfig>((target, parameters) => {
    const { inputs } = linearShape(target);
    const block = blockOf(target, parameters).transpose();
    const copies = Array.from({ length: Math.ceil(inputs / block.shape[1]!) }, () => block);
    return concat(copies, 1).slice(1, 0, inputs);
  }),
};

function shapeOf(target: ModuleInfo, { r, miniR, initWeights }: MissConfig): readonly [number, number] {
  return [r, initWeights === 'mini' ? miniR : linearShape(target).outputs];
}

/** D [r, out]. */
function blockOf(target: ModuleInfo, { miss_block: block }: Named): Tensor {
  const copies = linearShape(target).outputs / block!.shape[1]!;
  return copies === 1
    ? block!
    : concat(
        Array.from({ length: copies }, () => block!),
        1,
      );
}
