import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Key, referenceEngine, setEngine } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  contrastive,
  type DecodingMix,
  dola,
  initialWeights,
  loadWeights,
  logSoftmax,
  type Network,
  networkOf,
  sequenceLogProbs,
  type Weights,
} from '../src/index.js';
import {
  decodeAll,
  ENGINES,
  goldenFolder,
  largestDifference,
  logitsOf,
  MODEL_FOLDERS,
  modelFolder,
  readGolden,
  rowOf,
  tinyConfig,
} from './support.js';

interface Guidance {
  readonly model: string;
  readonly scale: number;
  readonly prompt: readonly number[];
  readonly negative: readonly number[];
  readonly ids: readonly number[];
  readonly log_probs: readonly number[];
}
interface ContrastedLayers {
  readonly model: string;
  readonly layers: readonly number[];
  readonly relative_top: number;
  readonly prompt: readonly number[];
  readonly ids: readonly number[];
  readonly log_probs: readonly number[];
}
const readSampling = (name: string) => JSON.parse(readFileSync(join(goldenFolder('sampling'), name), 'utf8'));
const guidance: Guidance[] = readSampling('guidance.json');
const layers: ContrastedLayers[] = readSampling('dola.json');

/** The mix, and the log-probabilities of the likeliest token of what it gave. */
function watched(mix: DecodingMix): { readonly mix: DecodingMix; readonly logProbs: number[] } {
  const logProbs: number[] = [];
  const combine: DecodingMix['combine'] = (...given) => {
    const logits = mix.combine(...given);
    logProbs.push(Math.max(...logSoftmax(logits)));
    return logits;
  };
  return { mix: { ...mix, combine }, logProbs };
}

