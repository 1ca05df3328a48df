import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { rotaryWidth } from '../../src/config/phi3-config.js';
import { isEncoder } from '../../src/embed/embedding-folder.js';
import {
  type LayerType,
  loadModelConfig,
  modelConfigToJson,
  type Phi3Config,
  parseModelConfig,
  saveModelConfig,
  withLongContext,
} from '../../src/index.js';
import { rotationOf } from '../../src/model/rotary-angles.js';
import { KEY_TABLES, lostInWriting, passedOver, readKeyTable, runPatches } from './key-table.js';

type Json = Record<string, unknown>;
const saved = JSON.parse(readFileSync(join(import.meta.dirname, '../goldens/config/configs.json'), 'utf8')) as Record<
  string,
  Json
>;
const models = join(import.meta.dirname, '../../../../goldens/models');
const parsed = (name: string) => parseModelConfig(saved[name]!);
const layers = (types: string): LayerType[] =>
  [...types].map((type) => (type === 's' ? 'sliding_attention' : 'full_attention'));

it('reads the width of an LFM2’s MLP as transformers does, and writes it so that it is read again', () => {
  const lfm2 = parseModelConfig({
    ...{ model_type: 'lfm2', vocab_size: 65536, hidden_size: 2048, num_hidden_layers: 3, num_attention_heads: 32 },
    ...{ num_key_value_heads: 8, block_ff_dim: 12288, intermediate_size: 12288, block_auto_adjust_ff_dim: true },
    ...{ block_multiple_of: 256, full_attn_idxs: [1], tie_embedding: true, norm_eps: 1e-5, rope_theta: 1e6 },
  });
  expect(lfm2).toMatchObject({ intermediateSize: 8192, convolution: { layers: [true, false, true], taps: 3 } });
  expect(parseModelConfig(JSON.parse(JSON.stringify(modelConfigToJson(lfm2))) as Json)).toEqual(lfm2);
});

it('reads the text part of a Qwen3.5 that sees images, and infinite numbers as Python writes them', async () => {
  const folder = (name: string) => join(models, '../families', name, 'config.json');
  const text = JSON.parse(readFileSync(folder('qwen3-5'), 'utf8')) as Json;
  const rope = { ...(text.rope_parameters as Json), mrope_section: [1, 1, 0], mrope_interleaved: true };
  const whole = { model_type: 'qwen3_5', text_config: { ...text, rope_parameters: rope }, vision_config: {} };
  const { leftOut, ...read } = parseModelConfig(whole);
  expect(leftOut).toEqual(['visual.', 'model.visual.']);
  expect({ ...read, dtype: 'bfloat16' }).toEqual({ ...parseModelConfig(text), keys: expect.anything() });
  const written = mkdtempSync(join(tmpdir(), 'config-'));
  const mamba = readFileSync(folder('mamba2'), 'utf8').replace(
    /"time_step_limit": \[[^\]]*\]/,
    '"time_step_limit": [0.0, Infinity]',
  );
  writeFileSync(join(written, 'config.json'), mamba);
  const config = await loadModelConfig(written);
  expect(config).toMatchObject({ recurrence: { timeLimits: [0, Number.POSITIVE_INFINITY] } });
  await saveModelConfig(written, config);
  expect(await loadModelConfig(written)).toEqual({ ...config, keys: expect.anything() });
  rmSync(written, { recursive: true });
});

