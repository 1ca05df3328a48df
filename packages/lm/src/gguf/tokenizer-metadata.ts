import type { ChatTemplate } from '../chat-template/index.js';
import type { JsonObject } from '../files.js';
import type { TextTokenizer } from '../tokenizer/text-tokenizer.js';
import { endTokens } from './end-tokens.js';
import { UnsupportedGgufError } from './errors.js';
import { ggufTokenizer, TokenType } from './gguf-tokenizer.js';
import { bool, type GgufEntries, type GgufValue, list, text, texts, uint32 } from './gguf-writer.js';
import { GgufMetadata } from './metadata.js';
import { PRE_TOKENIZATIONS } from './pre-tokenizers.js';

const KEY = 'tokenizer.ggml.';
/** Of a piece that no merge makes: below every rank. */
const NEVER_MERGED = -1e6;

/**
 * Text that the ways of cutting which llama.cpp knows cut differently: digits, contractions in either case, mixed case, line
 * ends, runs of spaces, marks, scripts without spaces, letters that are composed and that are not.
 */
const PROBE = [
  "Hello World, it's HERE and they'Ll say we've DON'T; iPhone XMLHttp camelCase ABCdef",
  '0 12 345 6789 1234567 3.14159 1,000,000 2024-01-02 x86_64 v2.0',
  '\n\n  \t\tindented\r\n\r\n   code() {\n    return a+=b/c; // done.\n}\n\n\n',
  ' !?...!!! @#$%^&*()_+-=[]{}|\\;:"\',.<>/?~` /path/to//file\n',
  'naïve café na\u0308ive cafe\u0301 Ünïcödé Straße ὈΔΥΣΣΕΎΣ Привет мир 你好，世界 こんにちは 한국어 नमस्ते ไทย عربى ١٢٣',
  '\u{1F600}\u{1F468}\u200D\u{1F469}\u200D\u{1F467} \u00A0nbsp\u3000wide ½ ² ① Ⅷ ǅ ʰ ﬁ \u2028 ',
  '   leading and trailing   ',
  'a',
];

export interface TokenizerToWrite {
  readonly tokenizer: TextTokenizer;
  readonly chatTemplate?: Pick<ChatTemplate, 'templates'> | undefined;
  /** Rows of the embedding: ids behind the tokenizer's are tokens that are never used. */
  readonly vocabSize: number;
  /** What ends a generation. */
  readonly endTokens: ReadonlySet<number>;
}

/**
 * A tokenizer as the metadata of a GGUF file, by the keys that llama.cpp's converter writes: byte-level BPE (`gpt2`) or BPE
 * with byte fallback (`llama`, where pieces have the rank of their merge as a score). Which of llama.cpp's ways to cut text
 * is its own is found as the converter finds it, by cutting a text: what is read back must give the same ids.
 *
 * @throws UnsupportedGgufError for a tokenizer that none of them equals
 */
export function tokenizerMetadata(path: string, given: TokenizerToWrite): GgufEntries {
  const json = given.tokenizer.files().tokenizer;
  const model = (json.model ?? {}) as JsonObject;
  if (model.type !== 'BPE') {
    throw new UnsupportedGgufError(path, `the tokenizer is of kind ${JSON.stringify(model.type)}; BPE is written.`);
  }
  const isSentencePiece = model.byte_fallback === true;
  const vocabulary = vocabularyOf(given, isSentencePiece);
  const shared: Record<string, GgufValue> = {
    [`${KEY}model`]: text(isSentencePiece ? 'llama' : 'gpt2'),
    [`${KEY}tokens`]: texts(vocabulary.map(({ content }) => content)),
    ...(isSentencePiece && { [`${KEY}scores`]: list('float32', scoresOf(vocabulary, model)) }),
    [`${KEY}token_type`]: list(
      'int32',
      vocabulary.map(({ type }) => type),
    ),
    ...(!isSentencePiece && { [`${KEY}merges`]: texts(pairsOf(model).map((pair) => pair.join(' '))) }),
    ...specialTokens(path, given),
    ...templates(given.chatTemplate),
  };
  const ways = isSentencePiece
    ? [true, false].map((prefix) => ({ [`${KEY}pre`]: text('default'), [`${KEY}add_space_prefix`]: bool(prefix) }))
    : preTokenizationsLike(json.pre_tokenizer).map((pre) => ({ [`${KEY}pre`]: text(pre) }));
  for (const way of ways) {
    const entries = { ...shared, ...way };
    if (isEqual(ggufTokenizer(asMetadata(path, entries)), given.tokenizer))
      return withMissingEnds(path, entries, given);
  }
  const known = isSentencePiece ? 'SentencePiece BPE as llama.cpp runs it' : Object.keys(PRE_TOKENIZATIONS).join(', ');
  throw new UnsupportedGgufError(path, `the tokenizer cuts text in none of the ways that are written (${known}).`);
}

interface Token {
  readonly content: string;
  readonly type: number;
}

