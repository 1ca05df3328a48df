import { mapTree, realize, referenceEngine, setEngine, type Tensor, tensor } from '@posttrain/core-tensor';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  hiddenStates,
  initialWeights,
  loadWeights,
  networkOf,
  rowFeatures,
  sequenceLogProbs,
  tokenizeCompletion,
} from '../src/index.js';
import { tokenRanks, topLogProbs } from '../src/score/top-log-probs.js';
import { largestDifference, modelFolder, tinyConfig, tinyModel } from './support.js';

describe('hidden states', () => {
  beforeAll(() => setEngine(referenceEngine()));

  const range = (n: number, f: (i: number) => number) => Array.from({ length: n }, (_, i) => f(i));
  const SEQUENCES = [range(5, (i) => i), range(40, (i) => (3 * i) % 64), [60]];

  describe('hiddenStates', () => {
    it('are what the output layer turns into the log-probabilities', async () => {
      const model = await tinyModel();
      const states = await hiddenStates(model, SEQUENCES);
      expect(states.map(({ length }) => length)).toEqual([5, 40, 1]);
      const head = await model.weights['lm_head.weight']!.toArray();
      const width = model.config.hiddenSize;
      const logits = range(model.config.vocabSize, (token) =>
        states[1]![20]!.reduce((sum, x, i) => sum + x * head[token * width + i]!, 0),
      );
      const logSumExp = Math.log(logits.reduce((sum, z) => sum + Math.exp(z), 0));
      const [scored] = await sequenceLogProbs(model, [SEQUENCES[1]!]);
      expect(logits[SEQUENCES[1]![21]!]! - logSumExp).toBeCloseTo(scored!.logProbs[20]!, 4);
    });

    it('do not depend on how sequences are put together', async () => {
      const model = await tinyModel();
      const [together, apart] = [
        await hiddenStates(model, SEQUENCES),
        await hiddenStates(model, SEQUENCES, { maxTokensPerPass: 1 }),
      ];
      for (const [i, rows] of together.entries()) {
        for (const [t, row] of rows.entries()) expect(largestDifference(row, apart[i]![t]!)).toBeLessThan(1e-5);
      }
      await expect(hiddenStates(model, [[]])).rejects.toThrow(/sequence 0 has 0 tokens/);
    });
  });

  describe('rowFeatures', () => {
    const rows = [
      { prompt: 'Is it so?', completion: ' It is.' },
      { prompt: [{ role: 'user', content: 'Is it so?' }], completion: 'No, not at all.' },
      { prompt: 'Is it so?', completion: '' },
    ];

    it.each(['mean', 'max', 'last'] as const)('are the %s of the states of the completion alone', async (pooling) => {
      const model = await tinyModel();
      const features = rowFeatures(model, { pooling });
      expect(features.dimension).toBe(model.config.hiddenSize);
      const found = await features.features(rows);
      for (const [i, { prompt, completion: content }] of rows.entries()) {
        const said = typeof prompt === 'string' ? content : [{ role: 'assistant', content }];
        const { tokens, start } = tokenizeCompletion(model, prompt, said);
        const [states] = await hiddenStates(model, [tokens]);
        const own = states!.slice(start);
        const expected = range(features.dimension!, (j) => {
          const column = own.map((state) => state[j]!);
          if (pooling === 'last') return column.at(-1)!;
          return pooling === 'max' ? Math.max(...column) : column.reduce((a, b) => a + b, 0) / column.length;
        });
        expect(largestDifference(found[i]!, expected)).toBeLessThan(1e-5);
      }
      const signal = AbortSignal.abort(new Error('enough'));
      await expect(features.features(rows, { signal })).rejects.toThrow('enough');
    });

    it('see the prompt, and are those of an adapter where there is one', async () => {
      const model = await tinyModel();
      const [a, b] = await rowFeatures(model).features(
        ['yes', 'no'].map((prompt) => ({ prompt, completion: ' maybe' })),
      );
      expect(largestDifference(a!, b!)).toBeGreaterThan(1e-3);
      const adapter = () => ({
        ...{ name: 'negating', parameters: tensor([-1], [1]) },
        hooks: (minus: Tensor) => ({
          linear: (x: Tensor, layer: { readonly apply: (x: Tensor) => Tensor }) => layer.apply(x).mul(minus),
        }),
      });
      const [c] = await rowFeatures(model, { adapter: adapter as never }).features([
        { prompt: 'yes', completion: ' maybe' },
      ]);
      expect(largestDifference(a!, c!)).toBeGreaterThan(1e-3);
      expect(() => rowFeatures(model, { pooling: 'cls' as never })).toThrow(/pooling is "cls"/);
    });
  });

  describe('logProbs with topLogProbs', () => {
    it('names the most likely tokens at each place: all of them are the distribution', async () => {
      const network = networkOf(tinyConfig());
      const weights = await initialWeights(network, 1);
      const scored = await sequenceLogProbs({ network, weights }, SEQUENCES.slice(0, 2), {
        topLogProbs: 64,
        temperature: 1.5,
        ranks: true,
      });
      for (const [i, { logProbs, isGreedy, topLogProbs: top, ranks }] of scored.entries()) {
        expect(top!.length).toBe(logProbs.length);
        for (const [t, alternatives] of top!.entries()) {
          expect(alternatives.reduce((sum, { logProb }) => sum + Math.exp(logProb), 0)).toBeCloseTo(1, 5);
          expect(new Set(alternatives.map(({ tokenId }) => tokenId)).size).toBe(64);
          const target = SEQUENCES[i]![t + 1]!;
          expect(alternatives.find(({ tokenId }) => tokenId === target)!.logProb).toBeCloseTo(logProbs[t]!, 5);
          expect(alternatives[0]!.tokenId === target).toBe(isGreedy[t] === 1);
          expect(ranks![t]).toBe(1 + alternatives.findIndex(({ tokenId }) => tokenId === target));
          const sorted = [...alternatives].sort((a, b) => b.logProb - a.logProb);
          expect(alternatives).toEqual(sorted);
        }
      }
      const [few] = await sequenceLogProbs({ network, weights }, [SEQUENCES[0]!], { topLogProbs: 3, temperature: 1.5 });
      expect(few!.topLogProbs!.map((row) => row.map(({ tokenId }) => tokenId))).toEqual(
        scored[0]!.topLogProbs!.map((row) => row.slice(0, 3).map(({ tokenId }) => tokenId)),
      );
      const [none] = await sequenceLogProbs({ network, weights }, [SEQUENCES[0]!]);
      expect(none).not.toHaveProperty('topLogProbs');
      expect(none).not.toHaveProperty('ranks');
      const wrong = sequenceLogProbs({ network, weights }, [[1, 2]], { topLogProbs: 65 });
      await expect(wrong).rejects.toThrow(/topLogProbs is 65; it must be a whole number from 0 to 64/);
    });

    it('does not depend on the pieces of the vocabulary', async () => {
      const network = networkOf(tinyConfig());
      const weights = await initialWeights(network, 1);
      const given = {
        states: tensor(
          Float32Array.from({ length: 48 }, (_, i) => Math.sin(i)),
          [3, 16],
        ),
        logSumExps: tensor([0, 1, 2], [3]),
      };
      const whole = topLogProbs(network, weights, given, 5, {});
      const own = tensor([0.1, 0, -0.2], [3]);
      const ranks = await tokenRanks(network, weights, given.states, own, {}).toArray();
      expect(new Set(ranks).size).toBeGreaterThan(1);
      for (const chunkSize of [3, 7, 63]) {
        const pieces = topLogProbs(network, weights, given, 5, { chunkSize });
        expect(await tokenRanks(network, weights, given.states, own, { chunkSize }).toArray()).toEqual(ranks);
        expect(await pieces.tokens.toArray()).toEqual(await whole.tokens.toArray());
        expect(largestDifference(await pieces.logProbs.toArray(), await whole.logProbs.toArray())).toBeLessThan(1e-6);
      }
    });
  });
});

describe('float16', () => {
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
});
