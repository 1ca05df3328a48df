import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  assertTokenIds,
  InvalidModelFileError,
  TokenIdError,
  Tokenizer,
  trainBpe,
  trainTokenizer,
  trainUnigram,
  trainWordPiece,
} from '../../src/index.js';
import { CHARACTER_OF_BYTE } from '../../src/tokenizer/byte-level.js';
import { TokenizerPipeline } from '../../src/tokenizer/pipeline.js';
import { temporaryFolder } from '../support.js';
import { readTokenizerGolden, tokenizerGoldens, tokenizerKinds } from './goldens.js';

const offsetsGolden = JSON.parse(
  readFileSync(join(import.meta.dirname, '../goldens/offsets/offsets.json'), 'utf8'),
) as Record<string, { text: string; offsets: [number, number][] }[]>;

const readJson = (kind: string, name: string) => JSON.parse(readFileSync(join(tokenizerGoldens, kind, name), 'utf8'));

describe.each(tokenizerKinds)('%s', async (kind) => {
  const tokenizer = await Tokenizer.load(join(tokenizerGoldens, kind));
  const golden = readTokenizerGolden(kind);

  it('has the vocabulary and special tokens of transformers', () => {
    expect(tokenizer.vocabSize).toBe(golden.vocab_size);
    expect([...tokenizer.specialIds].sort((a, b) => a - b)).toEqual(golden.special_flag_ids);
    const { bosId, eosId, padId, unkId } = tokenizer;
    const special = golden.special_ids;
    expect([bosId, eosId, padId, unkId]).toEqual([
      special.bos_token,
      special.eos_token,
      special.pad_token,
      special.unk_token,
    ]);
    expect(tokenizer.idToToken(golden.vocab_size)).toBeUndefined();
    expect(tokenizer.tokenToId('no such token')).toBeUndefined();
    for (let id = 0; id < golden.vocab_size; id++) expect(tokenizer.tokenToId(tokenizer.idToToken(id)!)).toBe(id);
  });

  it('encodes as transformers does', () => {
    for (const { text, ids, ids_no_special, tokens_no_special } of golden.encode) {
      expect(tokenizer.encode(text), text).toEqual(ids);
      const plain = tokenizer.encode(text, { addSpecialTokens: false });
      expect(plain, text).toEqual(ids_no_special);
      expect(plain.map((id) => tokenizer.idToToken(id))).toEqual(tokens_no_special);
    }
  });

  it('decodes as transformers does', () => {
    for (const row of golden.encode) {
      expect(tokenizer.decode(row.ids), row.text).toBe(row.decoded);
      expect(tokenizer.decode(row.ids, { skipSpecialTokens: true }), row.text).toBe(row.decoded_skip_special);
      expect(tokenizer.decode(row.ids_no_special), row.text).toBe(row.decoded_no_special);
    }
    for (const { ids, decoded, decoded_skip_special } of golden.decode) {
      expect(tokenizer.decode(ids), String(ids)).toBe(decoded);
      expect(tokenizer.decode(ids, { skipSpecialTokens: true }), String(ids)).toBe(decoded_skip_special);
    }
  });

  it('streams the same text without half characters', () => {
    for (const { text, ids } of golden.encode) {
      const stream = tokenizer.streamDecoder();
      const pieces = [...ids.map((id) => stream.push(id)), stream.flush()];
      expect(pieces.join(''), text).toBe(tokenizer.decode(ids, { skipSpecialTokens: true }));
      if (!text.includes('\uFFFD')) expect(pieces.slice(0, -1).join('')).not.toContain('\uFFFD');
      expect(stream.flush()).toBe('');
    }
  });

  it('gives the offsets of transformers', () => {
    for (const { text, offsets } of offsetsGolden[kind]!) {
      const ours = tokenizer.encodeWithOffsets(text);
      expect(ours.ids).toEqual(tokenizer.encode(text, { addSpecialTokens: false }));
      expect(ours.offsets, text).toEqual(offsets);
    }
  });

  it('whole offsets of any text cover it in order', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), (text) => {
        const { ids, offsets } = tokenizer.encodeWithOffsets(text, { whole: true });
        expect(ids.length).toBe(offsets.length);
        let covered = 0;
        for (const [start, end] of offsets) {
          expect(text.slice(covered, Math.max(start, covered)).trim().replaceAll('\u2581', '')).toBe('');
          expect(end).toBeLessThanOrEqual(text.length);
          covered = Math.max(covered, end);
        }
        expect(text.slice(covered).trim()).toBe('');
      }),
      { numRuns: 300, seed: 7 },
    );
  });
});

