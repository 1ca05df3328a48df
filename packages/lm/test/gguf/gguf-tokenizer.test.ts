import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ggufTokenizer } from '../../src/gguf/gguf-tokenizer.js';
import { GgufMetadata } from '../../src/gguf/metadata.js';
import { PRE_TOKENIZATIONS } from '../../src/gguf/pre-tokenizers.js';
import { mergesFromScores } from '../../src/gguf/score-merges.js';
import { CausalLM, ChatTemplate, openGguf, Tokenizer, UnsupportedGgufError } from '../../src/index.js';
import { temporaryFolder, tokenizerFolder } from '../support.js';
import { goldenFile } from './support.js';

const KINDS = [
  ['bpe-q4_0', 'byte-level-bpe'],
  ['spm-q8_0', 'sentencepiece-bpe'],
] as const;

async function tokenizerOf(name: string): Promise<Tokenizer> {
  const file = await openGguf(goldenFile(name));
  await file.close();
  return ggufTokenizer(file.metadata);
}

interface Encoded {
  readonly text: string;
  readonly ids: number[];
  readonly ids_no_special: number[];
  readonly decoded: string;
  readonly decoded_skip_special: string;
}

const readJson = async (path: string) => JSON.parse(await readFile(path, 'utf8'));

describe.each(KINDS)('the tokenizer of %s', (name, folder) => {
  it('encodes and decodes as transformers does with the folder it was made of', async () => {
    const tokenizer = await tokenizerOf(name);
    const { encode } = (await readJson(join(tokenizerFolder(folder), 'expected.json'))) as { encode: Encoded[] };
    // The file has no word for a normalizer; that of the folder is NFC.
    const cases = encode.filter(({ text }) => folder !== 'byte-level-bpe' || text.normalize('NFC') === text);
    expect(cases.length).toBeGreaterThan(40);
    for (const { text, ids, ids_no_special, decoded, decoded_skip_special } of cases) {
      expect(tokenizer.encode(text), text).toEqual(ids);
      expect(tokenizer.encode(text, { addSpecialTokens: false }), text).toEqual(ids_no_special);
      expect(tokenizer.decode(ids), text).toBe(decoded);
      expect(tokenizer.decode(ids, { skipSpecialTokens: true }), text).toBe(decoded_skip_special);
    }
  });

  it('names the special tokens and has the chat template', async () => {
    const [tokenizer, original] = [await tokenizerOf(name), await Tokenizer.load(tokenizerFolder(folder))];
    expect(tokenizer.specialTokens).toEqual(original.specialTokens);
    expect(tokenizer.specialIds).toEqual(original.specialIds);
    expect(tokenizer.vocabSize).toBe(original.vocabSize);
    const { chatTemplate } = await CausalLM.load(goldenFile(name));
    const messages = [{ role: 'user' as const, content: 'Hello, world!' }];
    const expected = (await ChatTemplate.load(original))!.renderChat(messages, { addGenerationPrompt: true });
    expect(chatTemplate!.renderChat(messages, { addGenerationPrompt: true })).toEqual(expected);
  });
});

describe('the merges of a vocabulary with scores', () => {
  it('joins the best-scored neighbours, as the definition says', () => {
    const pieces = new Map(Object.entries({ a: -9, b: -9, c: -9, ab: -3, bc: -1, abc: -2 }));
    expect(mergesFromScores(pieces)).toEqual([
      ['b', 'c'],
      ['a', 'bc'],
      ['ab', 'c'],
      ['a', 'b'],
    ]);
  });
});

/** Byte-level BPE without merges over all bytes: what is cut where shows in nothing but a merge. */
function bytesTokenizer(entries: Readonly<Record<string, unknown>>): Tokenizer {
  const values = { model: 'gpt2', tokens: ['a', 'b', 'ab', '1', '11', 'Ġ', '<x>', '[PAD]'], merges: ['a b', '1 1'] };
  const types = [1, 1, 1, 1, 1, 1, 3, 5];
  const all = { ...values, token_type: types, pre: 'gpt-2', ...entries };
  return ggufTokenizer(
    new GgufMetadata('test', new Map(Object.entries(all).map(([key, value]) => [`tokenizer.ggml.${key}`, value]))),
  );
}

