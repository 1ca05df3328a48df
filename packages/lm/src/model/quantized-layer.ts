import type { Tensor } from '@posttrain/core-tensor';
import { dequantized, partNames, type QuantizedWeight, quantizedMatmul } from '@posttrain/core-tensor/quantization';
import type { LinearLayer, ModuleInfo, Weights } from './layers.js';

/** The name among a model's weights of a part of the quantised weight `parameter`. */
export const partKey = (parameter: string, part: string): string =>
  part === 'codes' ? parameter : `${parameter}.${part}`;

/** A quantised weight as a model's entries, by their names. */
export const weightEntries = <T>(parameter: string, { parts }: QuantizedWeight<T>): [string, T][] =>
  Object.entries(parts).map(([part, value]) => [partKey(parameter, part), value as T]);

/** The quantised weight of a module, whose parts are among the model's weights. */
export function quantizedWeightOf(
  { name, quantization }: ModuleInfo & Required<Pick<ModuleInfo, 'quantization'>>,
  weights: Weights,
): QuantizedWeight<Tensor> {
  const parts = partNames(quantization).map((part) => [part, weights[partKey(`${name}.weight`, part)]!]);
  return { ...quantization, parts: Object.fromEntries(parts) };
}

/** Whether a module's weight is quantised; narrows its `quantization`. */
export const isQuantized = (module: ModuleInfo): module is ModuleInfo & Required<Pick<ModuleInfo, 'quantization'>> =>
  module.quantization !== undefined;

/**
 * The weight of a linear layer, embedding or output layer as float32, in the layout of the module: itself, or what its
 * codes stand for. A tied output layer has the embedding's.
 */
export function floatWeight(module: ModuleInfo, weights: Weights): Tensor {
  if (!isQuantized(module)) return weights[`${module.tiedTo ?? module.name}.weight`]!;
  const weight = dequantized(quantizedWeightOf(module, weights));
  return module.transposed ? weight.transpose() : weight;
}

/** A quantised linear layer as hooks see it. */
export function quantizedLayer(
  module: ModuleInfo & Required<Pick<ModuleInfo, 'quantization'>>,
  weights: Weights,
  bias: Tensor | undefined,
): LinearLayer {
  const stored = quantizedWeightOf(module, weights);
  return {
    ...module,
    weight: floatWeight(module, weights),
    bias,
    apply(x) {
      const y = quantizedMatmul(x, stored);
      return bias ? y.add(bias) : y;
    },
  };
}