function vocabularyOf({ tokenizer, vocabSize }: TokenizerToWrite, isSentencePiece: boolean): Token[] {
  const { added_tokens: added = [] } = tokenizer.files().tokenizer as {
    readonly added_tokens?: readonly { readonly id: number }[];
  };
  const addedIds = new Set(added.map(({ id }) => id));
  return Array.from({ length: vocabSize }, (_, id) => {
    const content = id < tokenizer.vocabSize ? tokenizer.idToToken(id) : undefined;
    if (content === undefined) return { content: `[PAD${id}]`, type: TokenType.unused };
    return { content, type: typeOf(id, content) };
  });

  function typeOf(id: number, content: string): number {
    if (isSentencePiece && id === tokenizer.unkId) return TokenType.unknown;
    if (tokenizer.specialIds.has(id)) return TokenType.control;
    if (addedIds.has(id)) return TokenType.userDefined;
    return isSentencePiece && /^<0x[0-9A-F]{2}>$/.test(content) ? TokenType.byte : TokenType.normal;
  }
}

function pairsOf({ merges }: JsonObject): readonly (readonly string[])[] {
  return ((merges ?? []) as readonly (string | readonly string[])[]).map((merge) => {
    if (typeof merge !== 'string') return merge;
    const space = merge.indexOf(' ', 1);
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
}

/** -rank of the first merge that makes a piece. */
function scoresOf(vocabulary: readonly Token[], model: JsonObject): number[] {
  const ranks = new Map<string, number>();
  pairsOf(model).forEach(([left, right], rank) => {
    const whole = `${left}${right}`;
    if (!ranks.has(whole)) ranks.set(whole, rank);
  });
  return vocabulary.map(({ content, type }, id) => {
    if (type !== TokenType.normal) return 0;
    const rank = ranks.get(content);
    return rank === undefined ? NEVER_MERGED - id : -rank;
  });
}

/** The one whose JSON is the tokenizer's own first. */
function preTokenizationsLike(own: unknown): string[] {
  const wanted = JSON.stringify(own);
  const names = Object.keys(PRE_TOKENIZATIONS);
  const isLike = (name: string) => JSON.stringify(PRE_TOKENIZATIONS[name]!.preTokenizer) === wanted;
  return [...names.filter(isLike), ...names.filter((name) => !isLike(name))];
}

function specialTokens(path: string, { tokenizer, endTokens: ends, vocabSize }: TokenizerToWrite): GgufEntries {
  const ids = {
    bos: tokenizer.bosId,
    eos: tokenizer.eosId ?? [...ends][0],
    unknown: tokenizer.unkId,
    padding: tokenizer.padId,
  };
  const [before, after] = tokensAround(tokenizer);
  const only = (tokens: readonly number[], id: number | undefined) => tokens.length === 0 || `${tokens}` === `${id}`;
  if (!only(before, ids.bos) || !only(after, ids.eos)) {
    throw new UnsupportedGgufError(
      path,
      `the tokenizer puts ids [${before}] before and [${after}] behind a text; only its begin and its end token are written.`,
    );
  }
  return {
    ...Object.fromEntries(
      Object.entries(ids).flatMap(([role, id]) =>
        id === undefined || id >= vocabSize ? [] : [[`${KEY}${role}_token_id`, uint32(id)]],
      ),
    ),
    [`${KEY}add_bos_token`]: bool(before.length > 0),
    [`${KEY}add_eos_token`]: bool(after.length > 0),
  };
}

function tokensAround(tokenizer: TextTokenizer): readonly [before: readonly number[], after: readonly number[]] {
  const bare = tokenizer.encode('a', { addSpecialTokens: false });
  const whole = tokenizer.encode('a');
  const at = whole.findIndex((_, i) => bare.every((id, j) => whole[i + j] === id));
  return [whole.slice(0, at), whole.slice(at + bare.length)];
}

function templates(chatTemplate: TokenizerToWrite['chatTemplate']): GgufEntries {
  if (!chatTemplate) return {};
  const { default: main, ...others } = chatTemplate.templates;
  const names = Object.keys(others);
  return {
    ...(main !== undefined && { 'tokenizer.chat_template': text(main) }),
    ...(names.length > 0 && { 'tokenizer.chat_templates': texts(names) }),
    ...Object.fromEntries(names.map((name) => [`tokenizer.chat_template.${name}`, text(others[name]!)])),
  };
}

/** Ends that a reader would not know by their text or role: the list that Ollama's files have. */
function withMissingEnds(
  path: string,
  entries: GgufEntries,
  { endTokens: wanted, vocabSize }: TokenizerToWrite,
): GgufEntries {
  const found = new Set(endTokens(asMetadata(path, entries)));
  const all = [...wanted].filter((id) => id < vocabSize);
  return all.every((id) => found.has(id)) ? entries : { ...entries, [`${KEY}eos_token_ids`]: list('int32', all) };
}

/** Entries as they will be read. */
function asMetadata(path: string, entries: GgufEntries): GgufMetadata {
  const values = Object.entries(entries).map(([key, value]): [string, unknown] => [
    key,
    value.kind === 'list' ? Array.from(value.values as ArrayLike<unknown>) : value.value,
  ]);
  return new GgufMetadata(path, new Map(values));
}

function isEqual(read: TextTokenizer, own: TextTokenizer): boolean {
  return PROBE.every((probe) => {
    const ids = own.encode(probe);
    return `${read.encode(probe)}` === `${ids}` && read.decode(ids) === own.decode(ids);
  });
}
