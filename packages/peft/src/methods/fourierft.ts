import { iota, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, number, oneOf, type Read } from '@posttrain/interfaces';
import { applyLinear, type ModuleInfo } from '@posttrain/lm';
import { addedToWeight } from '../adapters/delta.js';
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

const fourierFtOptions = methodOptions('FOURIERFT', {
  ...targetOptions,
  ...excludeOption,
  ...layerOptions,
  /** Which biases are trained beside: none, all, or those of the targets. Default `none`. */
  bias: oneOf(['none', 'all', 'fourier_only'], { default: 'none' }),
  /** Coefficients of each module, at most inputs × outputs. Default 1000. */
  nFrequency: integer({ default: 1000, min: 1 }),
  /** The change of a weight is multiplied by this. Default 150. */
  scaling: number({ default: 150 }),
  /** Seed of torch's generator that draws which frequencies: files have only the seed. Default 777. */
  randomLocSeed: integer({ default: 777, min: 0 }),
  /** `nFrequency` by module, written as LoRA's `rankPattern`; the first that matches. Default: none. */
  nFrequencyPattern: patternOption,
  /** True: start at zero, so that the model starts as it is. False: normal with deviation 1. Default false. */
  initWeights: boolean({ default: false }),
});
/** Options of `fourierFt`, complete, by PEFT's names in camel case. */
export type FourierFtConfig = Read<typeof fourierFtOptions>;

/**
 * FourierFT (arXiv 2405.03003): y = (W + α Re F⁻¹(C)) x + b. The spectrum C [out, in] is zero but for n entries c_k at random
 * places (u_k, v_k), the same in all modules of one size: ΔW_pq = α / (out · in) Σ_k c_k cos 2π (p u_k / out + q v_k / in).
 * `fourierft_spectrum` [n] are the c_k.
 */
export const fourierFt: LayerMethod<FourierFtConfig> = {
  peftType: 'FOURIERFT',
  kinds: ['linear'],
  targetBiases: 'fourier_only',
  options: fourierFtOptions,
  fileDefaults: {},
  modulePatterns: ['nFrequencyPattern'],
  defaultTargets: { ...LORA_TARGETS, gpt2: ['mlp.c_proj'] },

  check: checkCounts,

  parameters: countOf,

  init(target, config, key) {
    const shape = [countOf(target, config)];
    return { [SPECTRUM]: config.initWeights ? zeros(shape) : normalWith(key, shape) };
  },

  apply: (x, layer, parameters, config) =>
    layer.apply(x).add(applyLinear(x, deltaOf(layer, parameters, config), undefined, false)),

  ...addedToWeight<FourierFtConfig>(deltaOf),
};

const SPECTRUM = 'fourierft_spectrum';

/** ΔW [out, in] by the cosine of a sum: two products through the n frequencies, fewer than a transform of all out · in. */
function deltaOf(module: ModuleInfo, { [SPECTRUM]: spectrum }: Named, config: FourierFtConfig): Tensor {
  const { inputs, outputs } = linearShape(module);
  const places = torchPermutation(inputs * outputs, config.randomLocSeed, spectrum!.size);
  const rows = waves(
    outputs,
    places.map((place) => Math.floor(place / inputs)),
  );
  const columns = waves(
    inputs,
    places.map((place) => place % inputs),
  );
  const weights = spectrum!.cast('float32').mul(config.scaling / (inputs * outputs));
  const even = rows.cos.mul(weights).matmul(columns.cos, { transposeB: true });
  const odd = rows.sin.mul(weights).matmul(columns.sin, { transposeB: true });
  return even.sub(odd).cast(spectrum!.dtype);
}

/** cos and sin of 2π p u / size [size, n], for p from 0. Whole turns are taken away as integers, where nothing rounds. */
function waves(size: number, frequencies: Int32Array): { readonly cos: Tensor; readonly sin: Tensor } {
  const turns = iota([size, 1], 0)
    .mul(tensor(frequencies, [1, frequencies.length], 'int32'))
    .mod(size);
  const angles = turns.cast('float32').mul((2 * Math.PI) / size);
  return { cos: angles.cos(), sin: angles.sin() };
}