describe('decode', () => {
  beforeAll(() => setEngine(referenceEngine()));

  const FAMILIES: readonly [name: string, config: Record<string, unknown>][] = [
    ['llama', { model_type: 'llama', attention_bias: true }],
    ['mistral', { model_type: 'mistral', sliding_window: 5 }],
    ['qwen2', { model_type: 'qwen2', tie_word_embeddings: true }],
    ['qwen3', { model_type: 'qwen3', head_dim: 8 }],
    ['gpt2', { model_type: 'gpt2' }],
    ['gemma2', { model_type: 'gemma2', head_dim: 8, sliding_window: 5, attn_logit_softcapping: 2 }],
    ['gemma3_text', { model_type: 'gemma3_text', head_dim: 8, sliding_window: 5, sliding_window_pattern: 2 }],
    ['phi3', { model_type: 'phi3', partial_rotary_factor: 0.5, sliding_window: 5 }],
    ['olmo2', { model_type: 'olmo2' }],
  ];

  async function tiny(config: Record<string, unknown>, seed = 1): Promise<{ network: Network; weights: Weights }> {
    const network = networkOf(tinyConfig(config));
    return { network, weights: await onEngine(referenceEngine(), () => initialWeights(network, seed)) };
  }

  /** The most likely token after each. */
  const choices = async (model: { readonly network: Network; readonly weights: Weights }, tokens: readonly number[]) =>
    (await logitsOf(model, tokens)).map((row) => row.indexOf(Math.max(...row)));

  const range = (n: number, f: (i: number) => number) => Array.from({ length: n }, (_, i) => f(i));

  describe.each(ENGINES)('on the %s engine', (_, makeEngine) => {
    const engine = makeEngine();

    it.each(FAMILIES)('%s: greedy with a cache, in a ragged batch, is greedy without either', (_family, config) =>
      onEngine(engine, async () => {
        const model = await tiny(config);
        const prompts = [[3], [9, 1, 4, 1, 5, 9, 2], range(18, (i) => (7 * i) % 64)];
        const { tokens } = await decodeAll(
          model,
          prompts.map((prompt, i) => rowOf(prompt, 9 - i)),
        );
        for (const [i, prompt] of prompts.entries()) {
          expect(tokens[i]!.length).toBe(9 - i);
          const chosen = await choices(model, [...prompt, ...tokens[i]!]);
          expect(chosen.slice(prompt.length - 1, -1)).toEqual(tokens[i]);
        }
      }),
    );

    it('gives a row the same tokens in any batch, greedy or sampled', () =>
      onEngine(engine, async () => {
        const model = await tiny({});
        const prompts = [[5, 9, 2], [5, 9, 2], range(17, (i) => i + 20), [61], [5, 9, 2], [8, 8]];
        const sampled = prompts.map((prompt, i) =>
          rowOf(prompt, 4 + i, { temperature: 0.9, topP: 0.95, repetitionPenalty: 1.1, key: Key.fromSeed(40 + i) }),
        );
        const rows = [...sampled, ...prompts.map((prompt) => rowOf(prompt, 5))];
        const together = await decodeAll(model, rows);
        expect(together.tokens[0]).not.toEqual(together.tokens[1]!.slice(0, 4));
        for (const maxBatch of [1, 5]) {
          const { tokens, logProbs } = await decodeAll(model, rows, { maxBatch });
          expect(tokens, `maxBatch ${maxBatch}`).toEqual(together.tokens);
          expect(largestDifference(logProbs.flat(), together.logProbs.flat())).toBeLessThan(1e-4);
        }
      }));

    it.each(FAMILIES)('%s: scoring gives the log-probabilities that sampling reported', (_family, config) =>
      onEngine(engine, async () => {
        const model = await tiny(config);
        const prompts = [[3], [9, 1, 4], range(18, (i) => (5 * i) % 64)];
        const rows = prompts.map((prompt, i) => rowOf(prompt, 12, { temperature: 0.7, key: Key.fromSeed(i) }));
        const { tokens, logProbs } = await decodeAll(model, rows);
        const sequences = prompts.map((prompt, i) => [...prompt, ...tokens[i]!]);
        const scored = await sequenceLogProbs(model, sequences, { temperature: 0.7 });
        for (const [i, prompt] of prompts.entries()) {
          const tail = scored[i]!.logProbs.subarray(prompt.length - 1);
          expect(tail.length).toBe(12);
          expect(largestDifference(tail, logProbs[i]!)).toBeLessThan(1e-4);
        }
      }),
    );

    it.each([1, 3, 40])('with a sliding window of %i, forgets exactly what lies outside it', (window) =>
      onEngine(engine, async () => {
        // In one layer a token's state depends on the tokens of its window only.
        const model = await tiny({ model_type: 'mistral', sliding_window: window, num_hidden_layers: 1 });
        const prompts = [range(12, (i) => i), range(12, (i) => (i === 4 ? 50 : i))];
        const { logProbs } = await decodeAll(
          model,
          prompts.map((prompt) => rowOf(prompt, 3)),
        );
        const difference = Math.abs(logProbs[0]![0]! - logProbs[1]![0]!);
        // Position 11 sees position 4 from a window of 8 on.
        if (window < 8) expect(difference).toBe(0);
        else expect(difference).toBeGreaterThan(1e-4);
      }),
    );

    it('does not touch learned positions that are not there, in prompts that padding would push past them', () =>
      onEngine(engine, async () => {
        const model = await tiny({ model_type: 'gpt2', n_positions: 20 });
        const prompt = range(18, (i) => 3 * i);
        const { tokens, finishes } = await decodeAll(model, [rowOf(prompt, 8)]);
        // 20 positions hold the prompt and two more tokens.
        expect(finishes).toEqual(['length']);
        expect(tokens[0]!.length).toBe(2);
        expect((await choices(model, [...prompt, ...tokens[0]!])).slice(17, 19)).toEqual(tokens[0]);
        const [scored] = await sequenceLogProbs(model, [[...prompt, ...tokens[0]!]]);
        expect(scored!.isGreedy.subarray(17)).toEqual(Float32Array.of(1, 1));
      }));
  });

  describe('decode', () => {
    it('ends a row at its end token, which counts, and at maxTokens, while others go on', async () => {
      const model = await tiny({});
      const free = await decodeAll(model, [rowOf([1, 2], 10)]);
      const end = free.tokens[0]![4]!;
      const cut = free.tokens[0]!.indexOf(end) + 1;
      const rows = [rowOf([1, 2], 10, { isEnd: (token) => token === end }), rowOf([1, 2], 3), rowOf([1, 2], 10)];
      const { tokens, finishes } = await decodeAll(model, rows);
      expect(tokens).toEqual([free.tokens[0]!.slice(0, cut), free.tokens[0]!.slice(0, 3), free.tokens[0]]);
      expect(finishes).toEqual(['stop', 'length', 'length']);
    });

    it('stops the rows that the caller cancels, before they begin or after a token', async () => {
      const model = await tiny({});
      const rows = [rowOf([1], 6), rowOf([1, 2], 6), rowOf([1, 2, 3], 6)];
      const seen = [0, 0, 0];
      const isCancelled = (row: number) => row === 0 || (row === 1 && seen[1] === 2);
      const free = await decodeAll(model, rows);
      const events = decodeAll(model, rows, {
        isCancelled: (row) => isCancelled(row) || ++seen[row]! > 99,
        maxBatch: 2,
      });
      const { tokens } = await events;
      // `seen` counts the question before the first token too.
      expect(tokens.map((list) => list.length)).toEqual([0, 2, 6]);
      expect(tokens[2]).toEqual(free.tokens[2]);
    });

    it('lowers the logits of seen tokens with a repetition penalty, those of the prompt included', async () => {
      const model = await tiny({});
      const prompt = [4, 7];
      const { tokens } = await decodeAll(model, [rowOf(prompt, 12, { repetitionPenalty: 1e9 })]);
      const all = [...prompt, ...tokens[0]!];
      for (const [t, logits] of (await logitsOf(model, all)).entries()) {
        if (t < prompt.length - 1 || t === all.length - 1) continue;
        for (const seen of new Set(all.slice(0, t + 1))) {
          logits[seen] = logits[seen]! < 0 ? logits[seen]! * 1e9 : logits[seen]! / 1e9;
        }
        expect(logits.indexOf(Math.max(...logits))).toBe(all[t + 1]);
      }
      expect(new Set(all).size).toBe(all.length);
    });

    it('refuses what it cannot do, naming it', async () => {
      const model = await tiny({});
      const run = (overrides: object, options = {}) => decodeAll(model, [{ ...rowOf([1], 4), ...overrides }], options);
      await expect(run({ prompt: range(96, () => 3) })).rejects.toThrow(/prompt 0 has 96 tokens.*holds 96/);
      await expect(run({ prompt: [] })).rejects.toThrow(/prompt 0 has no tokens/);
      await expect(run({ maxTokens: 0 })).rejects.toThrow(/maxTokens is 0; it must be a whole number of at least 1/);
      await expect(run({ temperature: -1 })).rejects.toThrow(/temperature is -1; it must be a number of at least 0/);
      await expect(run({ topK: 0 })).rejects.toThrow(/topK/);
      await expect(run({ topP: 0 })).rejects.toThrow(/topP/);
      await expect(run({ minP: 1.5 })).rejects.toThrow(/minP/);
      await expect(run({ repetitionPenalty: 0 })).rejects.toThrow(/repetitionPenalty/);
      await expect(run({}, { maxBatch: 0 })).rejects.toThrow(/maxBatch is 0; it must be a whole number of at least 1/);
      await expect(run({}, { maxbatch: 2 })).rejects.toThrow(/unknown option "maxbatch". Did you mean "maxBatch"/);
    });
  });
});