describe('config.json as transformers 5 saves it', () => {
  it('Gemma 2', () => {
    const rope = { type: 'default', theta: 10000 };
    expect(parsed('gemma2')).toEqual({
      modelType: 'gemma2',
      vocabSize: 100,
      hiddenSize: 32,
      intermediateSize: 48,
      numHiddenLayers: 4,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      headDim: 16,
      maxPositionEmbeddings: 256,
      hiddenAct: 'gelu_pytorch_tanh',
      tieWordEmbeddings: true,
      initializerRange: 0.02,
      bosTokenId: 2,
      eosTokenIds: [1],
      padTokenId: 0,
      dtype: undefined,
      rmsNormEps: 1e-6,
      rope,
      slidingRope: rope,
      attentionBias: false,
      queryPreAttnScalar: 24,
      attnLogitSoftcapping: 50,
      finalLogitSoftcapping: 30,
      layerTypes: layers('sfsf'),
      slidingWindow: 16,
    });
  });

  it('Gemma 3, and the text part of one that sees images', () => {
    const ropes = {
      rope: { type: 'linear', theta: 1e6, factor: 8 },
      slidingRope: { type: 'default', theta: 10000 },
      attnLogitSoftcapping: undefined,
    };
    expect(parsed('gemma3-text')).toMatchObject({
      ...ropes,
      modelType: 'gemma3_text',
      layerTypes: layers('ssfs'),
      finalLogitSoftcapping: 20,
    });
    expect(parsed('gemma3')).toMatchObject({
      ...ropes,
      modelType: 'gemma3_text',
      vocabSize: 262208,
      numAttentionHeads: 8,
      numKeyValueHeads: 4,
      headDim: 256,
      layerTypes: layers('sssssfs'),
      finalLogitSoftcapping: undefined,
      eosTokenIds: [1, 106],
    });
  });

  it('Phi-3', () => {
    const common = { modelType: 'phi3', rmsNormEps: 1e-5, longContext: false };
    expect(parsed('phi3')).toMatchObject({
      ...common,
      rope: { type: 'default', theta: 10000 },
      partialRotaryFactor: 1,
      slidingWindow: 16,
      maxPositionEmbeddings: 256,
      eosTokenIds: [9, 10],
    });
    expect(parsed('phi3-longrope')).toMatchObject({
      ...common,
      rope: {
        type: 'longrope',
        theta: 10000,
        shortFactor: [1, 1.5, 2],
        longFactor: [1.5, 4, 9],
        // The context is stretched from 64 to 256 tokens.
        attentionFactor: Math.sqrt(1 + Math.log(4) / Math.log(64)),
        originalMaxPositionEmbeddings: 64,
        extendedMaxPositionEmbeddings: 256,
      },
      partialRotaryFactor: 0.75,
      slidingWindow: undefined,
      maxPositionEmbeddings: 64,
    });
    expect(parsed('phi3-longrope-scaled')).toMatchObject({ rope: { attentionFactor: 1.25 } });
  });

  it('OLMo 2', () => {
    expect(parsed('olmo2')).toMatchObject({
      modelType: 'olmo2',
      rope: { type: 'default', theta: 500000 },
      attentionBias: true,
      rmsNormEps: 1e-5,
      tieWordEmbeddings: false,
      eosTokenIds: [50279],
      padTokenId: 1,
    });
  });
});

describe('config.json of before', () => {
  it.each(['gemma3-text', 'phi3-longrope'])('%s reads the same from the file of transformers 4 and of 5', (name) => {
    const read = (file: string) => parseModelConfig(JSON.parse(readFileSync(join(models, name, file), 'utf8')));
    expect(read('config.v4.json')).toEqual(read('config.json'));
  });

  it('leaves most to defaults, as Gemma’s own folders do', () => {
    const sizes = { hidden_size: 1152, num_hidden_layers: 7 };
    expect(parseModelConfig({ model_type: 'gemma3_text', ...sizes })).toMatchObject({
      layerTypes: layers('sssssfs'),
      rope: { type: 'default', theta: 1e6 },
      slidingRope: { type: 'default', theta: 10000 },
      slidingWindow: 4096,
      maxPositionEmbeddings: 131072,
    });
    expect(parseModelConfig({ model_type: 'gemma2', ...sizes, final_logit_softcapping: null })).toMatchObject({
      layerTypes: layers('sfsfsfs'),
      attnLogitSoftcapping: 50,
      finalLogitSoftcapping: undefined,
    });
  });

  it('calls longrope su', () => {
    const { rope_parameters: rope, ...rest } = saved['phi3-longrope-scaled'] as { rope_parameters: Json };
    const { short_factor, long_factor, attention_factor } = rope;
    const scaling = { type: 'su', short_factor, long_factor, attention_factor };
    expect(parseModelConfig({ ...rest, rope_theta: 10000, rope_scaling: scaling })).toEqual(
      parsed('phi3-longrope-scaled'),
    );
  });
});

