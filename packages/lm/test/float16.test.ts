import { mapTree, realize, type Tensor, tensor } from '@posttrain/core-tensor';
import { describe, expect, it } from 'vitest';
import { loadWeights, networkOf, sequenceLogProbs } from '../src/index.js';
import { modelFolder } from './support.js';

const range = (n: number, f: (i: number) => number) => Array.from({ length: n }, (_, i) => f(i));

describe.each(['llama', 'qwen3', 'gpt2'])('%s in float16', (folder) => {
  it('scores as it does in float32, to the precision of its numbers', async () => {
    const { config, weights } = await loadWeights(modelFolder(folder));
    const network = networkOf(config);
    const half = mapTree(weights, (x) => (x.dtype === 'float32' ? x.cast('float16') : x));
    await realize(Object.values(half));
    const sequences = [range(12, (i) => (i * 7) % config.vocabSize), range(5, (i) => (i * 3) % config.vocabSize)];
    const wanted = await sequenceLogProbs({ network, weights }, sequences);
    const got = await sequenceLogProbs({ network, weights: half }, sequences);
    got.forEach(({ logProbs }, row) => {
      logProbs.forEach((x, i) => {
        expect(Math.abs(x - wanted[row]!.logProbs[i]!)).toBeLessThan(0.02);
      });
    });
    // Not the same numbers: it did compute in float16.
    expect(got[0]!.logProbs.some((x, i) => x !== wanted[0]!.logProbs[i])).toBe(true);
  });

  it('gives its hidden states in float16', async () => {
    const { config, weights } = await loadWeights(modelFolder(folder));
    const network = networkOf(config);
    const half = mapTree(weights, (x) => (x.dtype === 'float32' ? x.cast('float16') : x));
    const int32 = (f: (i: number) => number): Tensor => tensor(Int32Array.from(range(4, f)), [1, 4], 'int32');
    const input = { tokens: int32((i) => i + 1), positions: int32((i) => i), segments: int32(() => 0) };
    expect(network.hidden(half, input).dtype).toBe('float16');
  });
});
