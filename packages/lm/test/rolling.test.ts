import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { referenceEngine, setEngine } from '@posttrain/core-tensor';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  loadWeights,
  perplexity,
  type RollingWindow,
  rollingLogProbs,
  rollingWindows,
  sequenceLogProbs,
  strideWindows,
} from '../src/index.js';
import { goldenFolder, largestDifference, modelFolder } from './support.js';

beforeAll(() => setEngine(referenceEngine()));

const golden = (name: string) => JSON.parse(readFileSync(join(goldenFolder('rolling'), name), 'utf8'));
const range = (n: number, f: (i: number) => number) => Array.from({ length: n }, (_, i) => f(i));

/** Every token but the first once and in order, in windows of no more than `longest` inputs. */
function checkWindows(windows: readonly RollingWindow[], length: number, longest: number) {
  expect(windows.flatMap(({ predictedFrom, to }) => range(to - predictedFrom, (i) => predictedFrom + i))).toEqual(
    range(length - 1, (i) => i + 1),
  );
  for (const { from, to, predictedFrom } of windows) {
    expect(from).toBeLessThan(predictedFrom);
    expect(to - 1 - from).toBeLessThanOrEqual(longest);
  }
}

describe('rollingWindows', () => {
  it('are those of lm-evaluation-harness', () => {
    const { cases } = golden('windows.json');
    for (const { prefix, tokens, max_seq_len, context_len, windows } of cases) {
      const all = [prefix, ...tokens];
      const ours = rollingWindows(all.length, max_seq_len, context_len).map(({ from, to, predictedFrom }) => [
        all.slice(from, predictedFrom),
        all.slice(predictedFrom, to),
      ]);
      expect(ours).toEqual(windows);
    }
  });

  it('predict each token once, from enough context', () => {
    const sizes = fc.tuple(fc.integer({ min: 2, max: 300 }), fc.integer({ min: 1, max: 64 }), fc.nat());
    fc.assert(
      fc.property(sizes, ([length, longest, seed]) => {
        const context = 1 + (seed % longest);
        const windows = rollingWindows(length, longest, context);
        checkWindows(windows, length, longest);
        for (const { from, predictedFrom } of windows.slice(1)) {
          expect(predictedFrom - from).toBeGreaterThanOrEqual(context);
        }
      }),
    );
  });
});

describe('strideWindows', () => {
  it('predict each token once, and begin a stride apart', () => {
    const sizes = fc.tuple(fc.integer({ min: 2, max: 300 }), fc.integer({ min: 2, max: 64 }), fc.nat());
    fc.assert(
      fc.property(sizes, ([length, longest, seed]) => {
        const stride = 1 + (seed % (longest - 1));
        const windows = strideWindows(length, longest, stride);
        checkWindows(windows, length, longest);
        expect(windows.map(({ from }) => from)).toEqual(windows.map((_, i) => i * stride));
      }),
    );
  });
});

describe('rollingLogProbs', () => {
  it('with a stride is what transformers gives in the windows of its guide', async () => {
    const { weights, network } = await loadWeights(modelFolder('smollm2'));
    const { ids, cases } = golden('stride.json');
    for (const { max_length: maxLength, stride, log_probs: windows } of cases) {
      const [scored] = await rollingLogProbs({ network, weights }, [ids], { maxLength, stride });
      const wanted: number[] = windows.flat();
      expect(scored!.logProbs.length).toBe(ids.length - 1);
      expect(largestDifference(scored!.logProbs, wanted)).toBeLessThan(1e-4);
      const mean = wanted.reduce((a, b) => a + b, 0) / wanted.length;
      expect(perplexity([scored!]) / Math.exp(-mean)).toBeCloseTo(1, 4);
    }
  });

  it('predicts each token from the window it is in, whatever the other sequences', async () => {
    const { weights, network } = await loadWeights(modelFolder('llama'));
    const sequences = [range(300, (i) => (i * 7) % 250), [4, 5], range(130, (i) => (i * 3) % 200)];
    const options = { maxLength: 24, contextLength: 10, topLogProbs: 2, ranks: true };
    const scored = await rollingLogProbs({ network, weights }, sequences, options);
    for (const [i, tokens] of sequences.entries()) {
      expect(scored[i]!.logProbs.length).toBe(tokens.length - 1);
      expect(scored[i]!.topLogProbs!.length).toBe(tokens.length - 1);
      expect(scored[i]!.ranks!.map((rank) => Number(rank === 1))).toEqual(scored[i]!.isGreedy);
      for (const t of [1, 24, 25, 40, tokens.length - 1].filter((at) => at < tokens.length)) {
        const window = rollingWindows(tokens.length, 24, 10).find(({ to }) => t < to)!;
        const [alone] = await sequenceLogProbs({ network, weights }, [tokens.slice(window.from, t + 1)]);
        expect(scored[i]!.logProbs[t - 1]).toBeCloseTo(alone!.logProbs.at(-1)!, 4);
      }
    }
  });

  it('is plain scoring where the context is long enough, of one token more than it too', async () => {
    const { weights, network, config } = await loadWeights(modelFolder('gpt2'));
    const tokens = range(config.maxPositionEmbeddings + 1, (i) => (i * 11) % 250);
    const [[rolling], [plain]] = [
      await rollingLogProbs({ network, weights }, [tokens]),
      await sequenceLogProbs({ network, weights }, [tokens]),
    ];
    expect(rolling!.logProbs).toEqual(plain!.logProbs);
    expect(rollingWindows(tokens.length, config.maxPositionEmbeddings).length).toBe(1);
  });

  it('refuses what makes no sense', async () => {
    const { weights, network } = await loadWeights(modelFolder('llama'));
    const run = (tokens: number[], options: object) => rollingLogProbs({ network, weights }, [tokens], options);
    await expect(run([1], {})).rejects.toThrow(/sequence 0 needs two tokens/);
    await expect(run([1, 2], { maxLength: 129 })).rejects.toThrow(/from 1 to 128, not 129/);
    await expect(run([1, 2], { maxLength: 8, contextLength: 9 })).rejects.toThrow(/from 1 to maxLength \(8\), not 9/);
    await expect(run([1, 2], { maxLength: 8, stride: 8 })).rejects.toThrow(/from 1 to maxLength - 1 \(7\), not 8/);
    await expect(run([1, 2], { stride: 2, contextLength: 1 })).rejects.toThrow(/not both/);
  });
});
