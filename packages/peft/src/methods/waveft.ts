import { concat, scatterAdd, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, number, oneOf, type Read } from '@posttrain/interfaces';
import type { ModuleInfo } from '@posttrain/lm';
import { denseChange } from '../adapters/delta.js';
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
import { daubechies, WAVELETS, type Wavelet } from './wavelets.js';

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

  ...denseChange<WaveFtConfig>(deltaOf),
};

const SPECTRUM = 'waveft_spectrum';

/** ΔW [out, in]: the coefficients at their places, and one level of the inverse transform along either side. */
function deltaOf(module: ModuleInfo, { [SPECTRUM]: spectrum }: Named, config: WaveFtConfig): Tensor {
  const { inputs, outputs } = linearShape(module);
  const { randomLocSeed, waveletFamily, useIdwt, scaling } = config;
  const places = torchPermutation(inputs * outputs, randomLocSeed, spectrum!.size);
  const weights = spectrum!.cast('float32').mul(scaling);
  const put = (at: Int32Array, size: number) => scatterAdd(tensor(at), weights, { axis: 0, size });
  if (!useIdwt)
    return put(places, outputs * inputs)
      .reshape([outputs, inputs])
      .cast(spectrum!.dtype);
  const wavelet = daubechies(WAVELETS[waveletFamily]!);
  const [rows, columns] = [sideOf(outputs, wavelet.low.length), sideOf(inputs, wavelet.low.length)];
  // [averages and details along the outputs, rows, columns, averages and details along the inputs].
  const shape = [2, rows.half, columns.half, 2] as const;
  const at = places.map((place) => {
    const [row, column] = [Math.floor(place / inputs) + rows.offset, (place % inputs) + columns.offset];
    // The quarter beside the averages is called horizontal: details along the other side.
    const details = [Number(column >= columns.half), Number(row >= rows.half)] as const;
    return 2 * ((details[0] * rows.half + (row % rows.half)) * columns.half + (column % columns.half)) + details[1];
  });
  const coefficients = put(at, 2 * rows.half * columns.half * 2).reshape([...shape]);
  return alongInputs(alongOutputs(coefficients, outputs, wavelet), inputs, wavelet).cast(spectrum!.dtype);
}

/** Coefficients [2, half, columns, 2] → [size, columns, 2]. */
function alongOutputs(coefficients: Tensor, size: number, wavelet: Wavelet): Tensor {
  const [, , columns] = coefficients.shape as [number, number, number];
  const { count, filters, starts } = windowsOf(size, wavelet);
  const windows = concat(
    starts.map((start) => coefficients.slice(1, start, start + count)),
    0,
  );
  const pairs = filters.matmul(windows.reshape([2 * starts.length, count * columns * 2]));
  return pairs
    .reshape([2, count, columns * 2])
    .transpose([1, 0, 2])
    .reshape([2 * count, columns, 2])
    .slice(0, 0, size);
}

/** [rows, half, 2] → [rows, size]. */
function alongInputs(coefficients: Tensor, size: number, wavelet: Wavelet): Tensor {
  const [rows] = coefficients.shape as [number];
  const { count, filters, starts } = windowsOf(size, wavelet);
  const windows = concat(
    starts.map((start) => coefficients.slice(1, start, start + count)),
    2,
  );
  const pairs = windows.reshape([rows * count, 2 * starts.length]).matmul(filters, { transposeB: true });
  return pairs.reshape([rows, 2 * count]).slice(1, 0, size);
}

/**
 * The outputs 2 t and 2 t + 1, of `count` t, are two sums over coefficients t to t + m, m one below half the filter: `starts` are where t = 0 has
 * them, in the order of the columns of `filters` [2, 2 (m + 1)], averages and details in turn.
 */
function windowsOf(size: number, { low, high }: Wavelet) {
  const last = low.length / 2 - 1;
  const starts = Array.from({ length: last + 1 }, (_, j) => last - j);
  const row = (parity: number) => starts.flatMap((_, j) => [low[2 * j + parity]!, high[2 * j + parity]!]);
  const filters = tensor(Float32Array.from([...row(0), ...row(1)]), [2, 2 * starts.length]);
  return { count: Math.ceil(size / 2), filters, starts };
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
