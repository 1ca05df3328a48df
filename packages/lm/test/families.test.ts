import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { concat, iota, referenceEngine, setEngine, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  ContextLengthError,
  initialWeights,
  type LayerHooks,
  loadWeights,
  networkOf,
  parseModelConfig,
  sequenceLogProbs,
  type Weights,
} from '../src/index.js';
import { decodeAll, ENGINES, largestDifference, modelFolder, readGolden, rowOf, tinyConfig } from './support.js';

beforeAll(() => setEngine(referenceEngine()));

const TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8];

async function tiny(config: Record<string, unknown>) {
  const network = networkOf(tinyConfig(config));
  return { network, weights: await initialWeights(network, 5) };
}

/** Logits of TOKENS, flat, their positions beginning at `start`. */
async function logits(
  { network, weights }: Awaited<ReturnType<typeof tiny>>,
  { tokens = TOKENS, start = 0 }: { readonly tokens?: readonly number[]; readonly start?: number } = {},
): Promise<number[]> {
  const shape = [1, tokens.length];
  const input = {
    tokens: tensor(Int32Array.from(tokens), shape, 'int32'),
    positions: iota(shape, 1).add(start),
    segments: zeros(shape, 'int32'),
  };
  return network.logits(weights, network.hidden(weights, input).reshape([tokens.length, -1])).toArray();
}

/** The same weights, those whose names match times a factor. */
const scaled = (weights: Weights, names: RegExp, factor: number): Weights =>
  Object.fromEntries(Object.entries(weights).map(([name, w]) => [name, names.test(name) ? w.mul(factor) : w]));

const GEMMA2 = { model_type: 'gemma2', head_dim: 8, attn_logit_softcapping: 2, final_logit_softcapping: 3 };
const GEMMA3 = { model_type: 'gemma3_text', head_dim: 8, sliding_window_pattern: 2, sliding_window: 5 };
const LONGROPE = {
  model_type: 'phi3',
  head_dim: 8,
  original_max_position_embeddings: 64,
  rope_scaling: { type: 'longrope', short_factor: [2, 2, 2, 2], long_factor: [3, 3, 3, 3] },
};

describe('every family with rotary positions', () => {
  it.each([
    ['gemma2', GEMMA2],
    ['gemma3_text', GEMMA3],
    ['phi3', { model_type: 'phi3', partial_rotary_factor: 0.5 }],
    ['phi3 with longrope', LONGROPE],
    ['olmo2', { model_type: 'olmo2' }],
  ])('%s: only distances between positions count', async (_, config) => {
    const model = await tiny(config);
    expect(largestDifference(await logits(model, { start: 17 }), await logits(model))).toBeLessThan(1e-4);
    // And order does.
    const [first, second, ...rest] = TOKENS;
    const swapped = await logits(model, { tokens: [second!, first!, ...rest] });
    expect(largestDifference(swapped.slice(-64), (await logits(model)).slice(-64))).toBeGreaterThan(1e-3);
  });
});

it('refuses a prefix of keys and values for layers that do not attend', async () => {
  const { network, weights } = await tiny({ model_type: 'lfm2', full_attn_idxs: [1], intermediate_size: 384 });
  const input = { tokens: tensor(Int32Array.from([3]), [1, 1], 'int32'), positions: zeros([1, 1], 'int32') };
  const prefix = () => ({ keys: zeros([1, 2, 8]), values: zeros([1, 2, 8]) });
  const pass = () => network.hidden(weights, { ...input, segments: input.positions }, { prefix });
  expect(pass).toThrow(/layers that do not attend/);
  const mamba = await tiny({ model_type: 'mamba2', num_heads: 4, head_dim: 8, n_groups: 2, state_size: 6 });
  const recurrent = (hooks: LayerHooks) => () =>
    mamba.network.hidden(mamba.weights, { ...input, segments: input.positions }, hooks);
  expect(recurrent({ prefix })).toThrow(/layers that do not attend/);
  const virtualTokens = { kinds: zeros([2, 3, 16]), kindOf: 'task' };
  expect(recurrent({ virtualTokens })).toThrow(/virtual tokens of several kinds \(task\)/);
});