describe.each(ENGINES)('on the %s engine', (_, makeEngine) => {
  const engine = makeEngine();
  it.each(MODEL_FOLDERS)('%s: continues two ragged prompts greedily as transformers does', (folder) =>
    onEngine(engine, async () => {
      const { config, weights } = await loadWeights(modelFolder(folder));
      const { read, json } = await readGolden(modelFolder(folder));
      const rows = json['greedy.prompts'].map((prompt: number[]) => rowOf(prompt, 24));
      const { tokens, logProbs } = await decodeAll({ network: networkOf(config), weights }, rows);
      expect(tokens.flat()).toEqual(await (await read('greedy.ids')).toArray());
      expect(largestDifference(logProbs.flat(), await (await read('greedy.log_probs')).toArray())).toBeLessThan(1e-4);
    }),
  );

  it.each(guidance)('$model: is guided by a negative prompt as transformers is', ({ model: name, scale, ...wanted }) =>
    onEngine(engine, async () => {
      const model = await loadWeights(modelFolder(name));
      const amateur = { model, prompt: wanted.negative };
      const { mix, logProbs } = watched(contrastive({ amateur, alpha: 0, beta: scale - 1 }));
      const { tokens } = await decodeAll(model, [rowOf(wanted.prompt, 12, { mix })]);
      expect(tokens).toEqual([wanted.ids]);
      expect(largestDifference(logProbs, wanted.log_probs)).toBeLessThan(1e-4);
    }),
  );

  it.each(['llama', 'gpt2'])('%s: rows of one batch contrast the layers that each of them asks for', (name) =>
    onEngine(engine, async () => {
      const model = await loadWeights(modelFolder(name));
      const wanted = layers.filter((one) => one.model === name);
      const mixes = wanted.map((one) => watched(dola({ dolaLayers: one.layers, relativeTop: one.relative_top })));
      const rows = wanted.map(({ prompt }, i) => rowOf(prompt, 12, { mix: mixes[i]!.mix }));
      const plain = rowOf(wanted[0]!.prompt, 12);
      const { tokens } = await decodeAll(model, [...rows, plain]);
      expect(tokens.slice(0, -1)).toEqual(wanted.map(({ ids }) => ids));
      expect(tokens.at(-1)).toEqual((await decodeAll(model, [plain])).tokens[0]);
      for (const [i, { logProbs }] of mixes.entries()) {
        expect(largestDifference(logProbs, wanted[i]!.log_probs)).toBeLessThan(1e-4);
      }
    }),
  );
});
