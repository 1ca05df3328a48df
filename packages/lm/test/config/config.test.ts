import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ModelConfig } from '../../src/index.js';
import {
  generationConfigToJson,
  InvalidModelFileError,
  loadGenerationConfig,
  loadModelConfig,
  modelConfigToJson,
  parseGenerationConfig,
  parseModelConfig,
  saveGenerationConfig,
  saveModelConfig,
  UnsupportedArchitectureError,
} from '../../src/index.js';

type Json = Record<string, unknown>;
const saved = JSON.parse(readFileSync(join(import.meta.dirname, '../goldens/config/configs.json'), 'utf8')) as Record<
  string,
  Json
>;
const parsed = (name: string): ModelConfig => parseModelConfig(saved[name]!);

describe('config.json as transformers 5 saves it', () => {
  it('llama with everything', () => {
    expect(parsed('llama')).toEqual({
      modelType: 'llama',
      vocabSize: 100,
      hiddenSize: 32,
      intermediateSize: 48,
      numHiddenLayers: 4,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      headDim: 8,
      maxPositionEmbeddings: 256,
      hiddenAct: 'silu',
      tieWordEmbeddings: false,
      initializerRange: 0.02,
      bosTokenId: 1,
      eosTokenIds: [1, 2],
      padTokenId: undefined,
      dtype: 'bfloat16',
      rmsNormEps: 1e-5,
      rope: {
        type: 'llama3',
        theta: 500000,
        factor: 8,
        lowFreqFactor: 1,
        highFreqFactor: 4,
        originalMaxPositionEmbeddings: 64,
      },
      qkvBias: true,
      outputBias: true,
      mlpBias: true,
      qkNorm: false,
      layerTypes: Array(4).fill('full_attention'),
      slidingWindow: undefined,
    });
  });

  it('what tells the families apart', () => {
    expect(parsed('llama-linear')).toMatchObject({
      rope: { type: 'linear', theta: 10000, factor: 2 },
      tieWordEmbeddings: true,
      headDim: 10,
      numKeyValueHeads: 4,
    });
    const sliding = 'sliding_attention';
    const full = 'full_attention';
    expect(parsed('mistral')).toMatchObject({ slidingWindow: 16, layerTypes: [sliding, sliding, sliding, sliding] });
    expect(parsed('mistral-full')).toMatchObject({ slidingWindow: undefined, eosTokenIds: [], bosTokenId: 1 });
    expect(parsed('qwen2')).toMatchObject({
      qkvBias: true,
      outputBias: false,
      qkNorm: false,
      slidingWindow: 16,
      layerTypes: [full, full, full, sliding],
    });
    expect(parsed('qwen2-full')).toMatchObject({
      slidingWindow: undefined,
      tieWordEmbeddings: true,
      bosTokenId: 7,
      eosTokenIds: [8],
      padTokenId: 9,
    });
    expect(parsed('qwen3')).toMatchObject({ headDim: 16, qkNorm: true, qkvBias: false, outputBias: false });
    expect(parsed('gpt2')).toEqual({
      modelType: 'gpt2',
      vocabSize: 100,
      hiddenSize: 32,
      intermediateSize: 40,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      maxPositionEmbeddings: 64,
      hiddenAct: 'gelu_new',
      tieWordEmbeddings: true,
      initializerRange: 0.02,
      bosTokenId: 50256,
      eosTokenIds: [50256],
      padTokenId: undefined,
      dtype: undefined,
      layerNormEps: 1e-5,
    });
  });

  it.each(Object.keys(saved))('%s survives being written and read', async (name) => {
    const folder = mkdtempSync(join(tmpdir(), 'config-'));
    await saveModelConfig(folder, parsed(name));
    expect(readdirSync(folder)).toEqual(['config.json']);
    expect(await loadModelConfig(folder)).toEqual(parsed(name));
    rmSync(folder, { recursive: true });
  });
});

