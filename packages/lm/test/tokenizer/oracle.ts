import { PosttrainError } from '@posttrain/interfaces';
import fc from 'fast-check';
import { Tokenizer as Reference } from 'tokenizers';
import { TokenizerPipeline } from '../../src/tokenizer/pipeline.js';
import { compilePattern } from '../../src/tokenizer/regex/pattern.js';

/** Text with what tokenizers trip over: white space that is not JavaScript's, marks, controls, astral and newer characters. */
export const texts: fc.Arbitrary<string> = fc
  .array(
    fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...'abcABC  12.,-!\'"_<>#▁') },
      {
        weight: 4,
        arbitrary: fc.constantFrom('ab', 'ca', "'s", "n't", '  ', '\n', '\r\n', '\t', '...', '##', 'Σ', 'ΑΣ', 'ΟΔΟΣ '),
      },
      {
        weight: 4,
        arbitrary: fc.constantFrom(
          ...[
            '\u0085',
            '\ufeff',
            '\u200d',
            '\u200b',
            '\u00a0',
            '\u2028',
            '\u3000',
            '\u0000',
            '\u0001',
            '\u007f',
            '\u009f',
            '\ufffd',
          ],
          ...[
            'é',
            'e\u0301',
            '\u0301',
            '\u0323\u0301',
            'ﬁ',
            'ſ',
            'K',
            'ß',
            'İ',
            'ı',
            'Ǆ',
            '½',
            '①',
            '٣',
            'Ⅷ',
            '¿',
            '«',
            '—',
            '؟',
          ],
          ...[
            '漢',
            '字',
            'か',
            'が',
            'ー',
            'ｶﾞ',
            '가',
            '각',
            '\u1100\u1161',
            'й',
            'ж',
            'α',
            'ع',
            'ש',
            'क्ष',
            'ि',
            'ก',
            'ำ',
          ],
          ...[
            '😀',
            '👩\u200d💻',
            '🇫🇷',
            '👍🏽',
            '𠀀',
            '𐐀',
            '𝟘',
            '\u{1e030}',
            '\u{16d68}',
            '\u{105d2}\u0307',
            '\u{a7cb}',
            '\u0897',
            '\u{1ccd6}',
          ],
          ...['<s>', '</s>', '<x>', '<0x41>', '<unk>', 'yesterday', 'YESTERDAY', '<mask>'],
        ),
      },
      { weight: 1, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 2 }) },
    ),
    { maxLength: 14 },
  )
  .map((parts) => parts.join('').replace(/\p{Surrogate}/gu, '\ufffd'));

const behavior = fc.constantFrom('Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous');
const patterns = [
  ...[' ', 'a', '-', '', 'ab', '▁', '\n'].map((literal) => ({ String: literal })),
  ...[
    String.raw`\s+`,
    String.raw`\w+|[^\w\s]+`,
    String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    String.raw`[^\s\p{L}]++ ?|\p{L}?+a|.`,
    String.raw`\b\w|\B.`,
    '^.|.$',
    String.raw`\A\s*|\s*\z`,
    '(?<=a)b|(?<!a)[bc]',
    '[[:punct:][:digit:]]+',
    '[[:alpha:]&&[^a-c]]+',
    '(?:a|ab)*c?',
    '(a+)+b|x*',
    '(?>a|ab)c',
    String.raw`\p{Han}+|\p{Hiragana}|\p{Katakana}`,
    String.raw`\d+|\h|\R`,
    String.raw`[^\x{61}-\x{63}]`,
    String.raw`\p{Lu}|\p{^L}`,
    '(?i)[a-k]+',
    'a{2}|b{1,2}|c{2,}',
    'a*?b|a??c',
    ' {2,}',
    '▁+[^▁]*|[^▁]+',
  ].map((Regex) => ({ Regex })),
];
const pattern = fc.constantFrom(...patterns);
/** As normalizers, those that match nothing end the process of the binding. */
const solidPattern = fc.constantFrom(
  ...patterns.filter((one) => {
    const source = 'String' in one ? one.String : one.Regex;
    return (
      source !== '' &&
      !compilePattern('String' in one ? source.replace(/[\\-]/g, '\\$&') : source)('b-').some(
        (at, i, all) => i % 2 === 0 && at === all[i + 1],
      )
    );
  }),
);

