import { describe, expect, it } from 'vitest';
import { ArchitectureKeys } from '../../src/gguf/architecture-keys.js';
import { endTokens } from '../../src/gguf/end-tokens.js';
import { familyConfig } from '../../src/gguf/family-configs.js';
import { ggufTokenizer } from '../../src/gguf/gguf-tokenizer.js';
import { GgufMetadata } from '../../src/gguf/metadata.js';
import { refuseUnsupportedKeys } from '../../src/gguf/refused-keys.js';
import { parseModelConfig } from '../../src/index.js';

type Values = Record<string, unknown>;
const under = (prefix: string, values: Values) =>
  Object.entries(values).map(([key, value]): [string, unknown] => [prefix + key, value]);
const tokenizerKeys = (values: Values) =>
  new GgufMetadata('test', new Map(under('tokenizer.ggml.', { model: 'gpt2', pre: 'gpt-2', merges: [], ...values })));

describe('the ids that end a generation of a GGUF file', () => {
  const tokens = ['<pad>', '<eos>', '<bos>', 'a', '<end_of_turn>', '<|im_end|>', '<|fim_pad|>', 'b'];
  it.each<[string, Values, number[]]>([
    ['the key, and texts', { eos_token_id: 3 }, [3, 1, 4, 5, 6]],
    ['the end of a turn by its key', { eos_token_id: 1, eot_token_id: 7 }, [1, 7, 4, 5, 6]],
    ['of a message, and a list', { eom_token_id: 7, eos_token_ids: [1, 3] }, [7, 1, 3, 4, 5, 6]],
    ['64-bit ids', { eos_token_ids: [3n] }, [3, 1, 4, 5, 6]],
    ['no key at all', {}, [1, 4, 5, 6]],
    ['none as -1', { eos_token_id: -1, eot_token_id: 0xffffffff }, [1, 4, 5, 6]],
    // Normal tokens too, as llama.cpp has it; unused ones have no text.
    ['types', { token_type: [3, 3, 3, 1, 1, 5, 4, 1] }, [1, 4, 6]],
    ['a format whose <|end|> ends a part', { tokens: ['<|end|>', '<|return|>', '<|call|>'] }, [1, 2]],
    ['one whose <|end|> ends a turn', { tokens: ['<|end|>', '<|return|>'] }, [0, 1]],
    ['one whose </s> is text', { tokens: ['</s>', '<|tool_response>'] }, [1]],
  ])('%s', (_, values, ends) => {
    expect([...endTokens(tokenizerKeys({ tokens, ...values }))]).toEqual(ends);
  });

  it('are special tokens of its tokenizer, whatever their type', () => {
    const tokenizer = ggufTokenizer(tokenizerKeys({ tokens: ['a', 'b', '<end_of_turn>'] }));
    expect(tokenizer.encode('a<end_of_turn>b')).toEqual([0, 2, 1]);
    expect(tokenizer.decode([0, 2, 1], { skipSpecialTokens: true })).toBe('ab');
  });

  it.each<[Values, RegExp]>([
    [{ eot_token_id: 8 }, /eot_token_id" must be the id of one of 8 tokens, not 8/],
    [{ eos_token_id: 1.5 }, /eos_token_id" must be the id/],
    [{ eos_token_id: 'x' }, /eos_token_id" must be a number/],
    [{ eos_token_ids: [1, 99] }, /eos_token_ids" must be ids of 8 tokens/],
    [{ eos_token_ids: 1 }, /eos_token_ids" must be a list of numbers/],
  ])('%j is refused', (values, message) => {
    expect(() => endTokens(tokenizerKeys({ tokens, ...values }))).toThrow(message);
  });

  it.each([0, 7])('a token of type %i is refused: it would have no text', (type) => {
    const keys = tokenizerKeys({ tokens, token_type: [3, 3, 3, type, 3, 3, 3, 1] });
    expect(() => ggufTokenizer(keys)).toThrow(/token_type" must be a list of 1, 2, 3, 4, 5, 6/);
  });
});

describe('keys of a GGUF architecture', () => {
  const sizes = {
    ...{ block_count: 1, embedding_length: 16, feed_forward_length: 24, context_length: 64 },
    ...{ 'attention.head_count': 2, 'attention.layer_norm_rms_epsilon': 1e-5 },
  };
  /** `tensors`: by name, the numbers of each. */
  const keysOf = (values: Values, tensors: Readonly<Record<string, readonly number[]>> = {}) => {
    const metadata = new GgufMetadata('test', new Map(under('llama.', { ...sizes, ...values })));
    const read = async (name: string) => Float32Array.from(tensors[name]!);
    const file = { path: 'test', metadata, tensors: new Map(Object.entries(tensors)), read };
    return new ArchitectureKeys(file as never, 'llama');
  };

  it.each<Values>([
    { logit_scale: 0.5 },
    { expert_count: 4 },
    { 'attention.causal': false },
    { 'attention.scale': 0.1 },
    { 'attention.max_alibi_bias': 8 },
    { 'attention.temperature_scale': 0.1 },
    { expert_gating_func: 2 },
    { expert_weights_scale: 2.5 },
    { expert_weights_norm: false },
    { expert_group_count: 8 },
    { use_parallel_residual: true },
    { attn_logit_softcapping: 50 },
    { final_logit_softcapping: 30 },
    { 'rope.scaling.yarn_ext_factor': 0.5 },
    { 'rope.scaling.yarn_log_multiplier': 0.1 },
    { 'rope.dimension_sections': [16, 24, 24, 0] },
    { pooling_type: 1 },
    { 'rope.scaling.alpha': 2 },
    { 'rope.freq_base_swa': 500 },
    { 'attention.shared_kv_layers': 1 },
  ])('%j is refused by name', (values) => {
    const name = new RegExp(`llama\\.${Object.keys(values)[0]!.replaceAll('.', '\\.')} is .*no model with it`);
    expect(() => refuseUnsupportedKeys(keysOf(values), 'llama', false)).toThrow(name);
  });

  it('that mean what is done anyway are taken, and values of another kind are not', () => {
    const harmless = {
      logit_scale: 0,
      'attention.causal': true,
      expert_gating_func: 1,
      'rope.dimension_sections': [0],
    };
    expect(() => refuseUnsupportedKeys(keysOf(harmless), 'llama', false)).not.toThrow();
    expect(() => refuseUnsupportedKeys(keysOf({ 'attention.causal': 1 }), 'llama', false)).toThrow(/true or false/);
    expect(() => refuseUnsupportedKeys(keysOf({ logit_scale: 'x' }), 'llama', false)).toThrow(/must be a number/);
  });

  const config = async (values: Values) =>
    parseModelConfig({ model_type: 'llama', vocab_size: 8, ...(await familyConfig(keysOf(values), 'llama')) });

  const scaled = (type: string) => ({ 'rope.scaling.type': type, 'rope.scaling.factor': 4 });
  const window = { 'attention.sliding_window': 4 };
  const long = { 'rope_factors_long.weight': [1, 1, 1, 1], 'rope_factors_short.weight': [1, 1, 1, 1] };
  const original = { 'rope.scaling.original_context_length': 32 };
  it.each<[string, Values, RegExp, Readonly<Record<string, readonly number[]>>?]>([
    ['llama', { 'attention.layer_norm_rms_epsilon': undefined }, /layer_norm_rms_epsilon" must be a positive number/],
    ['llama', { 'attention.layer_norm_rms_epsilon': 0 }, /layer_norm_rms_epsilon" must be a positive number, not 0/],
    ['gpt2', {}, /attention.layer_norm_epsilon" must be a positive number, not absent/],
    ['llama', { 'rope.scaling.attn_factor': 1.2 }, /attn_factor is 1.2/],
    ['gemma2', { 'rope.scaling.attn_factor': 1.2 }, /attn_factor is 1.2/],
    ['phi3', { 'rope.scaling.attn_factor': 1.2 }, /attn_factor is 1.2/],
    ['phi3', scaled('yarn'), /rope.scaling.type is yarn, but there are no factors/],
    ['phi3', { ...original, ...scaled('yarn') }, /rope.scaling.type is yarn with factor 4 beside rope_factors/, long],
    ['phi3', { 'rope.scaling.factor': 4 }, /rope.scaling.factor is 4/],
    [
      'llama',
      scaled('yarn'),
      /rope.scaling.type is yarn with factor 4 beside rope_freqs/,
      { 'rope_freqs.weight': [1] },
    ],
    ['gemma2', { 'attention.sliding_window': 0 }, /sliding_window" must be a positive integer, not 0/],
    ['gemma3_text', {}, /sliding_window" must be a positive integer, not absent/],
    ['gemma3_text', { ...window, 'attention.key_length_swa': 4 }, /key_length_swa is 4 where other layers have 8/],
    ['gemma3_text', { ...window, 'rope.dimension_count_swa': 4 }, /dimension_count_swa is 4 where/],
    ['llama', { ...window, 'attention.sliding_window_pattern': [true, false] }, /has layers without the window/],
    ['phi3', { ...window, 'attention.sliding_window_pattern': [false] }, /has layers without the window/],
  ])('%s: %j is refused', async (family, values, message, tensors) => {
    await expect(familyConfig(keysOf(values, tensors), family)).rejects.toThrow(message);
  });

  it.each<[string, Values, object]>([
    // As llama.cpp and transformers have them: the first files of Gemma 2 say none of it.
    ['what they leave out', {}, { attnLogitSoftcapping: 50, finalLogitSoftcapping: 30, slidingWindow: 4096 }],
    ['no cap', { final_logit_softcapping: 0 }, { finalLogitSoftcapping: undefined }],
    ['a scaling', { 'rope.scaling.factor': 4 }, { rope: { type: 'linear', theta: 10000, factor: 4 } }],
    ['which layers slide', { 'attention.sliding_window_pattern': [false] }, { layerTypes: ['full_attention'] }],
  ])('Gemma 2: %s', async (_, values, found) => {
    const json = await familyConfig(keysOf(values), 'gemma2');
    expect(parseModelConfig({ model_type: 'gemma2', vocab_size: 8, ...json })).toMatchObject(found);
  });

  it('YaRN is that of config.json', async () => {
    const scaling = { 'rope.scaling.type': 'yarn', 'rope.scaling.factor': 4 };
    await expect(config({ ...scaling, 'rope.scaling.original_context_length': 16 })).resolves.toMatchObject({
      rope: {
        type: 'yarn',
        factor: 4,
        originalMaxPositionEmbeddings: 16,
        betaFast: 32,
        attentionFactor: 0.1 * Math.log(4) + 1,
      },
    });
    await expect(config(scaling)).rejects.toThrow(/original_context_length" must be a positive integer/);
    await expect(config({ 'rope.scaling.type': 'su', 'rope.scaling.factor': 4 })).rejects.toThrow(
      /"su" is not supported/,
    );
    const scaled = { 'rope.scaling.type': 'linear', 'rope.scaling.factor': 4, 'rope.scaling.attn_factor': 1.2 };
    await expect(config(scaled)).rejects.toThrow(/attn_factor is 1.2/);
  });
});