describe('writing', () => {
  it('keeps what the chosen context hides', () => {
    const long = withLongContext(parsed('phi3-longrope'));
    expect(long).toMatchObject({ longContext: true, maxPositionEmbeddings: 256 });
    expect(modelConfigToJson(long)).toEqual(modelConfigToJson(parsed('phi3-longrope')));
    expect(modelConfigToJson(long)).toMatchObject({
      max_position_embeddings: 256,
      original_max_position_embeddings: 64,
      // As transformers 4 takes it.
      rope_scaling: { type: 'longrope', short_factor: [1, 1.5, 2], long_factor: [1.5, 4, 9] },
    });
  });

  it('writes a float as Python does, which transformers 5 insists on', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'config-'));
    const config = { ...parsed('gemma2'), initializerRange: 1 };
    await saveModelConfig(folder, config);
    const text = readFileSync(join(folder, 'config.json'), 'utf8');
    for (const float of ['final_logit_softcapping": 30.0,', 'attn_logit_softcapping": 50.0,', 'range": 1.0,']) {
      expect(text).toContain(float);
    }
    expect(text).toContain('"vocab_size": 100\n');
    expect(await loadModelConfig(folder)).toEqual(config);
    rmSync(folder, { recursive: true });
  });
});

it('LongRoPE divides each frequency by its factor, of the first part of the head', () => {
  const short = parsed('phi3-longrope') as Phi3Config;
  // Three quarters of 8 components are 3 pairs.
  const frequencies = [0, 1, 2].map((i) => 10000 ** (-i / 3));
  const ratios = (config: Phi3Config) =>
    Array.from(
      rotationOf(config.rope, rotaryWidth(config), config.longContext).frequencies,
      (f, i) => frequencies[i]! / f,
    );
  for (const [i, factor] of [1, 1.5, 2].entries()) expect(ratios(short)[i]).toBeCloseTo(factor, 5);
  for (const [i, factor] of [1.5, 4, 9].entries()) expect(ratios(withLongContext(short))[i]).toBeCloseTo(factor, 5);
});