describe('what the golden files do not show', () => {
  it('adds begin and end tokens where the file says so, and says when it cannot', () => {
    const ids = { bos_token_id: 6, eos_token_id: 6 };
    expect(bytesTokenizer(ids).encode('ab')).toEqual([2]);
    expect(bytesTokenizer({ ...ids, add_bos_token: true, add_eos_token: true }).encode('ab')).toEqual([6, 2, 6]);
    expect(bytesTokenizer({ ...ids, pre: 'llama-bpe' }).encode('ab')).toEqual([6, 2]);
    expect(bytesTokenizer({ ...ids, pre: 'llama-bpe', add_bos_token: false }).encode('ab')).toEqual([2]);
    expect(() => bytesTokenizer({ add_bos_token: true })).toThrow(/bos_token_id" must be an id/);
  });

  it('gives unused tokens no text, and control tokens their id', () => {
    const tokenizer = bytesTokenizer({});
    expect(tokenizer.encode('a<x>b')).toEqual([0, 6, 1]);
    expect(tokenizer.decode([0, 7, 1])).toBe('ab');
    expect([...tokenizer.specialIds]).toEqual([6]);
  });

  it.each(Object.keys(PRE_TOKENIZATIONS))('%s cuts digits as its models do', (pre) => {
    const alone = ['qwen2', 'deepseek-r1-qwen', 'smollm', 'tekken'].includes(pre);
    expect(bytesTokenizer({ pre }).encode('11', { addSpecialTokens: false })).toEqual(alone ? [3, 3] : [4]);
  });

  it('names what it cannot read', () => {
    expect(() => bytesTokenizer({ pre: 'bloom' })).toThrow(UnsupportedGgufError);
    expect(() => bytesTokenizer({ pre: 'bloom' })).toThrow(/"bloom".*llama-bpe/);
    expect(() => bytesTokenizer({ model: 'rwkv' })).toThrow(/kind "rwkv"/);
    expect(() => bytesTokenizer({ merges: ['ab'] })).toThrow(/"ab" is no pair/);
    expect(() => bytesTokenizer({ tokens: undefined })).toThrow(/tokens" must be a list/);
    expect(() => bytesTokenizer({ token_type: [1] })).toThrow(/token_type" must be a list of 8/);
    expect(() => bytesTokenizer({ bos_token_id: 99 })).toThrow(/bos_token_id" must be the id of one of 8 tokens/);
    expect(() => bytesTokenizer({ tokens: ['a', 'a', 'ab', '1', '11', 'Ġ', '<x>', '[PAD]'] })).toThrow(/a token twice/);
  });

  it('has several chat templates where the file has', () => {
    const values = new Map<string, unknown>([
      ['tokenizer.ggml.model', 'gpt2'],
      ['tokenizer.ggml.pre', 'gpt-2'],
      ['tokenizer.ggml.tokens', ['a']],
      ['tokenizer.ggml.merges', []],
      ['tokenizer.chat_template', 'one'],
      ['tokenizer.chat_templates', ['tool_use']],
      ['tokenizer.chat_template.tool_use', 'two'],
    ]);
    expect(ggufTokenizer(new GgufMetadata('test', values)).config.chat_template).toEqual([
      { name: 'default', template: 'one' },
      { name: 'tool_use', template: 'two' },
    ]);
  });

  it('is saved as a folder that gives the same tokens', async () => {
    const [tokenizer, folder] = [await tokenizerOf('spm-q8_0'), await temporaryFolder()];
    await tokenizer.save(folder);
    const again = await Tokenizer.load(folder);
    for (const text of ['Hello, world!', ' <s> two  spaces', 'naïve 日本 🙂']) {
      expect(again.encode(text)).toEqual(tokenizer.encode(text));
    }
    expect(await ChatTemplate.load(again)).toBeDefined();
  });
});
