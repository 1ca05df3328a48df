import { join } from 'node:path';
import { type Tensor, tensor } from '@posttrain/core-tensor';
import { CausalLM, type Network, type Weights } from '../../src/index.js';

export const goldenFolder = join(import.meta.dirname, '../../../../goldens/gguf');
export const goldenFile = (name: string): string => join(goldenFolder, `${name}.gguf`);

/** Logits [b, s, vocabulary] of whole sequences. */
export function logitsOf(network: Network, weights: Weights, tokens: Tensor): Tensor {
  const [b, s] = tokens.shape as [number, number];
  const rows = (f: (t: number) => number) =>
    tensor(
      Int32Array.from({ length: b * s }, (_, i) => f(i % s)),
      [b, s],
      'int32',
    );
  const input = { tokens, positions: rows((t) => t), segments: rows(() => 1) };
  return network.hidden(weights, input).matmul(network.head(weights).expandDims(0), { transposeB: true });
}

/** Without the layers that have no router, which no file is written of. */
export function withRouters(model: CausalLM): CausalLM {
  const { config, weights } = model;
  if (!('experts' in config) || !config.experts?.sparseLayers.includes(false)) return model;
  const from = config.experts.sparseLayers.indexOf(true);
  const prefix = `model.layers.${from}.`;
  const kept = Object.entries(weights).flatMap(([name, weight]) => {
    if (name.startsWith(prefix)) return [[name.replace(prefix, 'model.layers.0.'), weight] as const];
    return name.startsWith('model.layers.') ? [] : [[name, weight] as const];
  });
  const experts = { ...config.experts, sparseLayers: [true] };
  const layerTypes = config.layerTypes.slice(from, from + 1);
  return new CausalLM({
    ...model,
    config: { ...config, numHiddenLayers: 1, layerTypes, experts },
    weights: Object.fromEntries(kept),
  });
}
