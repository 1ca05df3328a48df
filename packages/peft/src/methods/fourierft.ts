import { concat, iota, scatterAdd, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, number, oneOf, type Read } from '@posttrain/interfaces';
import type { ModuleInfo } from '@posttrain/lm';
import { denseChange } from '../adapters/delta.js';
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

  ...denseChange<FourierFtConfig>(deltaOf),
};

const SPECTRUM = 'fourierft_spectrum';

/** ΔW [out, in] = Σ_k c_k cos 2π(p u_k / out + q v_k / in), by whichever way has fewer operations. */
function deltaOf(module: ModuleInfo, { [SPECTRUM]: spectrum }: Named, config: FourierFtConfig): Tensor {
  const { inputs, outputs } = linearShape(module);
  const places = torchPermutation(inputs * outputs, config.randomLocSeed, spectrum!.size);
  const weights = spectrum!.cast('float32').mul(config.scaling / (inputs * outputs));
  const isFew = 4 * places.length < inputs / 2 + outputs;
  return (isFew ? byFrequency : byAxis)(weights, places, [outputs, inputs]).cast(spectrum!.dtype);
}

type Sizes = readonly [outputs: number, inputs: number];

/** Two products through the n frequencies: 4 n operations an entry. */
function byFrequency(weights: Tensor, places: Int32Array, [outputs, inputs]: Sizes): Tensor {
  const rows = places.map((place) => Math.floor(place / inputs));
  const columns = places.map((place) => place % inputs);
  const along = (wave: Wave) =>
    waves(wave, [outputs, outputs], rows)
      .mul(weights)
      .matmul(waves(wave, [inputs, inputs], columns), { transposeB: true });
  return along('cos').sub(along('sin'));
}

/**
 * One axis after the other, by the cosine of a sum: in / 2 + out operations an entry. The frequencies u and size − u have one cosine, and the
 * sines of opposite sign, so that half of each axis is left; of the two halves of an axis the even frequencies are the same, and
 * the odd ones of opposite sign.
 */
function byAxis(weights: Tensor, places: Int32Array, [outputs, inputs]: Sizes): Tensor {
  const [rows, columns] = [orderedHalf(outputs), orderedHalf(inputs)];
  const signs = new Float32Array(places.length);
  const folded = places.map((place, k) => {
    const [u, v] = [Math.floor(place / inputs), place % inputs];
    signs[k] = (2 * u > outputs ? -1 : 1) * (2 * v > inputs ? -1 : 1);
    return (
      placeIn(Math.min(u, outputs - u), rows.length) * columns.length + placeIn(Math.min(v, inputs - v), columns.length)
    );
  });
  const along = (wave: Wave, values: Tensor) => {
    const size = rows.length * columns.length;
    const spectrum = scatterAdd(tensor(folded), values, { axis: 0, size }).reshape([rows.length, columns.length]);
    return transformed(wave, transformed(wave, spectrum, columns, inputs), rows, outputs);
  };
  return along('cos', weights).sub(along('sin', weights.mul(tensor(signs))));
}

/** Frequencies 0 … size / 2, the even ones first. */
function orderedHalf(size: number): Int32Array {
  const count = Math.floor(size / 2) + 1;
  const ordered = new Int32Array(count);
  for (let u = 0; u < count; u++) ordered[placeIn(u, count)] = u;
  return ordered;
}

const placeIn = (u: number, count: number): number => (u % 2) * Math.ceil(count / 2) + Math.floor(u / 2);

/** Σ_u c[., u] wave(2π p u / size) as [size, .]. */
function transformed(wave: Wave, spectrum: Tensor, frequencies: Int32Array, size: number): Tensor {
  const along = (count: number, from: number, to: number) =>
    waves(wave, [size, count], frequencies.subarray(from, to)).matmul(spectrum.slice(1, from, to), {
      transposeB: true,
    });
  if (size % 2 === 1) return along(size, 0, frequencies.length);
  const evens = Math.ceil(frequencies.length / 2);
  const even = along(size / 2, 0, evens);
  const odd = along(size / 2, evens, frequencies.length);
  return concat([even.add(odd), even.sub(odd)], 0);
}

type Wave = 'cos' | 'sin';

/** cos or sin of 2π p u / size [count, n], for p from 0. Whole turns are taken away as integers, where nothing rounds. */
function waves(wave: Wave, [size, count]: readonly [number, number], frequencies: Int32Array): Tensor {
  const turns = iota([count, 1], 0)
    .mul(tensor(frequencies, [1, frequencies.length], 'int32'))
    .mod(size);
  const angles = turns.cast('float32').mul((2 * Math.PI) / size);
  return wave === 'cos' ? angles.cos() : angles.sin();
}