const simple = <T>(
  type: string,
  fields: { readonly [K in keyof T]: fc.Arbitrary<T[K]> } = {} as never,
): fc.Arbitrary<object> => fc.record({ type: fc.constant(type), ...(fields as object) }) as fc.Arbitrary<object>;
const orNothing = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(one, { freq: 4 });
const text = (...values: string[]) => fc.constantFrom(...values);

const oneNormalizer = fc.oneof(
  ...['NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'StripAccents', 'Nmt', 'ByteLevel'].map((type) => simple(type)),
  simple('Strip', { strip_left: fc.boolean(), strip_right: fc.boolean() }),
  simple('Replace', { pattern: solidPattern, content: text('', ' ', '▁', 'xy', '😀') }),
  simple('Prepend', { prepend: text('▁', 'ab', ' ') }),
  simple('BertNormalizer', {
    clean_text: fc.boolean(),
    handle_chinese_chars: fc.boolean(),
    strip_accents: orNothing(fc.boolean()),
    lowercase: fc.boolean(),
  }),
);
const normalizer = fc.oneof(
  oneNormalizer,
  simple('Sequence', { normalizers: fc.array(oneNormalizer, { maxLength: 3 }) }),
);

const metaspace = simple('Metaspace', {
  replacement: text('▁', '_'),
  prepend_scheme: text('first', 'never', 'always'),
  split: fc.boolean(),
});
const onePreTokenizer = fc.oneof(
  simple('ByteLevel', { add_prefix_space: fc.boolean(), trim_offsets: fc.boolean(), use_regex: fc.boolean() }),
  metaspace,
  ...['Whitespace', 'WhitespaceSplit', 'BertPreTokenizer', 'UnicodeScripts'].map((type) => simple(type)),
  { weight: 3, arbitrary: simple('Split', { pattern, behavior, invert: fc.boolean() }) },
  simple('Punctuation', { behavior }),
  simple('Digits', { individual_digits: fc.boolean() }),
  simple('CharDelimiterSplit', { delimiter: text(' ', '-', '😀') }),
  simple('FixedLength', { length: fc.integer({ min: 1, max: 4 }) }),
);
const preTokenizer = fc.oneof(
  onePreTokenizer,
  simple('Sequence', { pretokenizers: fc.array(onePreTokenizer, { maxLength: 3 }) }),
);

/** A vocabulary of characters and of pieces joined from them, with the merges that do it. */
const vocabulary = fc.record({
  letters: fc.subarray([..."abcABC12.,-!'_<>#▁ĠéσςΣ漢字é😀𠀀"], { minLength: 6 }),
  joins: fc.array(fc.tuple(fc.nat(200), fc.nat(200)), { maxLength: 24 }),
  byteTokens: fc.constantFrom('none', 'all', 'some'),
  prefix: fc.constantFrom(null, null, '##', ''),
  suffix: fc.constantFrom(null, null, null, '</w>', ''),
});

const bpe = fc
  .tuple(
    vocabulary,
    fc.record({
      unk_token: text('<unk>', '<unk>', 'none'),
      fuse_unk: fc.boolean(),
      byte_fallback: fc.boolean(),
      ignore_merges: fc.boolean(),
    }),
    fc.boolean(),
  )
  .map(([{ letters, joins, byteTokens, prefix, suffix }, flags, asText]) => {
    const names = new Set([
      '<unk>',
      ...letters,
      ...(suffix ? letters.map((letter) => letter + suffix) : []),
      ...(prefix ? letters.map((letter) => prefix + letter) : []),
    ]);
    const merges: string[][] = [];
    for (const [i, j] of joins) {
      const [left, right] = [[...names][1 + (i % (names.size - 1))]!, [...names][1 + (j % (names.size - 1))]!];
      if (prefix && !right.startsWith(prefix)) continue;
      names.add(left + right.slice(prefix?.length ?? 0));
      merges.push([left, right]);
    }
    for (let byte = 0; byteTokens !== 'none' && byte < 256; byte += byteTokens === 'all' ? 1 : 3) {
      names.add(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
    }
    return {
      type: 'BPE',
      dropout: null,
      ...flags,
      unk_token: flags.unk_token === 'none' ? null : flags.unk_token,
      continuing_subword_prefix: prefix,
      end_of_word_suffix: suffix,
      vocab: Object.fromEntries([...names].map((name, id) => [name, id])),
      merges: asText ? merges.map((merge) => merge.join(' ')) : merges,
    };
  });

const words = fc.subarray(
  [
    'a',
    'b',
    'c',
    'ab',
    'ca',
    'abc',
    '▁',
    '▁a',
    '▁ab',
    'A',
    'é',
    '漢',
    '字',
    '漢字',
    '😀',
    '1',
    '12',
    '.',
    '##b',
    '##c',
    '##ab',
    '##é',
    'bc',
    'cab',
    '-',
    '<',
    's',
    '>',
  ],
  { minLength: 4 },
);
const unigram = fc
  .tuple(
    words,
    fc.array(fc.integer({ min: -8, max: 0 }), { minLength: 30, maxLength: 30 }),
    fc.boolean(),
    fc.constantFrom('none', 'all', 'some'),
  )
  .map(([pieces, scores, byte_fallback, bytes]) => {
    const vocab: [string, number][] = [
      ['<unk>', 0],
      ...pieces.map((piece, i): [string, number] => [piece, scores[i]! / 2]),
    ];
    for (let byte = 0; bytes !== 'none' && byte < 256; byte += bytes === 'all' ? 1 : 3)
      vocab.push([`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`, -9]);
    return { type: 'Unigram', unk_id: 0, byte_fallback, vocab };
  });
const wordPiece = fc
  .tuple(words, fc.constantFrom(3, 8, 100), fc.constantFrom('##', ''))
  .map(([pieces, max_input_chars_per_word, continuing_subword_prefix]) => ({
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix,
    max_input_chars_per_word,
    vocab: Object.fromEntries(['[UNK]', ...pieces].map((piece, id) => [piece, id])),
  }));
const wordLevel = words.map((pieces) => ({
  type: 'WordLevel',
  unk_token: '<unk>',
  vocab: Object.fromEntries(['<unk>', ...pieces].map((piece, id) => [piece, id])),
}));
const model = fc.oneof({ weight: 3, arbitrary: bpe }, unigram, wordPiece, wordLevel);

const addedToken = fc.record({
  content: text('<s>', '</s>', '<x>', 'yesterday', 'a', 'ab', ' ', 'Yes', '<mask>', 'É', '漢', '##b'),
  single_word: fc.boolean(),
  lstrip: fc.boolean(),
  rstrip: fc.boolean(),
  normalized: fc.boolean(),
  special: fc.boolean(),
});
const addedTokens = fc
  .uniqueArray(addedToken, { maxLength: 4, selector: (token) => token.content })
  // A space behind a token that takes spaces ends the process of the binding.
  .map((tokens) =>
    tokens.some(({ content }) => content === ' ') ? tokens.map((token) => ({ ...token, rstrip: false })) : tokens,
  )
  .map((tokens) => tokens.map((token, i) => ({ id: 1000 + i, ...token })));

const specialPlace = fc.record({
  SpecialToken: fc.record({ id: text('<s>', '</s>'), type_id: fc.constantFrom(0, 1) }),
});
const textPlace = fc.constant({ Sequence: { id: 'A', type_id: 0 } });
const template = simple('TemplateProcessing', {
  single: fc.array(fc.oneof(specialPlace, textPlace), { maxLength: 4 }),
  pair: fc.constant([{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }]),
  special_tokens: fc.constant({
    '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] },
    '</s>': { id: '</s>', ids: [2, 3], tokens: ['</s>', 'x'] },
  }),
});
const plainPostProcessor = fc.oneof(
  simple('ByteLevel', { add_prefix_space: fc.boolean(), trim_offsets: fc.boolean(), use_regex: fc.boolean() }),
  simple('BertProcessing', { sep: fc.constant(['</s>', 2]), cls: fc.constant(['<s>', 1]) }),
  simple('RobertaProcessing', {
    sep: fc.constant(['</s>', 2]),
    cls: fc.constant(['<s>', 1]),
    trim_offsets: fc.boolean(),
    add_prefix_space: fc.boolean(),
  }),
);
const onePostProcessor = fc.oneof(template, plainPostProcessor);
// The binding ends the process where a second template gets three parts, so only the last step is one.
const postProcessor = fc.oneof(
  onePostProcessor,
  fc
    .tuple(fc.array(plainPostProcessor, { maxLength: 1 }), onePostProcessor)
    .map(([first, last]) => ({ type: 'Sequence', processors: [...first, last] })),
);

const oneDecoder = fc.oneof(
  ...['ByteFallback', 'Fuse'].map((type) => simple(type)),
  simple('ByteLevel', { add_prefix_space: fc.boolean(), trim_offsets: fc.boolean(), use_regex: fc.boolean() }),
  metaspace,
  simple('Replace', { pattern, content: text('', ' ', '▁', 'xy') }),
  simple('Strip', { content: text(' ', 'a', '▁'), start: fc.nat(2), stop: fc.constant(0) }),
  simple('WordPiece', { prefix: text('##', ''), cleanup: fc.boolean() }),
  simple('BPEDecoder', { suffix: text('</w>', 'a', '') }),
  simple('CTC', { pad_token: text('<s>', 'a'), word_delimiter_token: text('|', '-'), cleanup: fc.boolean() }),
);
const decoder = fc.oneof(oneDecoder, simple('Sequence', { decoders: fc.array(oneDecoder, { maxLength: 4 }) }));

/** Whole tokenizers of random components. */
export const tokenizers: fc.Arbitrary<object> = fc.record({
  version: fc.constant('1.0'),
  truncation: fc.constant(null),
  padding: fc.constant(null),
  added_tokens: addedTokens,
  normalizer: orNothing(normalizer),
  pre_tokenizer: orNothing(preTokenizer),
  post_processor: orNothing(postProcessor),
  decoder: orNothing(decoder),
  model,
});

/** What only we refuse, since the reference implementation's own answer is an accident. */
const refusedOnPurpose = /normalizing leaves nothing|once normalized/;

/** A tokenizer by both implementations; undefined where both refuse, or we on purpose. @throws when one of them refuses alone */
export function both(json: object): { readonly ours: TokenizerPipeline; readonly theirs: Reference } | undefined {
  let theirs: Reference | undefined;
  let refusal: unknown;
  try {
    theirs = Reference.fromString(JSON.stringify(json));
  } catch (error) {
    refusal = error;
  }
  try {
    const ours = new TokenizerPipeline(json);
    if (!theirs) throw new Error(`Only the reference refuses: ${refusal}`);
    return { ours, theirs };
  } catch (error) {
    if (!(error instanceof PosttrainError) || (theirs && !refusedOnPurpose.test(error.message))) throw error;
    return undefined;
  }
}

/** What a call gives, or that it fails. */
export async function outcome<T>(call: () => T | Promise<T>): Promise<T | 'fails'> {
  try {
    return await call();
  } catch {
    return 'fails';
  }
}
