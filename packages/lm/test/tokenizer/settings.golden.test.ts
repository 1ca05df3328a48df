import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Tokenizer } from '../../src/index.js';
import { temporaryFolder } from '../support.js';

interface Case {
  readonly base: string;
  readonly changes: Readonly<Record<string, unknown>>;
  readonly config: Readonly<Record<string, unknown>>;
  readonly files: { readonly config: object; readonly special_tokens_map?: object; readonly added_tokens?: object };
  readonly expected: {
    readonly special_tokens: Readonly<Record<string, string>>;
    readonly ids: readonly number[][];
    readonly plain: readonly number[][];
    readonly decoded: readonly string[];
    readonly skipped: readonly string[];
  };
}

const { bases, texts, cases } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../goldens/tokenizer-settings/settings.json'), 'utf8'),
) as { bases: Record<string, Record<string, unknown>>; texts: string[]; cases: Record<string, Case> };

/** What is refused by name instead of loaded. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  'llama-of-unigram': /its model is of type "Unigram"; its tokenizer_class makes BPE of it/,
  t5: /tokenizer_class "T5Tokenizer" is a class of transformers that does not take tokenizer.json as it is/,
  'xlm-roberta': /tokenizer_class "XLMRobertaTokenizer" is a class/,
};

it.each(Object.keys(cases))('as AutoTokenizer loads it, or refused by name: %s', (name) => {
  const { base, changes, config, files, expected } = cases[name]!;
  const load = () =>
    new Tokenizer({
      tokenizer: { ...bases[base], ...changes },
      config,
      modelConfig: files.config as Record<string, unknown>,
      ...(files.special_tokens_map && { specialTokensMap: files.special_tokens_map as Record<string, unknown> }),
      ...(files.added_tokens && { addedTokens: files.added_tokens as Record<string, unknown> }),
    });
  const refusal = REFUSED[name];
  if (refusal) return expect(load).toThrow(refusal);
  const tokenizer = load();
  expect(tokenizer.specialTokens).toEqual(expected.special_tokens);
  for (const [i, text] of texts.entries()) {
    const [ids, plain, decoded] = [expected.ids[i]!, expected.plain[i]!, expected.decoded[i]!];
    const skipped = expected.skipped[i]!;
    expect(tokenizer.encode(text), text).toEqual(ids);
    expect(tokenizer.encode(text, { addSpecialTokens: false }), text).toEqual(plain);
    expect(tokenizer.encodeWithOffsets(text).ids, text).toEqual(plain);
    expect(tokenizer.decode(ids), text).toBe(decoded);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true }), text).toBe(skipped);
    const stream = tokenizer.streamDecoder();
    expect(ids.map((id) => stream.push(id)).join('') + stream.flush(), text).toBe(skipped);
  }
});

it('a saved tokenizer names the class that only the model led to', async () => {
  const { base, config, files } = cases['qwen2-wrong-class']!;
  const modelConfig = files.config as Record<string, unknown>;
  const tokenizer = new Tokenizer({ tokenizer: bases[base]!, config, modelConfig });
  const folder = await temporaryFolder();
  await tokenizer.save(folder);
  const text = 'Ab  12 e\u0301';
  expect((await Tokenizer.load(folder)).encode(text)).toEqual(tokenizer.encode(text));
  expect(new Tokenizer({ tokenizer: bases[base]!, config }).encode(text)).not.toEqual(tokenizer.encode(text));
});