describe('the shared goldens', () => {
  const models = join(import.meta.dirname, '../../../../goldens/models');
  it.each(['llama3-rope', 'qwen2'])('%s reads the same from the file of transformers 4 and of 5', (name) => {
    const read = (file: string) => parseModelConfig(JSON.parse(readFileSync(join(models, name, file), 'utf8')));
    expect(read('config.v4.json')).toEqual(read('config.json'));
  });

  it('generation_config.json of a model with two end tokens', async () => {
    expect(await loadGenerationConfig(join(models, 'llama3-rope'))).toMatchObject({
      bosTokenId: 1,
      eosTokenIds: [2, 3],
      padTokenId: 0,
      doSample: false,
    });
  });
});

describe('config.json of before', () => {
  const old = {
    architectures: ['LlamaForCausalLM'],
    hidden_size: 576,
    intermediate_size: 1536,
    max_position_embeddings: 8192,
    num_attention_heads: 9,
    num_hidden_layers: 30,
    num_key_value_heads: 3,
    rope_scaling: null,
    rope_theta: 100000,
    tie_word_embeddings: true,
    torch_dtype: 'bfloat16',
    vocab_size: 49152,
    pad_token_id: -1,
  };

  it('old key names, no model_type, and "none" as -1', () => {
    expect(parseModelConfig(old)).toMatchObject({
      modelType: 'llama',
      headDim: 64,
      rope: { type: 'default', theta: 100000 },
      dtype: 'bfloat16',
      padTokenId: undefined,
      eosTokenIds: [2],
    });
    const scaling = { type: 'linear', factor: 4 };
    expect(parseModelConfig({ ...old, rope_scaling: scaling })).toMatchObject({
      rope: { type: 'linear', theta: 100000, factor: 4 },
    });
  });

  it('a writer’s file has both spellings', () => {
    const json = modelConfigToJson(parseModelConfig({ ...old, rope_scaling: { type: 'linear', factor: 4 } }));
    expect(json).toMatchObject({
      dtype: 'bfloat16',
      torch_dtype: 'bfloat16',
      rope_theta: 100000,
      rope_scaling: { rope_type: 'linear', factor: 4 },
      rope_parameters: { rope_type: 'linear', factor: 4, rope_theta: 100000 },
      architectures: ['LlamaForCausalLM'],
    });
  });

  it('a missing sliding_window of Mistral is 4096, a null one is none', () => {
    const mistral: Json = { ...saved.mistral };
    delete mistral.sliding_window;
    expect(parseModelConfig(mistral)).toMatchObject({ slidingWindow: 4096 });
    expect(parseModelConfig({ ...mistral, sliding_window: null })).toMatchObject({ slidingWindow: undefined });
  });

  const refused: [string, Json, RegExp][] = [
    ['another architecture', { ...old, model_type: 'mamba' }, /"mamba".*llama, mistral, .*gpt2/],
    ['no architecture', { vocab_size: 3 }, /null is not supported/],
    ['a missing size', { ...old, hidden_size: undefined }, /"hidden_size" is missing/],
    ['a size of a wrong type', { ...old, hidden_size: '576' }, /"hidden_size" must be a positive integer, not "576"/],
    ['heads that do not divide', { ...old, num_key_value_heads: 2 }, /num_key_value_heads.*divisor/],
    ['a fractional head', { ...old, num_attention_heads: 18, hidden_size: 577 }, /multiple of num_attention_heads/],
    ['an odd head', { ...old, head_dim: 63 }, /head_dim.*even/],
    ['proportional', { ...old, rope_scaling: { rope_type: 'proportional' } }, /"proportional" is not supported/],
    ['incomplete scaling', { ...old, rope_scaling: { rope_type: 'llama3', factor: 4 } }, /low_freq_factor.*missing/],
    ['partial rotation', { ...old, partial_rotary_factor: 0.5 }, /partial_rotary_factor 0.5/],
    ['RoPE by layer type', { ...old, rope_parameters: { full_attention: {} } }, /differ by layer type/],
    ['another activation', { ...old, hidden_act: 'xielu' }, /"hidden_act" must be one of silu/],
    ['quantised weights', { ...old, quantization_config: { bits: 4 } }, /quantization_config/],
    [
      'quantised weights of the part that has the text',
      { model_type: 'gemma3', text_config: { quantization_config: { quant_method: 'aqlm', bits: 4 } } },
      /quantization_config: quant_method "aqlm" is not supported/,
    ],
    [
      'partial rotation beside the rotations of Gemma 3',
      { model_type: 'gemma3_text', partial_rotary_factor: 0.5 },
      /partial_rotary_factor 0.5/,
    ],
    ['a dtype', { ...old, torch_dtype: 'float64' }, /"torch_dtype" must be one of/],
    ['layer types', { ...saved.qwen2, layer_types: ['full_attention'] }, /"layer_types" must be a list of 4/],
    ['a window without size', { ...saved.qwen2, sliding_window: null }, /sliding_window/],
    ['GPT-2 with other attention', { ...saved.gpt2, scale_attn_by_inverse_layer_idx: true }, /nothing else/],
  ];
  it.each(refused)('refuses %s', (_, json, message) => {
    expect(() => parseModelConfig(json)).toThrow(message);
    expect(() => parseModelConfig(json)).toThrow(/config\.json/);
  });
  it('by classes', () => {
    expect(() => parseModelConfig({ ...old, model_type: 'mamba' })).toThrow(UnsupportedArchitectureError);
    expect(() => parseModelConfig({ ...old, head_dim: 0 })).toThrow(InvalidModelFileError);
  });
});