const variants = JSON.parse(
  readFileSync(join(import.meta.dirname, '../goldens/tokenizer-variants/variants.json'), 'utf8'),
) as Record<string, { base: string; parts: object; rows: { text: string; ids: number[]; decoded: string }[] }>;

it.each(Object.keys(variants))('pre-tokenizers and decoders of well-known families: %s', (name) => {
  const { base, parts, rows } = variants[name]!;
  const tokenizer = new Tokenizer({ tokenizer: { ...readJson(base, 'tokenizer.json'), ...parts } });
  for (const { text, ids, decoded } of rows) {
    expect(tokenizer.encode(text, { addSpecialTokens: false }), text).toEqual(ids);
    expect(tokenizer.decode(ids), text).toBe(decoded);
    expect(tokenizer.encodeWithOffsets(text).offsets.length).toBe(ids.length);
    const stream = tokenizer.streamDecoder({ skipSpecialTokens: false });
    expect(ids.map((id) => stream.push(id)).join('') + stream.flush(), text).toBe(decoded);
  }
});

describe('what the golden folders do not show', () => {
  const kind = 'sentencepiece-bpe';
  const files = () => ({
    tokenizer: readJson(kind, 'tokenizer.json'),
    config: readJson(kind, 'tokenizer_config.json'),
  });

  it('special tokens from special_tokens_map.json, as objects, and from added_tokens.json', () => {
    const { tokenizer } = files();
    const map = { bos_token: { content: '<s>', lstrip: false }, eos_token: '</s>', pad_token: 'e' };
    const loaded = new Tokenizer({ tokenizer, specialTokensMap: map, addedTokens: { '<nw>': 592 } });
    expect([loaded.bosId, loaded.eosId, loaded.unkId]).toEqual([1, 2, undefined]);
    expect(loaded.specialIds.has(loaded.padId!)).toBe(true);
    expect(loaded.encode('<nw>', { addSpecialTokens: false })).toEqual([592]);
    expect(loaded.vocabSize).toBe(593);
    expect(loaded.specialTokens).toEqual({ bos_token: '<s>', eos_token: '</s>', pad_token: 'e' });
  });

  it('Metaspace drops every space mark of the first token, or none where it prepends none', () => {
    const json = readJson('unigram', 'tokenizer.json');
    const never = new Tokenizer({ tokenizer: { ...json, decoder: { ...json.decoder, prepend_scheme: 'never' } } });
    const always = new Tokenizer({ tokenizer: json });
    const space = always.tokenToId('\u2581')!;
    expect(always.decode([space, space])).toBe(' ');
    expect(never.decode([space, space])).toBe('  ');
  });

  it('ids that the vocabulary does not have are refused, by id and position', () => {
    const tokenizer = new Tokenizer(files());
    const stream = tokenizer.streamDecoder();
    for (const id of [-1, -100, 1.5, Number.NaN, Number.POSITIVE_INFINITY, tokenizer.vocabSize, 2 ** 32, '3', null]) {
      const name = `position 1: ${typeof id === 'string' ? `"${id}"` : id} is no token id; ids are whole numbers from 0 to 591`;
      expect(() => tokenizer.decode([5, id as number])).toThrow(`Tokenizer.decode, ${name}`);
      expect(() => stream.push(id as number)).toThrow(TokenIdError);
      expect(() => assertTokenIds(tokenizer, [5, id as number], 'row 3')).toThrow(`row 3, ${name}`);
    }
    expect(() => tokenizer.encode(undefined as never)).toThrow(
      'Tokenizer.encode: the text is undefined; it must be a text.',
    );
  });

  it('BPE text is never "cleaned up", whatever the config says', () => {
    const { tokenizer, config } = files();
    const loaded = new Tokenizer({ tokenizer, config: { ...config, clean_up_tokenization_spaces: true } });
    expect(loaded.decode(loaded.encode('a , b .', { addSpecialTokens: false }))).toBe('a , b .');
  });

  it('streams bytes once their run has ended, since one byte more may make all of it invalid', async () => {
    const tokenizer = await Tokenizer.load(join(tokenizerGoldens, kind));
    const ids = tokenizer.encode('🧿', { addSpecialTokens: false });
    const stream = tokenizer.streamDecoder();
    expect(ids.map((id) => stream.push(id)).join('')).toBe('');
    expect(stream.push(tokenizer.tokenToId('\u2581a')!)).toBe('🧿 a');
    expect(stream.flush()).toBe('');
    const broken = [...ids, ids.at(-1)!];
    expect(broken.map((id) => stream.push(id)).join('') + stream.flush()).toBe(tokenizer.decode(broken));
    expect(tokenizer.decode(broken)).toMatch(/^\uFFFD+$/);
    expect(stream.push(tokenizer.tokenToId('\u2581a')!)).toBe('a');
  });

  it('keeps the space after a skipped special token', async () => {
    const tokenizer = await Tokenizer.load(join(tokenizerGoldens, kind));
    const a = tokenizer.tokenToId('\u2581a')!;
    const ids = [a, tokenizer.eosId!, a];
    const stream = tokenizer.streamDecoder();
    expect(ids.map((id) => stream.push(id)).join('') + stream.flush()).toBe('a a');
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe('a a');
  });

  it('a long text is aligned like its parts', async () => {
    const tokenizer = await Tokenizer.load(join(tokenizerGoldens, 'byte-level-bpe'));
    const line = 'The robot counts 12 apples, café 🎉 and 今日は.\n<|im_end|>';
    const one = tokenizer.encodeWithOffsets(line);
    const many = tokenizer.encodeWithOffsets(line.repeat(2000));
    expect(many.ids.length).toBe(2000 * one.ids.length);
    const last = many.offsets.slice(-one.offsets.length);
    expect(last).toEqual(one.offsets.map(([start, end]) => [start + 1999 * line.length, end + 1999 * line.length]));
  });

  it('saves its files, all or none, and refuses unusable ones', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tokenizer-'));
    const source = join(folder, 'source');
    const target = join(folder, 'target');
    cpSync(join(tokenizerGoldens, kind), source, { recursive: true });
    const tokenizer = await Tokenizer.load(source);
    await tokenizer.save(target);
    expect(readdirSync(target).sort()).toEqual(['chat_template.jinja', 'tokenizer.json', 'tokenizer_config.json']);
    const text = 'Hello, world 42!';
    expect((await Tokenizer.load(target)).encode(text)).toEqual(tokenizer.encode(text));
    const made = join(folder, 'made');
    await new Tokenizer(files()).save(made);
    expect(readdirSync(made).sort()).toEqual(['tokenizer.json', 'tokenizer_config.json']);
    expect((await Tokenizer.load(made)).encode(text)).toEqual(new Tokenizer(files()).encode(text));
    writeFileSync(join(source, 'tokenizer.json'), '{}');
    await expect(Tokenizer.load(source)).rejects.toThrow(InvalidModelFileError);
    writeFileSync(join(source, 'tokenizer.json'), '{"model": {"type": "Nonsense", "vocab": {}}}');
    await expect(Tokenizer.load(source)).rejects.toThrow(/tokenizer\.json: its model is of type "Nonsense"/);
    writeFileSync(join(source, 'tokenizer.json'), '{"model": {"type": "BPE"}}');
    await expect(Tokenizer.load(source)).rejects.toThrow(/tokenizer\.json: model\.vocab must be an object/);
    rmSync(join(source, 'tokenizer.json'));
    await expect(Tokenizer.load(source)).rejects.toThrow(/no such file/);
    rmSync(folder, { recursive: true });
  });
});

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

