import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Tokenizer } from '../../src/index.js';
import { TokenizerPipeline } from '../../src/tokenizer/pipeline.js';
import { isLinear } from '../../src/tokenizer/regex/linear.js';
import { parsePattern } from '../../src/tokenizer/regex/parse.js';
import { javaScriptMatcher, machineMatcher } from '../../src/tokenizer/regex/pattern.js';
import {
  codePointTexts,
  compareNormalizer,
  comparePreTokenizer,
  compareRandomTokenizers,
  normalizers,
  preTokenizers,
} from './against-reference.js';
import { tokenizerGoldens, tokenizerKinds } from './goldens.js';
import { texts } from './oracle.js';

const wordLevel = (parts: object, vocab: Record<string, number> = { a: 0, b: 1, '<unk>': 2 }) => ({
  version: '1.0',
  added_tokens: [],
  model: { type: 'WordLevel', vocab, unk_token: '<unk>' },
  ...parts,
});

describe('equal to the tokenizers library', () => {
  it('random pipelines on random texts', () => compareRandomTokenizers(5, 500));

  it('what components know of characters', () => {
    const sparse = [...codePointTexts(0, 397, 5000)];
    for (const text of [...sparse, codePointTexts(1, 3, 0x1000).next().value!]) {
      for (const json of normalizers) compareNormalizer(json, text);
      for (const json of preTokenizers) comparePreTokenizer(json, text);
    }
  });

  it('replacements that SentencePiece compiled, in texts of clusters', () => {
    const precompiled = normalizers.filter((json) => (json as { type: string }).type === 'Precompiled');
    const part = fc.constantFrom(
      ...'\r\n ae\u0301\u0302o½Ａ漢Σx\u0600×ﬁ©\u200d\ufe0f',
      '\r\n',
      '😀',
      'ab',
      'ｶﾞ',
      '\u{1f1eb}',
      'क्',
      'ก\u0e33',
      '\u0000',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        for (const json of precompiled) compareNormalizer(json, parts.join(''));
      }),
      { seed: 3, numRuns: 800 },
    );
  });
});

describe('offsets', () => {
  const vocab = Object.fromEntries(['Ġ', 'a', 'b', 'Ġa', 'ĠĠ', '漢'].map((token, id) => [token, id]));
  const merges = [
    ['Ġ', 'a'],
    ['Ġ', 'Ġ'],
  ];
  const bytes = { add_prefix_space: false, trim_offsets: true, use_regex: true };
  const trimming = {
    pre_tokenizer: { type: 'ByteLevel', ...bytes },
    post_processor: { type: 'ByteLevel', ...bytes },
    model: { type: 'BPE', vocab, merges },
  };

  it('leave out the white space of a token where the post-processor trims them, and whole ones keep it', () => {
    const pipeline = new TokenizerPipeline(trimming);
    expect(pipeline.encodeWithOffsets('a a  b')).toEqual({
      ids: [1, 3, 0, 0, 2],
      offsets: spans('0 1 2 3 4 4 5 5 5 6'),
    });
    expect(pipeline.encodeWithOffsets('a a  b', true).offsets).toEqual(spans('0 1 1 3 3 4 4 5 5 6'));
  });

  it('are refused by name where the reference implementation gives those of other characters', () => {
    const pipeline = new TokenizerPipeline({ model: { type: 'BPE', vocab, merges } });
    expect(() => pipeline.encodeWithOffsets('axb')).toThrow(/no token for some character of "axb".*whole: true/);
    expect(pipeline.encodeWithOffsets('axb', true)).toEqual({ ids: [1, 2], offsets: spans('0 1 2 3') });
    expect(pipeline.encodeWithOffsets('abx')).toEqual({ ids: [1, 2], offsets: spans('0 1 1 2') });
  });
});

function spans(text: string): number[][] {
  const places = text.split(' ').map(Number);
  return places.flatMap((start, i) => (i % 2 === 0 ? [[start, places[i + 1]!]] : []));
}

describe('streams', () => {
  it.each(tokenizerKinds)('%s: joined they are the decoded text, for any ids', async (kind) => {
    const tokenizer = await Tokenizer.load(join(tokenizerGoldens, kind));
    fc.assert(
      fc.property(
        fc.array(fc.nat(tokenizer.vocabSize - 1), { maxLength: 40 }),
        fc.boolean(),
        (ids, skipSpecialTokens) => {
          const stream = tokenizer.streamDecoder({ skipSpecialTokens });
          const pieces = ids.map((id) => stream.push(id));
          for (const piece of pieces) expect(piece).not.toMatch(/\p{Surrogate}/u);
          expect(pieces.join('') + stream.flush()).toBe(tokenizer.decode(ids, { skipSpecialTokens }));
        },
      ),
      { seed: 7, numRuns: 400 },
    );
  });

  it('cleaned-up text is given as soon as nothing can change it', () => {
    const vocab = Object.fromEntries(
      ["don't", ' ', '.', "'", 'n', 't', 'word', "'s", "'ve", '!', 'longer', ' do', ' not'].map((t, id) => [t, id]),
    );
    const json = {
      ...wordLevel({ decoder: { type: 'Fuse' } }, vocab),
      model: { type: 'WordLevel', vocab, unk_token: '.' },
    };
    const tokenizer = new Tokenizer({ tokenizer: json, config: { clean_up_tokenization_spaces: true } });
    fc.assert(
      fc.property(fc.array(fc.nat(12), { maxLength: 20 }), (ids) => {
        const stream = tokenizer.streamDecoder();
        expect(ids.map((id) => stream.push(id)).join('') + stream.flush()).toBe(tokenizer.decode(ids));
      }),
      { seed: 7, numRuns: 1000 },
    );
    const stream = tokenizer.streamDecoder();
    expect([6, 1, 10, 1].map((id) => stream.push(id)).join('')).toBe('word longer');
  });
});

