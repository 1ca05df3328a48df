import type { QuantizedFormat } from '@posttrain/core-tensor/quantization';
import type { ModelConfig } from '../config/index.js';
import type { Weights } from './layers.js';
import type { Network } from './network.js';
import { configQuantizedWith } from './quantize.js';
import { type AwqQuantizationOptions, quantizeByAwq } from './quantize-awq.js';
import { type GptqQuantizationOptions, quantizeByGptq } from './quantize-gptq.js';
import { quantizeBySmoothQuant, type SmoothQuantQuantizationOptions } from './quantize-smooth-quant.js';

/** Options of `CausalLM.quantize` with calibration rows. */
export type CalibratedQuantizationOptions =
  | GptqQuantizationOptions
  | AwqQuantizationOptions
  | SmoothQuantQuantizationOptions;

const METHODS: readonly string[] = ['gptq', 'awq', 'smoothquant'];
/** Whether options are those of a method that looks at what the model computes. */
export const isCalibrated = (given: { readonly method: string }): given is CalibratedQuantizationOptions =>
  METHODS.includes(given.method);

/** Quantises linear layers by what reaches them on calibration rows. */
export async function quantizeCalibrated(
  network: Network,
  weights: Weights,
  given: CalibratedQuantizationOptions,
): Promise<{
  readonly config: ModelConfig;
  readonly weights: Weights;
  readonly quantized: ReadonlyMap<string, QuantizedFormat>;
}> {
  const { config, modules } = network;
  switch (given.method) {
    case 'awq':
      return { config, ...(await quantizeByAwq(network, weights, given)) };
    case 'smoothquant': {
      const stored = { method: 'int8', threshold: 0, ...(given.skip && { skip: given.skip }) } as const;
      const described = configQuantizedWith(config, modules.values(), stored);
      return { config: described, ...(await quantizeBySmoothQuant(network, weights, given)) };
    }
    default:
      return { config, ...(await quantizeByGptq(network, weights, given)) };
  }
}
