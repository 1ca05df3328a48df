import { type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { custom, integer, oneOf, type Read } from '@posttrain/interfaces';
import type { ModuleInfo } from '@posttrain/lm';
import { denseChange } from '../adapters/delta.js';
import { AdapterConfigError } from '../adapters/errors.js';
import { normalWith, uniformWithin } from '../adapters/initial.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { layerOptions, methodOptions, patternOption, targetOptions } from '../adapters/method-options.js';
import { LORA_TARGETS, patternValue } from '../adapters/targets.js';

const STARTS = ['gaussian', 'kaiming_uniform', 'xavier_uniform'] as const;

const c3aOptions = methodOptions('C3A', {
  ...targetOptions,
  ...layerOptions,
  /** Which biases are trained beside: none, all, or those of the targets. Default `none`. */
  bias: oneOf(['none', 'all', 'c3a_only'], { default: 'none' }),
  /** Width of the circulant blocks; it divides the inputs and outputs. Default 256. */
  blockSize: integer({ default: 256, min: 1 }),
  /** `blockSize` by module: a path, its dotted ending, or a regular expression of either; the first that matches. Default: none. */
  blockSizePattern: patternOption,
  /** How the kernel starts. True: at zero, so that the model starts as it is; false: as `xavier_uniform`. Default `xavier_uniform`. */
  initWeights: custom<boolean | (typeof STARTS)[number]>()(
    `one of true, false, ${STARTS.map((start) => `"${start}"`).join(', ')}`,
    (value) => typeof value === 'boolean' || STARTS.includes(value as 'gaussian'),
    { default: 'xavier_uniform' },
  ),
});
/** Options of `c3a`, complete, by PEFT's names in camel case. */
export type C3aConfig = Read<typeof c3aOptions>;

/**
 * C3A (circular convolution, arXiv 2407.19342): y = (W + C / in) x + b with C made of circulant blocks of b × b, C_mn[i, j] =
 * k_mn[(j − i) mod b], and the kernel k [out / b, in / b, b] trained.
 */
export const c3a: LayerMethod<C3aConfig> = {
  peftType: 'C3A',
  kinds: ['linear'],
  conv1d: false,
  targetBiases: 'c3a_only',
  options: c3aOptions,
  fileDefaults: {},
  fanInFanOut: false,
  modulePatterns: ['blockSizePattern'],
  defaultTargets: { ...LORA_TARGETS, gpt2: ['mlp.c_proj'] },

  check(config, targets) {
    for (const target of targets) {
      const { inputs, outputs } = linearShape(target);
      const size = blockOf(target, config);
      if (Number.isInteger(size) && size > 0 && inputs % size === 0 && outputs % size === 0) continue;
      throw new AdapterConfigError(
        `${target.name}: blockSize ${size} divides not ${inputs} inputs and ${outputs} outputs`,
      );
    }
  },

  parameters(target, config) {
    const { inputs, outputs } = linearShape(target);
    return (inputs * outputs) / blockOf(target, config);
  },

  init(target, config, key) {
    const { inputs, outputs } = linearShape(target);
    const size = blockOf(target, config);
    const shape = [outputs / size, inputs / size, size];
    const start = () => {
      if (config.initWeights === true) return zeros(shape);
      if (config.initWeights === 'gaussian') return normalWith(key, shape);
      const bound = config.initWeights === 'kaiming_uniform' ? inputs ** -0.5 : Math.sqrt(6 / (inputs + outputs));
      return uniformWithin(key, shape, bound);
    };
    return { c3a_kernel: start() };
  },

  ...denseChange<C3aConfig>(deltaOf),
};

const blockOf = ({ name }: ModuleInfo, { blockSize, blockSizePattern }: C3aConfig): number =>
  patternValue(blockSizePattern, 'blockSizePattern', name) ?? blockSize;

function deltaOf(_: ModuleInfo, { c3a_kernel: kernel }: Named): Tensor {
  const [m, n, b] = kernel!.shape as [number, number, number];
  const places = Int32Array.from({ length: b * b }, (_, at) => ((at % b) - Math.floor(at / b) + b) % b);
  const blocks = kernel!.gather(tensor(places, [b * b], 'int32'), 2).reshape([m, n, b, b]);
  return blocks
    .transpose([0, 2, 1, 3])
    .reshape([m * b, n * b])
    .div(n * b);
}
