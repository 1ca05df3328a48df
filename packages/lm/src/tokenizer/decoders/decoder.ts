import { BYTE_OF_CHARACTER } from '../byte-level.js';
import { assertLength, TokenizerTextError } from '../errors.js';
import { build, buildFrom, type Fields } from '../fields.js';
import { metaspaceFields } from '../pre-tokenizers/metaspace.js';
import { patternField } from '../regex/pattern.js';
import {
  ByteFallbackStage,
  ByteLevelStage,
  type DecoderStage,
  Fuse,
  PerToken,
  runStage,
  StageChain,
  TextStage,
} from './stages.js';

/** Makes the stage of a stream for it. */
export type Decoder = () => DecoderStage;

/** The decoder of tokenizer.json as its steps, in order. @throws TokenizerComponentError */
export function buildDecoder(value: unknown): readonly Decoder[] | undefined {
  return value === null || value === undefined ? undefined : build(value, 'decoder', KINDS);
}

const KINDS: Readonly<Record<string, (fields: Fields) => readonly Decoder[]>> = {
  Sequence: (fields) => fields.objects('decoders').flatMap((one) => buildFrom(one, KINDS)),
  ByteLevel: () => [() => new ByteLevelStage(bytesOfToken)],
  ByteFallback: () => [() => new ByteFallbackStage(byteOfFallbackToken)],
  Fuse: () => [() => new Fuse()],
  Metaspace: (fields) => {
    const { replacement, scheme } = metaspaceFields(fields);
    const decode = (token: string, i: number) =>
      token.replaceAll(replacement, i === 0 && scheme !== 'never' ? '' : ' ');
    return [() => new PerToken(decode, { byCharacter: true })];
  },
  Replace: (fields) => {
    const matcher = patternField(fields, 'pattern');
    const content = fields.insertion('content');
    const literal = fields.object('pattern').optionalString('String');
    const byCharacter = literal !== undefined && Array.from(literal).length === 1;
    return [() => new PerToken((token) => replaceMatches(token, matcher, content), { byCharacter })];
  },
  Strip: (fields) => {
    const content = fields.character('content');
    const [start, stop] = [fields.integer('start', 0), fields.integer('stop', 0)];
    return [
      () =>
        new PerToken((token) => strip(token, content, start, stop), {
          stripsStart: stop === 0 ? { content, start } : undefined,
        }),
    ];
  },
  WordPiece: (fields) => {
    const prefix = fields.string('prefix');
    const cleans = fields.boolean('cleanup');
    return [
      () =>
        new PerToken((token, i) => {
          const joined = i === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
          return cleans ? cleanUpWordPiece(joined) : joined;
        }),
    ];
  },
  BPEDecoder: (fields) => {
    const suffix = fields.string('suffix');
    return [
      () => new PerToken((token, _, isLast) => replaceAll(token, suffix, isLast ? '' : ' '), { needsLast: true }),
    ];
  },
  CTC: (fields) => {
    const [pad, delimiter] = [fields.string('pad_token'), fields.string('word_delimiter_token')];
    const cleans = fields.boolean('cleanup');
    return [
      () => {
        let last: string | undefined;
        return new PerToken((token, i) => {
          const repeated = i > 0 && token === last;
          last = token;
          if (repeated) return undefined;
          const kept = pad === '' ? token : token.replaceAll(pad, '');
          const text = cleans ? replaceAll(cleanUpWordPiece(kept), delimiter, ' ') : kept;
          return text === '' ? undefined : text;
        });
      },
    ];
  },
};

/** Without a decoder tokens are joined by spaces. */
const spaced: Decoder = () => new PerToken((token, i) => (i === 0 ? token : ` ${token}`));

/** The stages of a stream. @param cleanUp whether the text is cleaned up at last */
export function stagesOf(steps: readonly Decoder[] | undefined, cleanUp: boolean): StageChain {
  const stages = (steps ?? [spaced]).map((step) => step());
  return new StageChain(cleanUp ? [...stages, new TextStage(cleanUpText, settledBeforeCleanUp)] : stages);
}

/**
 * How much of a text cleaning up turns the same way whatever follows: up to a space behind a word of four characters.
 * What it replaces begins with a space, and no word in it is longer than three.
 */
function settledBeforeCleanUp(text: string): number {
  for (let at = text.lastIndexOf(' '); at > 0; at = text.lastIndexOf(' ', at - 1)) {
    if (/^[^ ]{4}$/.test(text.slice(Math.max(at - 4, 0), at))) return at;
  }
  return 0;
}

/** All tokens of a text turned into it. @throws TokenizerTextError where the reference implementation fails too */
export function decodeAll(steps: readonly Decoder[] | undefined, tokens: readonly string[]): string {
  if (!steps) return tokens.join(' ');
  let parts: readonly string[] = tokens;
  for (const step of steps) parts = runStage(step(), parts);
  return parts.join('');
}

/** The bytes of a token that is written in the alphabet of bytes; undefined for another. */
export function bytesOfToken(token: string): number[] | undefined {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = BYTE_OF_CHARACTER.get(character);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return bytes;
}

/** The byte of a token `<0xXX>`; undefined for every other token. A plus sign counts as a digit, as Rust reads numbers. */
export function byteOfFallbackToken(token: string): number | undefined {
  return /^<0x(?:[0-9A-Fa-f]{2}|\+[0-9A-Fa-f])>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : undefined;
}

function replaceMatches(token: string, matcher: (text: string) => number[], content: string): string {
  if (token === '') return token;
  const matches = matcher(token);
  assertLength(token.length + (matches.length / 2) * content.length, 'decoder');
  let result = '';
  let from = 0;
  for (let i = 0; i < matches.length; i += 2) {
    result += token.slice(from, matches[i]) + content;
    from = matches[i + 1]!;
  }
  return result + token.slice(from);
}

/** Replaces a text; an empty one stands between all characters and at both ends. */
function replaceAll(text: string, what: string, by: string): string {
  if (what !== '') return text.split(what).join(by);
  return by + Array.from(text, (character) => character + by).join('');
}

function strip(token: string, content: string, start: number, stop: number): string {
  const characters = Array.from(token);
  let from = 0;
  while (from < Math.min(start, characters.length) && characters[from] === content) from++;
  let to = characters.length;
  for (let i = 0; i < stop; i++) {
    const at = characters.length - i - 1;
    if (at < 0) throw stripFails(token);
    if (characters[at] !== content) break;
    to = at;
  }
  if (from > to) throw stripFails(token);
  return characters.slice(from, to).join('');
}

const stripFails = (token: string): TokenizerTextError =>
  new TokenizerTextError(`The decoder's Strip takes more from ${JSON.stringify(token)} than it has.`);

const CLEAN_UP: readonly (readonly [string, string])[] = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [' do not', " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

function cleanUpWordPiece(text: string): string {
  return CLEAN_UP.reduce((current, [from, to]) => current.split(from).join(to), text);
}

/** `clean_up_tokenization_spaces`: as WordPiece's, but "do not" stays. */
export function cleanUpText(text: string): string {
  return CLEAN_UP.reduce((current, [from, to]) => (from === ' do not' ? current : current.split(from).join(to)), text);
}
