import { referenceEngine, tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { onEngine } from '@posttrain/core-tensor/testing';
import { describe, expect, it } from 'vitest';
import {
  hiddenStates,
  LocalEmbedder,
  LocalGenerator,
  LocalScorer,
  SearchGenerator,
  sequenceLogProbs,
} from '../src/index.js';
import { GENERATORS, testIsolation } from './isolation.js';
import { tinyModel } from './support.js';

const { plain: _, ...others } = GENERATORS;

describe('a request that goes wrong concerns itself only', () => {
  // Rounding may turn a draw, where doubles do not.
  it('reference', () =>
    testIsolation(referenceEngine, GENERATORS['a draft']!, { temperatures: [0, 1], runs: 5, seed: 10 }));
  it.each(Object.entries(others))('onnxruntime, %s', (__, options) =>
    testIsolation(onnxruntimeEngine, options, { temperatures: [0], runs: 5, seed: 10 }),
  );
});

it('weights that are none leave nothing to the next ones, which take their memory over', async () => {
  await onEngine(onnxruntimeEngine(), async () => {
    const [model, fresh] = [await tinyModel(), await tinyModel()];
    const [name, up] = Object.entries(model.weights).find(([it]) => it.includes('up_proj'))!;
    const numbers = Float32Array.from(await up.toArray());
    numbers[3] = Number.NaN;
    const bad = model.withWeights({ ...model.weights, [name]: tensor(numbers, up.shape) });
    const prompt = 'The quick brown fox jumps over the lazy dog. '.repeat(3);
    for (const logProbs of [true, false]) {
      await expect(
        new LocalGenerator(bad).generate([{ prompt, maxTokens: 4, temperature: 0, logProbs }]),
      ).rejects.toThrow(`the model's weights are not finite in ${name}`);
    }
    await expect(sequenceLogProbs(bad, [[1, 2, 3]])).rejects.toThrow(name);
    await expect(hiddenStates(bad, [[1, 2, 3]])).rejects.toThrow(name);
    await expect(new LocalEmbedder(bad).embed(['x'])).rejects.toThrow(name);
    await expect(new LocalScorer(bad).score([{ prompt: 'x', continuation: ' y' }])).rejects.toThrow(name);
    const search = new SearchGenerator(bad, { method: 'beamSearch', numBeams: 2 });
    await expect(search.generate([{ prompt: 'x', maxTokens: 3 }])).rejects.toThrow(name);
    const request = { prompt: 'x', maxTokens: 8, temperature: 0 };
    const [got, wanted] = [
      await new LocalGenerator(model).generate([request]),
      await new LocalGenerator(fresh).generate([request]),
    ];
    expect(got[0]![0]!.tokenIds).toEqual(wanted[0]![0]!.tokenIds);
  });
});
