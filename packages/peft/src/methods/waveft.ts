import { type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, number, oneOf, type Read } from '@posttrain/interfaces';
import { applyLinear, type ModuleInfo } from '@posttrain/lm';
import { addedToWeight } from '../adapters/delta.js';
import { AdapterConfigError } from '../adapters/errors.js';
import { normalWith } from '../adapters/initial.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import {
  excludeOption,
  layerOptions,
  methodOptions,
  patternOption,
  targetOptions,
} from '../adapters/method-options.js';
import { LORA_TARGETS } from '../adapters/targets.js';
import { torchPermutation } from '../adapters/torch-permutation.js';
import { checkCounts, countOf } from './spectrum.js';
import { daubechies, WAVELETS } from './wavelets.js';

const waveFtOptions = methodOptions('WAVEFT', {
  ...targetOptions,
  ...excludeOption,
  ...layerOptions,
  /** Which biases are trained beside: none, all, or those of the targets. Default `none`. */
  bias: oneOf(['none', 'all', 'waveft_only'], { default: 'none' }),
  /** Coefficients of each module, at most inputs × outputs. Default 2592. */
  nFrequency: integer({ default: 2592, min: 1 }),
  /** The change of a weight is multiplied by this. Default 25. */
  scaling: number({ default: 25 }),
  /** The wavelet: Daubechies' of 1 (Haar's) to 10 vanishing moments, and the symlets that are the same. Default `db1`. */
  waveletFamily: oneOf(Object.keys(WAVELETS) as [string, ...string[]], { default: 'db1' }),
  /** Coefficients are of wavelets. False: they are entries of the change itself. Default true. */
  useIdwt: boolean({ default: true }),
  /** Seed of torch's generator that draws which coefficients: files have only the seed. Default 777. */
  randomLocSeed: integer({ default: 777, min: 0 }),
  /** `nFrequency` by module, written as LoRA's `rankPattern`; the first that matches. Default: none. */
  nFrequencyPattern: patternOption,
  /** Give coefficients out in proportion to the sizes of modules. Not supported: true is refused. Default false. */
  proportionalParameters: boolean({ default: false }),
  /** True: start at zero, so that the model starts as it is. False: normal with deviation 0.01. Default true. */
  initWeights: boolean({ default: true }),
});
/** Options of `waveFt`, complete, by PEFT's names in camel case. */
export type WaveFtConfig = Read<typeof waveFtOptions>;

/**
 * WaveFT (arXiv 2505.12532): y = (W + α D⁻¹(C)) x + b with D⁻¹ one level of an inverse wavelet transform in two dimensions. The coefficients C are zero but
 * for n entries at random places, the same in all modules of one size. Each is an outer product of a wavelet or its scaling function along the
 * outputs and one along the inputs: ΔW = α Σ_k c_k u_k v_kᵀ. `waveft_spectrum` [n] are the c_k.
 */
export const waveFt: LayerMethod<WaveFtConfig> = {
  peftType: 'WAVEFT',
  kinds: ['linear'],
  targetBiases: 'waveft_only',
  options: waveFtOptions,
  fileDefaults: {},
  modulePatterns: ['nFrequencyPattern'],
  defaultTargets: { ...LORA_TARGETS, gpt2: ['mlp.c_proj'] },

  check(config, targets) {
    if (config.proportionalParameters) throw new AdapterConfigError('proportionalParameters is not supported');
    checkCounts(config, targets);
  },

  parameters: countOf,

  init(target, config, key) {
    const shape = [countOf(target, config)];
    return { [SPECTRUM]: config.initWeights ? zeros(shape) : normalWith(key, shape, 0.01) };
  },

  apply: (x, layer, parameters, config) =>
    layer.apply(x).add(applyLinear(x, deltaOf(layer, parameters, config), undefined, false)),

  ...addedToWeight<WaveFtConfig>(deltaOf),
};

const SPECTRUM = 'waveft_spectrum';

/** ΔW [out, in] as a product through the n coefficients. */
function deltaOf(module: ModuleInfo, { [SPECTRUM]: spectrum }: Named, config: WaveFtConfig): Tensor {
  const { inputs, outputs } = linearShape(module);
  const { randomLocSeed, waveletFamily, useIdwt, scaling } = config;
  const places = torchPermutation(inputs * outputs, randomLocSeed, spectrum!.size);
  const { low, high } = daubechies(WAVELETS[waveletFamily]!);
  const [rows, columns] = [sideOf(outputs, low.length), sideOf(inputs, low.length)];
  // Coefficient k along one side, and whether it lies in the half of the details there.
  const at = Array.from(places, (place) => {
    const [row, column] = [Math.floor(place / inputs), place % inputs];
    return { row: row + (useIdwt ? rows.offset : 0), column: column + (useIdwt ? columns.offset : 0) };
  });
  const along = (side: Side, size: number, own: 'row' | 'column', across: { side: Side; own: 'row' | 'column' }) => {
    const values = new Float32Array(size * at.length);
    at.forEach((place, k) => {
      if (!useIdwt) {
        values[place[own] * at.length + k] = 1;
        return;
      }
      // The quarter beside the averages is called horizontal: details along the other side.
      const filter = place[across.own] >= across.side.half ? high : low;
      const first = 2 * (place[own] % side.half) - (filter.length - 2);
      filter.forEach((value, i) => {
        if (first + i >= 0 && first + i < size) values[(first + i) * at.length + k] = value;
      });
    });
    return tensor(values, [size, at.length]);
  };
  const u = along(rows, outputs, 'row', { side: columns, own: 'column' });
  const v = along(columns, inputs, 'column', { side: rows, own: 'row' });
  const weights = spectrum!.cast('float32').mul(scaling);
  return u.mul(weights).matmul(v, { transposeB: true }).cast(spectrum!.dtype);
}

/** One side of the coefficients: as long as the filters need it, even, and the places that are drawn in its middle. */
interface Side {
  readonly half: number;
  readonly offset: number;
}

function sideOf(size: number, filter: number): Side {
  const needed = size + filter - 2;
  const padded = needed + (needed % 2);
  return { half: padded / 2, offset: Math.floor((padded - size) / 2) };
}