it('files that are missing or no JSON', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'config-'));
  await expect(loadModelConfig(folder)).rejects.toThrow(/config\.json: there is no such file/);
  writeFileSync(join(folder, 'config.json'), '{"a": ');
  await expect(loadModelConfig(folder)).rejects.toThrow(/is not JSON/);
  writeFileSync(join(folder, 'config.json'), '[]');
  await expect(loadModelConfig(folder)).rejects.toThrow(InvalidModelFileError);
  expect(await loadGenerationConfig(folder)).toBeUndefined();
  rmSync(folder, { recursive: true });
});

it('generation_config.json', async () => {
  const json = { eos_token_id: [1, 2], do_sample: true, temperature: 0.7, top_p: 0.8, top_k: 20, pad_token_id: 0 };
  const config = parseGenerationConfig({ ...json, transformers_version: '5.0.0' });
  expect(config).toMatchObject({ eosTokenIds: [1, 2], doSample: true, temperature: 0.7, topP: 0.8, topK: 20 });
  expect(config.minP).toBeUndefined();
  expect(generationConfigToJson(config)).toEqual({ ...json, transformers_version: '5.0.0' });
  expect(generationConfigToJson(parseGenerationConfig({ eos_token_id: 5 }))).toEqual({ eos_token_id: 5 });
  expect(() => parseGenerationConfig({ temperature: 'hot' })).toThrow(/"temperature" must be a finite number/);
  expect(() => parseGenerationConfig({ max_new_tokens: -1 })).toThrow(/"max_new_tokens" must be a positive integer/);
  expect(() => parseGenerationConfig({ max_new_tokens: 1e12 })).toThrow(/"max_new_tokens" must be at most/);
  expect(() => parseGenerationConfig({ eos_token_id: [1, 'x'] })).toThrow(
    /"eos_token_id" must be a token id or a list/,
  );
  const folder = mkdtempSync(join(tmpdir(), 'config-'));
  await saveGenerationConfig(folder, config);
  expect(await loadGenerationConfig(folder)).toEqual(config);
  rmSync(folder, { recursive: true });
});

it('names what generation_config.json asks for and nothing applies, and writes it again', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'config-'));
  const asked = { bad_words_ids: [[3]], suppress_tokens: [4], num_beams: 4, stop_strings: ['x'], length_penalty: 2 };
  const inactive = { use_cache: true, num_return_sequences: 1, typical_p: 1, guidance_scale: null, min_length: 0 };
  writeFileSync(join(folder, 'generation_config.json'), JSON.stringify({ ...asked, ...inactive }));
  const warned = new Promise<Error>((resolve) => process.once('warning', resolve));
  const config = (await loadGenerationConfig(folder))!;
  expect((await warned).message).toMatch(
    /generation_config\.json: bad_words_ids, suppress_tokens, num_beams, stop_strings, length_penalty are not applied/,
  );
  expect(generationConfigToJson(config)).toEqual({ ...asked, ...inactive });
  rmSync(folder, { recursive: true });
});
