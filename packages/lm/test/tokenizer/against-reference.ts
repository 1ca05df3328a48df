import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { Tokenizer as Reference } from 'tokenizers';
import { expect } from 'vitest';
import { buildNormalizer } from '../../src/tokenizer/normalizers/normalizer.js';
import { wholePiece } from '../../src/tokenizer/piece.js';
import type { TokenizerPipeline } from '../../src/tokenizer/pipeline.js';
import { buildPreTokenizer } from '../../src/tokenizer/pre-tokenizers/pre-tokenizer.js';
import { both, outcome, texts, tokenizers } from './oracle.js';

/** Offsets of the binding count characters; ours count code units. */
async function compareOffsets(ours: TokenizerPipeline, theirs: Reference, text: string): Promise<void> {
  const units = [0];
  for (const character of text) units.push(units.at(-1)! + character.length);
  const want = await outcome(async () => {
    const encoding = await theirs.encode(text, null, { addSpecialTokens: false });
    const offsets = encoding.getOffsets().map((span) => span.map((at) => units[at]));
    return { ids: encoding.getIds(), offsets };
  });
  let found: unknown;
  try {
    found = ours.encodeWithOffsets(text);
  } catch (error) {
    // Refused by name, where the reference implementation's own are those of other characters.
    if (String(error).includes('offsets are those of other characters')) return;
    found = 'fails';
  }
  expect(found, JSON.stringify(text)).toEqual(want);
}

/** Random pipelines on random texts and ids: ids, offsets, decoded text, and streams, which joined are what is decoded. */
export async function compareRandomTokenizers(seed: number, numRuns: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(
      tokenizers,
      fc.array(texts, { minLength: 1, maxLength: 4 }),
      fc.array(fc.nat(60), { maxLength: 12 }),
      async (json, list, ids) => {
        const pair = both(json);
        if (!pair) return;
        const { ours, theirs } = pair;
        for (const text of list) {
          for (const addSpecialTokens of [true, false]) {
            const want = await outcome(async () => (await theirs.encode(text, null, { addSpecialTokens })).getIds());
            expect(await outcome(() => ours.encode(text, addSpecialTokens)), JSON.stringify(text)).toEqual(want);
          }
          await compareOffsets(ours, theirs, text);
        }
        for (const skip of [true, false]) {
          const want = await outcome(() => theirs.decode(ids, skip));
          expect(await outcome(() => ours.decode(ids, skip)), String(ids)).toBe(want);
          const streamed = await outcome(() => {
            const stages = ours.stages();
            const tokens = ids.map((id) => ours.added.tokenOf(id)).filter((token) => token !== undefined);
            const kept = tokens.filter((token) => !(skip && ours.added.isSpecial(token)));
            return kept.map((token) => stages.push(token)).join('') + stages.flush();
          });
          expect(streamed, String(ids)).toBe(want);
        }
      },
    ),
    { seed, numRuns },
  );
}

const charsmaps = JSON.parse(
  readFileSync(join(import.meta.dirname, '../goldens/precompiled/charsmaps.json'), 'utf8'),
) as Record<string, string>;

const bert = (field: string) => ({
  type: 'BertNormalizer',
  ...{ clean_text: false, handle_chinese_chars: false, strip_accents: false, lowercase: false },
  [field]: true,
});
export const normalizers: readonly object[] = [
  ...['NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'StripAccents', 'Nmt', 'ByteLevel'].map((type) => ({ type })),
  ...['clean_text', 'handle_chinese_chars', 'strip_accents', 'lowercase'].map(bert),
  ...Object.values(charsmaps).map((precompiled_charsmap) => ({ type: 'Precompiled', precompiled_charsmap })),
  ...[
    ...['\\w', '[\\w]', '\\W', '\\s', '\\S', '\\d', '\\h', '\\b.', '.'],
    ...[
      '\\p{L}',
      '\\p{Lu}',
      '\\p{Ll}',
      '\\p{M}',
      '\\p{N}',
      '\\p{P}',
      '\\p{S}',
      '\\p{Z}',
      '\\p{C}',
      '\\p{Cn}',
      '\\p{Lo}',
    ],
    ...['[[:alpha:]]', '[[:alnum:]]', '[[:upper:]]', '[[:lower:]]', '[[:punct:]]', '[[:blank:]]', '[[:cntrl:]]'],
    ...['\\p{Han}', '\\p{Latin}', '\\p{Hiragana}', '\\p{Alphabetic}', '(?i:[a-z])', '(?i:k)', '(?i)s'],
  ].map((Regex) => ({ type: 'Replace', pattern: { Regex }, content: '*' })),
];
export const preTokenizers: readonly object[] = [
  ...['Whitespace', 'WhitespaceSplit', 'BertPreTokenizer', 'UnicodeScripts'].map((type) => ({ type })),
  { type: 'Punctuation', behavior: 'Isolated' },
  { type: 'Digits', individual_digits: true },
  { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
];

const withComponent = (field: 'normalizer' | 'pre_tokenizer', json: object): Reference => {
  const model = { type: 'WordLevel', vocab: { a: 0 }, unk_token: 'a' };
  return Reference.fromString(JSON.stringify({ version: '1.0', added_tokens: [], [field]: json, model }));
};

/** A component on a text. */
export function compareNormalizer(json: object, text: string): void {
  expect(buildNormalizer(json)!(text), JSON.stringify(json)).toBe(
    withComponent('normalizer', json).getNormalizer()!.normalizeString(text),
  );
}

export function comparePreTokenizer(json: object, text: string): void {
  const pieces: { text: string }[] = [];
  buildPreTokenizer(json)!(wholePiece(text, false), pieces as never);
  const want = withComponent('pre_tokenizer', json).getPreTokenizer()!.preTokenizeString(text);
  expect(
    pieces.map((piece) => piece.text),
    JSON.stringify(json),
  ).toEqual(want.map(([piece]) => piece));
}

/** Every `step`-th code point from `from` on, each between letters and behind a mark, `size` in a text. */
export function* codePointTexts(from: number, step: number, size: number): Generator<string> {
  let text = '';
  let count = 0;
  for (let point = from; point < 0x110000; point += step) {
    if (point >= 0xd800 && point < 0xe000) continue;
    const character = String.fromCodePoint(point);
    text += `a${character}b ${character}\u0323\u0301 q\u0301\u0323${character} `;
    if (++count % size !== 0) continue;
    yield text;
    text = '';
  }
  yield text;
}