describe('Gemma', () => {
  it('caps logits: never beyond the cap, and as they were where the cap is far away', async () => {
    const model = await tiny({ ...GEMMA2, final_logit_softcapping: 3 });
    const free = networkOf(tinyConfig({ ...GEMMA2, final_logit_softcapping: null }));
    const capped = await logits(model);
    const plain = await logits({ ...model, network: free });
    expect(Math.max(...plain.map(Math.abs))).toBeGreaterThan(3);
    expect(
      largestDifference(
        capped,
        plain.map((x) => 3 * Math.tanh(x / 3)),
      ),
    ).toBeLessThan(1e-6);
    const far = networkOf(tinyConfig({ ...GEMMA2, final_logit_softcapping: 1e6 }));
    expect(largestDifference(await logits({ ...model, network: far }), plain)).toBeLessThan(1e-6);
  });

  it('normalises what leaves a sublayer: its scale does not count', async () => {
    const model = await tiny({ ...GEMMA2, rms_norm_eps: 1e-12 });
    const weights = scaled(model.weights, /(o_proj|down_proj)\.weight/, 7);
    expect(largestDifference(await logits({ ...model, weights }), await logits(model))).toBeLessThan(1e-5);
  });

  it('3 normalises queries and keys, 2 does not', async () => {
    const change = async (config: Record<string, unknown>) => {
      const model = await tiny({ ...config, rms_norm_eps: 1e-12 });
      const weights = scaled(model.weights, /[qk]_proj\.weight/, 7);
      return largestDifference(await logits({ ...model, weights }), await logits(model));
    };
    expect(await change(GEMMA3)).toBeLessThan(1e-5);
    expect(await change(GEMMA2)).toBeGreaterThan(1e-2);
  });

  it('with windows of 1 in all layers knows the last token only', async () => {
    const layers = { layer_types: ['sliding_attention', 'sliding_attention'], sliding_window: 1 };
    const model = await tiny({ ...GEMMA3, ...layers });
    const [all, alone] = [await logits(model), await logits(model, { tokens: TOKENS.slice(-1) })];
    expect(largestDifference(all.slice(-64), alone)).toBeLessThan(1e-6);
  });
});

describe('OLMo 2', () => {
  it('normalises all heads of queries and keys together', async () => {
    const model = await tiny({ model_type: 'olmo2', rms_norm_eps: 1e-12 });
    const change = async (weights: Weights) =>
      largestDifference(await logits({ ...model, weights }), await logits(model));
    expect(await change(scaled(model.weights, /[qk]_proj\.weight/, 7))).toBeLessThan(1e-5);
    expect(await change(scaled(model.weights, /(o_proj|down_proj)\.weight/, 7))).toBeLessThan(1e-5);
    // One head's queries alone: with a norm of its own that would not count.
    const name = 'model.layers.0.self_attn.q_proj.weight';
    const [head, rest] = [model.weights[name]!.slice(0, 0, 8), model.weights[name]!.slice(0, 8)];
    expect(await change({ ...model.weights, [name]: concat([head.mul(7), rest], 0) })).toBeGreaterThan(1e-2);
  });
});