describe('refuses', () => {
  const rope = saved['phi3-longrope']!.rope_parameters as Json;
  const family = (name: string): Json =>
    JSON.parse(readFileSync(join(models, '../families', name, 'config.json'), 'utf8')) as Json;
  const cases: [string, Json, RegExp][] = [
    [
      'weights of DeepSeek V2 that sum to 1',
      { ...family('deepseek-v2'), norm_topk_prob: true },
      /"norm_topk_prob" must/,
    ],
    ['DeepSeek V3 by softmax', { ...family('deepseek-v3'), scoring_func: 'softmax' }, /"scoring_func" must be sigmoid/],
    ['every second layer', { ...family('deepseek-v3'), moe_layer_freq: 2 }, /"moe_layer_freq" must be 1/],
    [
      'a text part of no model',
      { model_type: 'qwen2_vl', text_config: { model_type: 'constructor' } },
      /"constructor"/,
    ],
    ['Gemma without causality', { ...saved.gemma2, use_bidirectional_attention: true }, /use_bidirectional_attention/],
    ['a cap of 0', { ...saved.gemma2, final_logit_softcapping: 0 }, /"final_logit_softcapping" must be a positive/],
    ['sliding layers without a window', { ...saved.gemma2, sliding_window: null }, /"sliding_window" is missing/],
    ['layer types of another number', { ...saved.gemma2, layer_types: ['full_attention'] }, /a list of 4/],
    ['a cap in Gemma 3’s attention', { ...saved['gemma3-text'], attn_logit_softcapping: 50 }, /attn_logit_softcapping/],
    ['one rope for Gemma 3', { ...saved['gemma3-text'], rope_parameters: { rope_theta: 1 } }, /inside a layer type/],
    ['a Mamba 2 whose sizes do not fit', { ...family('mamba2'), expand: 3 }, /"expand" must be such that/],
    ['steps out of order', { ...family('mamba2'), time_step_limit: [2, 1] }, /"time_step_limit" must be two numbers/],
    ['too few factors', { ...family('falcon-h1'), ssm_multipliers: [1] }, /"ssm_multipliers" must be a list of 5/],
    [
      'heads of values that do not divide',
      { ...family('qwen3-next'), linear_num_value_heads: 3 },
      /"linear_num_value_heads" must be a multiple of linear_num_key_heads \(2\)/,
    ],
    ['windows between recurrences', { ...family('qwen3-5'), layer_types: ['sliding_attention'] }, /linear_attention/],
    ['a model with images without text', { model_type: 'gemma3' }, /"text_config" must be an object/],
    [
      'a cap that a model with images does not apply',
      { ...saved.gemma3, text_config: { final_logit_softcapping: 30 } },
      /text_config.*"final_logit_softcapping" must be null/,
    ],
    [
      'another scaling',
      { ...saved.phi3, rope_scaling: { type: 'linear', factor: 2 } },
      /"type" must be one of default/,
    ],
    [
      'a missing factor',
      { ...saved['phi3-longrope'], rope_parameters: { ...rope, long_factor: [1, 2] } },
      /"long_factor" must be a list of 3 positive numbers/,
    ],
    [
      'a factor of 0',
      { ...saved['phi3-longrope'], rope_parameters: { ...rope, short_factor: [1, 0, 2] } },
      /"short_factor" must be a list of 3/,
    ],
    ['half a pair', { ...saved.phi3, partial_rotary_factor: 0.4, rope_parameters: {} }, /partial_rotary_factor.*even/],
    ['OLMo with part of a head turning', { ...saved.olmo2, partial_rotary_factor: 0.5 }, /partial_rotary_factor/],
    ['OLMo heads that do not divide', { ...saved.olmo2, num_key_value_heads: 3 }, /num_key_value_heads.*divisor/],
  ];
  it.each(cases)('%s', (_, json, message) => {
    expect(() => parseModelConfig(json)).toThrow(message);
    expect(() => parseModelConfig(json)).toThrow(/config\.json/);
  });

  it('a long context where there is none', () => {
    expect(() => withLongContext(parsed('phi3'))).toThrow(/longContext.*leave it out/);
    expect(() => withLongContext(parsed('llama'))).toThrow(expect.objectContaining({ code: 'LONG_CONTEXT' }));
  });
});

// All alterations of all families are computed in config-keys.slow.test.ts.
describe('a key of config.json that changes what transformers computes', () => {
  it.each(KEY_TABLES)('of %s is never passed over', (name) => {
    // A head that the file has all the same is found when the weights are read.
    expect(passedOver(name).filter((patch) => patch !== '{"tie_word_embeddings":true}')).toEqual([]);
    expect(readKeyTable(name).changed.length).toBeGreaterThan(5);
  });

  it.each(KEY_TABLES.filter((name) => !isEncoder(name)))('of %s is there again in what is written', (name) => {
    expect(lostInWriting(name)).toEqual([]);
  });

  it.each(['mistral', 'gpt2', 'bert'])('of %s computes the same here, or is refused', async (name) => {
    const { wrong, refused } = await runPatches(name, ({ changed }) => changed);
    expect(wrong).toEqual([]);
    expect(refused.length).toBeLessThan(readKeyTable(name).changed.length);
  });

  it.each(['llama', 'gemma2', 'phi3', 'gpt2'])('of %s turns attention round, and is refused by name', async (name) => {
    const { refused } = await runPatches(name, () => [{ set: { is_causal: false } }]);
    expect(refused).toEqual([expect.stringMatching(/config\.json: "is_causal" must be true/)]);
  });
});