describe('regular expressions', () => {
  it('of flat alternatives run as JavaScript, all others in linear time; both find the same', () => {
    const cases: [pattern: string, linear: boolean][] = [
      [String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, true],
      [
        String.raw`(?i:'s|'t)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
        true,
      ],
      [
        String.raw`[^\r\n\p{L}]?[\p{Lu}\p{M}]*[\p{Ll}\p{M}]+(?i:'s)?|[^\r\n\p{L}]?[\p{Lu}\p{M}]+[\p{Ll}\p{M}]*(?i:'s)?|\s+`,
        true,
      ],
      [String.raw`\s+$`, false],
      ['a*b', false],
      ['(a+)+b|a', false],
      ['(?:a|ab)*?c|b{2,}', false],
      [String.raw`(?<=a)b+|(?>a|ab)c|\ba\b`, true],
      ['(?:ab)+|(?=a*b)a', false],
    ];
    for (const [pattern, linear] of cases) {
      const node = parsePattern(pattern);
      expect(isLinear(node), pattern).toBe(linear);
      const [javaScript, machine] = [javaScriptMatcher(node), machineMatcher(node, pattern)];
      fc.assert(
        fc.property(texts, (text) => {
          expect(machine(text)).toEqual(javaScript(text));
        }),
        { seed: 2, numRuns: 100 },
      );
    }
  });

  it('that explode elsewhere end, and long texts take time in proportion', () => {
    const split = (Regex: string) =>
      new TokenizerPipeline(
        wordLevel({ pre_tokenizer: { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false } }),
      );
    for (const regex of ['(a+)+b', '(a|a)*b', '(a|aa)+$', '(?:a*)*c', 'a*b', '\\s+$', '(?:(?:a?)*)*b', '(a*a*)*b']) {
      expect(split(regex).encode('a'.repeat(5000), false), regex).toHaveLength(1);
    }
    const refused = (regex: string) => () => split(regex).encode('a'.repeat(5000), false);
    expect(refused('(?=.*b)a')).toThrow(/takes too many steps in a text of 5000 characters/);
  });

  it.each([
    ['(', /without its "\)"/],
    [')', /without its "\("/],
    ['[a', /without its "\]"/],
    ['*', /repeats nothing/],
    ['a{3,2}', /ends before it begins/],
    ['a{9999}', /more than 1000 times/],
    ['(?:(?:a{900}){900}){900}', /too large once its repetitions/],
    ['(a)\\1', /"\\1", which is not supported/],
    ['\\p{Klingon}', /\\p\{Klingon\}, which is not supported/],
    ['(?i:straße)', /"st" ignoring case/],
    ['(?i:ss)', /"ss" ignoring case/],
    ['(?i:\\p{Lu})', /ignoring case/],
    ['(?x: a )', /the group "\(\?x/],
    ['(?<=a*)b', /look-behind without limit/],
    ['a**', /repeated repetition/],
    ['\\Ga', /"\\G"/],
    ['('.repeat(500) + ')'.repeat(500), /nested deeper/],
    ['a'.repeat(30_000), /longer than 20000 characters/],
  ])('refuses %s by name', (pattern, message) => {
    expect(
      () =>
        new TokenizerPipeline(wordLevel({ normalizer: { type: 'Replace', pattern: { Regex: pattern }, content: '' } })),
    ).toThrow(message);
  });
});

describe('absurd files are refused by name', () => {
  const nested = (depth: number): object =>
    depth === 0 ? { type: 'NFC' } : { type: 'Sequence', normalizers: [nested(depth - 1)] };
  const bpe = (fields: object) => ({ model: { type: 'BPE', vocab: { a: 0, b: 1, ab: 2 }, merges: [], ...fields } });
  it.each<[string, object, RegExp]>([
    ['a list', [] as object, /tokenizer\.json must be an object/],
    ['no model', {}, /has no "model"/],
    ['another version', { version: '2.0', ...bpe({}) }, /version must be "1\.0"/],
    [
      'an unknown normalizer',
      { ...bpe({}), normalizer: { type: 'Fancy' } },
      /normalizer is of type "Fancy"; supported are BertNormalizer/,
    ],
    ['a deep sequence', { ...bpe({}), normalizer: nested(100) }, /nested deeper than 32/],
    [
      'a wrong behaviour',
      { ...bpe({}), pre_tokenizer: { type: 'Punctuation', behavior: 'Wild' } },
      /behavior is "Wild"; it can be Removed/,
    ],
    [
      'a long delimiter',
      { ...bpe({}), pre_tokenizer: { type: 'CharDelimiterSplit', delimiter: 'ab' } },
      /delimiter must be one character/,
    ],
    [
      'no length',
      { ...bpe({}), pre_tokenizer: { type: 'FixedLength', length: 0 } },
      /length must be a whole number of at least 1/,
    ],
    [
      'contradictory Metaspace',
      { ...bpe({}), pre_tokenizer: { type: 'Metaspace', replacement: '_', add_prefix_space: false } },
      /contradicts the prepend_scheme/,
    ],
    ['dropout', bpe({ dropout: 0.1 }), /dropout is 0\.1, which makes encoding random/],
    ['a huge id', bpe({ vocab: { a: 1e9 } }), /must be a token id, 0 to 16777215; it is 1000000000/],
    ['a negative id', bpe({ vocab: { a: -1 } }), /must be a token id/],
    ['an id twice', bpe({ vocab: { a: 0, b: 0 } }), /the same id 0/],
    ['a merge of three', bpe({ merges: ['a b c'] }), /merges\[0\] is "a b c"; it must be a pair/],
    [
      'a merge without its result',
      bpe({ merges: [['b', 'a']] }),
      /needs the token "ba", which is not in the vocabulary/,
    ],
    ['merges of both forms', bpe({ merges: ['a b', ['a', 'b']] }), /of the same form as the others/],
    [
      'unigram without scores',
      { model: { type: 'Unigram', vocab: [['a']] } },
      /vocab\[0\] is \["a"\]; it must be a piece and its score/,
    ],
    [
      'unigram with a wild unk_id',
      { model: { type: 'Unigram', vocab: [['a', 0]], unk_id: 7 } },
      /unk_id is 7; the vocabulary has 1/,
    ],
    [
      'a template of nobody',
      {
        ...bpe({}),
        post_processor: {
          type: 'TemplateProcessing',
          single: [{ SpecialToken: { id: '<s>', type_id: 0 } }],
          pair: [],
          special_tokens: {},
        },
      },
      /names the token "<s>", which special_tokens has not/,
    ],
    [
      'a damaged charsmap',
      { ...bpe({}), normalizer: { type: 'Precompiled', precompiled_charsmap: '////' } },
      /is not a table of replacements/,
    ],
    ['an unknown decoder', { ...bpe({}), decoder: { type: 'Rot13' } }, /decoder is of type "Rot13"/],
  ])('%s', (_, json, message) => {
    expect(() => new Tokenizer({ tokenizer: json as Record<string, unknown> })).toThrow(message);
  });

  it('components that make a text longer and longer are stopped', () => {
    const twice = { type: 'Replace', pattern: { String: 'a' }, content: 'aa' };
    const normalizer = { type: 'Sequence', normalizers: new Array(100).fill(twice) };
    const growing = new TokenizerPipeline({ ...bpe({}), normalizer });
    expect(() => growing.encode('a', false)).toThrow(/normalizer makes a text of \d+ characters/);
    const prefix = { ...bpe({}), normalizer: { type: 'Prepend', prepend: 'a'.repeat(2000) } };
    expect(() => new TokenizerPipeline(prefix)).toThrow(/prepend is longer than 1000 characters/);
  });

  it('long texts without spaces take time in proportion to their length', () => {
    const letters = 'abcdefgh';
    const vocab: Record<string, number> = Object.fromEntries([...letters].map((letter, id) => [letter, id]));
    const merges: string[][] = [];
    for (const tokens of [[...letters], Object.keys(vocab)]) {
      for (const left of tokens)
        for (const right of letters) if (!(left + right in vocab)) vocab[left + right] = Object.keys(vocab).length;
    }
    for (const token of Object.keys(vocab)) if (token.length > 1) merges.push([token.slice(0, -1), token.slice(-1)]);
    const pipeline = new TokenizerPipeline({ model: { type: 'BPE', vocab, merges } });
    expect(pipeline.encode('abcdefgh'.repeat(125_000), false).length).toBeGreaterThan(300_000);
  });
});

it('nothing of the pipeline is of Node.js', () => {
  const root = join(import.meta.dirname, '../../src/tokenizer');
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const source = readFileSync(file, 'utf8');
    expect(source, file).not.toMatch(/from 'node:|\bBuffer\b|\bprocess\./);
    for (const [, path] of source.matchAll(/from '(\.[^']+)\.js'/g)) visit(join(file, '..', `${path}.ts`));
  };
  visit(join(root, 'pipeline.ts'));
  expect(seen.size).toBeGreaterThan(25);
  expect(existsSync(root) && readdirSync(root)).toContain('pipeline.ts');
});