describe('Phi-3', () => {
  /** The weights of a Llama, its projections put together as Phi-3 has them. */
  function fused(weights: Weights): Weights {
    const result: Record<string, Tensor> = {};
    for (const [name, weight] of Object.entries(weights)) {
      const beside = (parts: readonly string[]) =>
        concat(
          parts.map((part) => weights[name.replace(/\w+_proj/, part)]!),
          0,
        );
      if (name.includes('q_proj')) result[name.replace('q_proj', 'qkv_proj')] = beside(['q_proj', 'k_proj', 'v_proj']);
      else if (name.includes('gate_proj')) {
        result[name.replace('gate_proj', 'gate_up_proj')] = beside(['gate_proj', 'up_proj']);
      } else if (!/(k|v|up)_proj/.test(name)) result[name] = weight;
    }
    return result;
  }

  it('is Llama with its projections put together', async () => {
    const llama = await tiny({ model_type: 'llama', rms_norm_eps: 1e-5 });
    const phi3 = { network: networkOf(tinyConfig({ model_type: 'phi3' })), weights: fused(llama.weights) };
    expect(largestDifference(await logits(phi3), await logits(llama))).toBeLessThan(1e-6);
  });

  it('stretches all pairs alike as linear scaling does', async () => {
    const rope_scaling = { rope_type: 'linear', factor: 2 };
    const llama = await tiny({ model_type: 'llama', rms_norm_eps: 1e-5, rope_scaling });
    const scaling = { ...LONGROPE.rope_scaling, attention_factor: 1 };
    const network = networkOf(tinyConfig({ ...LONGROPE, rope_scaling: scaling }));
    expect(
      largestDifference(await logits({ network, weights: fused(llama.weights) }), await logits(llama)),
    ).toBeLessThan(1e-6);
  });

  describe.each(ENGINES)('with a long context, on the %s engine', (_, makeEngine) => {
    const engine = makeEngine();
    it('scores and continues long sequences as transformers does', () =>
      onEngine(engine, async () => {
        const { config, weights } = await loadWeights(modelFolder('phi3-longrope'), { longContext: true });
        const network = networkOf(config);
        const { read, json } = await readGolden(modelFolder('phi3-longrope'));
        const array = async (name: string) => (await read(name)).toArray();
        const ids = await array('long.input_ids');
        const scored = await sequenceLogProbs({ network, weights }, [ids.slice(0, 48), ids.slice(48)]);
        const expected = await array('long.log_probs');
        expect(largestDifference([...scored[0]!.logProbs, ...scored[1]!.logProbs], expected)).toBeLessThan(1e-4);
        const rows = json['long.greedy.prompts'].map((prompt: number[]) => rowOf(prompt, 24));
        const { tokens, logProbs } = await decodeAll({ network, weights }, rows);
        expect(tokens.flat()).toEqual(await array('long.greedy.ids'));
        expect(largestDifference(logProbs.flat(), await array('long.greedy.log_probs'))).toBeLessThan(1e-4);
      }));
  });

  it('takes no more than the original context without', async () => {
    const { config, weights } = await loadWeights(modelFolder('phi3-longrope'));
    const network = networkOf(config);
    const long = Array.from({ length: 34 }, (_, i) => i + 4);
    await expect(sequenceLogProbs({ network, weights }, [long])).rejects.toThrow(/34 tokens; it needs 2 to 33/);
    await expect(decodeAll({ network, weights }, [rowOf(long, 1)])).rejects.toThrow(ContextLengthError);
    await expect(loadWeights(modelFolder('phi3'), { longContext: true })).rejects.toThrow(/longContext/);
  });
});

describe('a new model', () => {
  interface Started {
    readonly config: Readonly<Record<string, unknown>>;
    readonly tensors: Readonly<
      Record<string, { readonly mean: number; readonly std: number; readonly zero_rows: number[] }>
    >;
  }
  const path = join(import.meta.dirname, '../../../goldens/initialization/initialization.json');
  const { cases } = JSON.parse(readFileSync(path, 'utf8')) as { cases: Started[] };

  it.each(cases)('starts as transformers starts it: $config.model_type', async ({ config, tensors }) => {
    const network = networkOf(parseModelConfig(config));
    const weights = await initialWeights(network, 3);
    expect(Object.keys(weights).sort()).toEqual(Object.keys(tensors).sort());
    for (const [name, { mean, std, zero_rows }] of Object.entries(tensors)) {
      const [weight, values] = [weights[name]!, await weights[name]!.toArray()];
      const size = values.length;
      const average = values.reduce((a, b) => a + b, 0) / size;
      const spread = Math.sqrt(values.reduce((sum, x) => sum + (x - average) ** 2, 0) / size);
      if (std === 0) {
        expect([average, spread], name).toEqual([mean, 0]);
        continue;
      }
      // Both are drawn: five standard errors of each.
      expect(Math.abs(average - mean), name).toBeLessThan((10 * std) / Math.sqrt(size));
      expect(Math.abs(spread / std - 1), name).toBeLessThan(10 / Math.sqrt(2 * size));
      const width = size / weight.shape[0]!;
      const zero = weight.shape.length > 1 ? Array.from({ length: weight.shape[0]! }, (_, i) => i) : [];
      expect(
        zero.filter((i) => values.slice(i * width, (i + 1) * width).every((x) => x === 0)),
        name,
      ).toEqual(zero_rows);
    }
  });
});
