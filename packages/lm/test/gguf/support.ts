import { join } from 'node:path';
import { type Tensor, tensor } from '@posttrain/core-tensor';
import type { Network, Weights } from '../../src/index.js';

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