describe('a tokenizer that is trained', () => {
  interface Vocabulary {
    readonly kind: 'bpe' | 'plain_bpe' | 'word_piece' | 'unigram';
    readonly texts: readonly string[];
    readonly options: Readonly<Record<string, unknown>>;
    readonly tokens?: readonly string[];
    readonly merges?: readonly string[];
    readonly pieces?: readonly string[];
    readonly scores?: readonly (number | null)[];
    readonly chance_scores?: readonly number[];
    readonly unk_id?: number | null;
  }
  const path = join(tokenizerGoldens, '../tokenizer-training/vocabularies.json');
  const { cases: trained } = JSON.parse(readFileSync(path, 'utf8')) as { cases: Vocabulary[] };
  /** The components that the golden's tokenizers have. */
  const PARTS = {
    bpe: { pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true } },
    plain_bpe: { pre_tokenizer: { type: 'Whitespace' } },
    word_piece: {
      normalizer: {
        type: 'BertNormalizer',
        clean_text: true,
        handle_chinese_chars: true,
        strip_accents: null,
        lowercase: true,
      },
      pre_tokenizer: { type: 'BertPreTokenizer' },
    },
    unigram: {
      normalizer: { type: 'NFKC' },
      pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    },
  };
  const wordsOf = ({ kind, texts }: Vocabulary) => {
    const pipeline = new TokenizerPipeline({
      version: '1.0',
      model: { type: 'BPE', vocab: {}, merges: [] },
      ...PARTS[kind],
    });
    const words = new Map<string, number>();
    for (const word of texts.flatMap((text) => pipeline.words(text))) words.set(word, (words.get(word) ?? 0) + 1);
    return words;
  };
  const inCamelCase = (given: object) =>
    Object.fromEntries(Object.entries(given).map(([k, x]) => [k.replace(/_([a-z])/g, (_, c) => c.toUpperCase()), x]));

  it.each(trained)('has the vocabulary of the tokenizers library: $kind $options', (golden) => {
    const [words, options] = [wordsOf(golden), inCamelCase(golden.options)];
    if (golden.kind === 'unigram') {
      const { pieces, unkId } = trainUnigram(words, options);
      const byPiece = new Map(pieces);
      expect([...byPiece.keys()].sort()).toEqual([...golden.pieces!].sort());
      expect(unkId ?? null).toBe(golden.unk_id);
      const byChance: number[] = [];
      golden.pieces!.forEach((piece, i) => {
        const [score, theirs] = [byPiece.get(piece)!, golden.scores![i]!];
        if (theirs === null) byChance.push(score);
        else expect(score, piece).toBeCloseTo(theirs, 5);
      });
      byChance.sort((a, b) => a - b);
      byChance.forEach((score, i) => void expect(score).toBeCloseTo(golden.chance_scores![i]!, 5));
      return;
    }
    if (golden.kind === 'word_piece') {
      expect([...trainWordPiece(words, options)].sort()).toEqual([...golden.tokens!].sort());
      return;
    }
    const initialAlphabet = golden.kind === 'bpe' ? CHARACTER_OF_BYTE : [];
    const { tokens, merges } = trainBpe(words, { ...options, initialAlphabet });
    expect(tokens).toEqual(golden.tokens);
    expect(merges.map((pair) => pair.join(' '))).toEqual(golden.merges);
  });

  it('joins what is most frequent first, and EM comes to the part that each piece has', () => {
    // The example of the paper on byte-pair encoding.
    const words = new Map([
      ['low', 5],
      ['lower', 2],
      ['newest', 6],
      ['widest', 3],
    ]);
    const { merges } = trainBpe(words, { vocabSize: 13 });
    expect(merges.map((pair) => pair.join(''))).toEqual(['es', 'est', 'lo']);
    expect(trainBpe(words, { minFrequency: 9 }).merges.map((pair) => pair.join(''))).toEqual(['es', 'est']);
    // Nothing repeats but "a" and "b", three to one.
    const { pieces } = trainUnigram(
      new Map([
        ['a', 3000],
        ['b', 1000],
      ]),
      { vocabSize: 10 },
    );
    expect(pieces.map(([piece]) => piece)).toEqual(['a', 'b']);
    expect(pieces.map(([, score]) => Math.exp(score))).toEqual([expect.closeTo(0.75, 3), expect.closeTo(0.25, 3)]);
  });

  it.each(['bpe', 'unigram', 'wordpiece'] as const)(
    'is saved, loads again, and gives texts back: %s',
    async (model) => {
      async function* texts() {
        yield* trained[0]!.texts;
        yield '';
      }
      const tokenizer = await trainTokenizer(texts(), { model, vocabSize: 400, specialTokens: ['<|im_start|>'] });
      const folder = mkdtempSync(join(tmpdir(), 'trained-'));
      try {
        await tokenizer.save(folder);
        const loaded = await Tokenizer.load(folder);
        expect(loaded.eosId).toBe(tokenizer.tokenToId(tokenizer.specialTokens.eos_token!));
        expect(loaded.specialIds.has(loaded.tokenToId('<|im_start|>')!)).toBe(true);
        // WordPiece's pre-tokenizer takes a run of spaces for one, as BERT's.
        const spaces = model === 'wordpiece' ? / +/g : / /g;
        const plain = trained[0]!.texts.map((text) =>
          text
            .toLowerCase()
            .replace(/[^a-z ]/g, '')
            .replace(spaces, ' ')
            .trim(),
        );
        for (const text of plain) {
          const ids = loaded.encode(text);
          expect(ids).toEqual(tokenizer.encode(text));
          expect(ids.length).toBeLessThan(text.length);
          expect(loaded.decode(ids).trim()).toBe(text);
        }
        if (model === 'bpe') expect(loaded.decode(loaded.encode('Ünï 🎉\n\t'))).toBe('Ünï 🎉\n\t');
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );

  it('says what nothing can be learnt from', async () => {
    await expect(trainTokenizer([], { vocabSize: 300 })).rejects.toThrow(/cannot be trained: there is no text/);
    await expect(trainTokenizer(['abcdef'], { model: 'unigram', vocabSize: 5 })).rejects.toThrow(
      /vocabSize is 5, and the text has 7/,
    );
    await expect(trainTokenizer(['ab', 3 as never], { vocabSize: 300 })).rejects.toThrow(/text 1 is number/);
    await expect(trainTokenizer(['ab'], { vocabSize: 300, parts: { decode: null } as never })).rejects.toThrow(/parts/);
  });
});
