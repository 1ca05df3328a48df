import type { JsonObject } from '../files.js';
import { Tokenizer } from '../tokenizer/index.js';
import { endTokens, ggufTokenId } from './end-tokens.js';
import { InvalidGgufError, UnsupportedGgufError } from './errors.js';
import type { GgufMetadata } from './metadata.js';
import { PRE_TOKENIZATIONS, type PreTokenization } from './pre-tokenizers.js';
import { mergesFromScores } from './score-merges.js';

const KEY = 'tokenizer.ggml.';
const SPACE_MARK = '\u2581';

/** `tokenizer.ggml.token_type`. */
export const TokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  /** Ids that text can become by merging. */
  readonly plain: readonly number[];
}

/**
 * The tokenizer in the metadata of a GGUF file: byte-level BPE (`gpt2`, cut as `tokenizer.ggml.pre` says) or SentencePiece
 * BPE (`llama`, merges from the scores). Control tokens are special, user-defined ones are added tokens, unused ones have
 * no text. The chat templates are in its `config`, as in tokenizer_config.json.
 *
 * @throws InvalidGgufError, UnsupportedGgufError
 */
export function ggufTokenizer(metadata: GgufMetadata): Tokenizer {
  const kind = metadata.text(`${KEY}model`);
  if (kind === undefined) throw new UnsupportedGgufError(metadata.path, 'it has no tokenizer.');
  if (kind !== 'gpt2' && kind !== 'llama') {
    throw new UnsupportedGgufError(metadata.path, `its tokenizer is of kind "${kind}"; gpt2 and llama are read.`);
  }
  const vocabulary = readVocabulary(metadata);
  if ((metadata.numbers(`${KEY}suppress_tokens`) ?? []).length > 0) {
    throw new UnsupportedGgufError(
      metadata.path,
      `${KEY}suppress_tokens: tokens that are never drawn are not supported.`,
    );
  }
  const roles = specialRoles(metadata, vocabulary.tokens);
  const added = addedTokens(vocabulary, roles, endTokens(metadata));
  const parts =
    kind === 'gpt2' ? byteLevelBpe(metadata, vocabulary, added) : sentencePieceBpe(metadata, vocabulary, roles, added);
  return new Tokenizer({
    vocabSize: vocabulary.tokens.length,
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: added,
      ...parts.json,
      post_processor: postProcessor(metadata, roles, parts.addBos),
    },
    config: {
      ...Object.fromEntries([...roles].map(([role, { content }]) => [`${role}_token`, content])),
      clean_up_tokenization_spaces: false,
      tokenizer_class: 'PreTrainedTokenizerFast',
      ...chatTemplates(metadata),
    },
  });
}

function readVocabulary(metadata: GgufMetadata): Vocabulary {
  const tokens = metadata.texts(`${KEY}tokens`) ?? metadata.fail(`${KEY}tokens`, 'a list of texts');
  const types = metadata.numbers(`${KEY}token_type`) ?? tokens.map(() => TokenType.normal);
  if (types.length !== tokens.length) metadata.fail(`${KEY}token_type`, `a list of ${tokens.length} numbers`);
  const known: readonly number[] = Object.values(TokenType);
  if (types.some((type) => !known.includes(type))) metadata.fail(`${KEY}token_type`, `a list of ${known.join(', ')}`);
  const plain = [...tokens.keys()].filter((id) => types[id] === TokenType.normal || types[id] === TokenType.byte);
  if (new Set(plain.map((id) => tokens[id])).size !== plain.length) {
    throw new InvalidGgufError(metadata.path, `${KEY}tokens has a token twice.`);
  }
  return { tokens, types, plain };
}

type Roles = ReadonlyMap<string, { readonly id: number; readonly content: string }>;

function specialRoles(metadata: GgufMetadata, tokens: readonly string[]): Roles {
  const roles = new Map<string, { readonly id: number; readonly content: string }>();
  for (const [role, name] of [
    ['bos', 'bos'],
    ['eos', 'eos'],
    ['unk', 'unknown'],
    ['pad', 'padding'],
  ] as const) {
    const id = ggufTokenId(metadata, name, tokens.length);
    if (id !== undefined) roles.set(role, { id, content: tokens[id]! });
  }
  return roles;
}

type AddedToken = JsonObject & { readonly id: number; readonly content: string };

/** What ends a generation is special, whatever type the file gives it. */
function addedTokens({ tokens, types }: Vocabulary, roles: Roles, ends: readonly number[]): AddedToken[] {
  const named = new Set([...[...roles.values()].map(({ id }) => id), ...ends]);
  const isSpecial = (id: number) => types[id] === TokenType.control || types[id] === TokenType.unknown || named.has(id);
  return tokens.flatMap((content, id) => {
    if (content === '' || !(isSpecial(id) || types[id] === TokenType.userDefined)) return [];
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: isSpecial(id) };
    return [{ id, content, ...flags }];
  });
}

interface Parts {
  readonly json: JsonObject;
  readonly addBos: boolean;
}

function byteLevelBpe(metadata: GgufMetadata, { tokens, plain }: Vocabulary, added: readonly AddedToken[]): Parts {
  const pre = preTokenization(metadata);
  const merges = metadata.texts(`${KEY}merges`) ?? metadata.fail(`${KEY}merges`, 'a list of pairs');
  const pairs = merges.map((merge) => {
    const space = merge.indexOf(' ', 1);
    if (space < 0) throw new InvalidGgufError(metadata.path, `the merge ${JSON.stringify(merge)} is no pair.`);
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
  return {
    addBos: pre.addBos ?? false,
    json: {
      normalizer: pre.normalizer ?? null,
      pre_tokenizer: pre.preTokenizer,
      decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        ...bpe(tokens, plain, added, pairs),
        ignore_merges: pre.ignoreMerges ?? false,
      },
    },
  };
}

function preTokenization(metadata: GgufMetadata): PreTokenization {
  const name = metadata.text(`${KEY}pre`);
  if (name !== undefined && Object.hasOwn(PRE_TOKENIZATIONS, name)) return PRE_TOKENIZATIONS[name]!;
  const found = name === undefined ? 'does not say how its tokenizer cuts text' : `cuts text as "${name}"`;
  throw new UnsupportedGgufError(
    metadata.path,
    `it ${found} (${KEY}pre); known are ${Object.keys(PRE_TOKENIZATIONS).join(', ')}.`,
  );
}

function sentencePieceBpe(
  metadata: GgufMetadata,
  { tokens, types, plain }: Vocabulary,
  roles: Roles,
  added: readonly AddedToken[],
): Parts {
  const scores = metadata.numbers(`${KEY}scores`) ?? metadata.fail(`${KEY}scores`, 'a list of numbers');
  if (scores.length !== tokens.length) metadata.fail(`${KEY}scores`, `a list of ${tokens.length} numbers`);
  const pieces = new Map(
    plain.filter((id) => types[id] === TokenType.normal).map((id) => [tokens[id]!, scores[id]!] as const),
  );
  const prefix = metadata.boolean(`${KEY}add_space_prefix`) ?? true;
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: SPACE_MARK };
  const unmark = { type: 'Replace', pattern: { String: SPACE_MARK }, content: ' ' };
  const strip = { type: 'Strip', content: ' ', start: 1, stop: 0 };
  const prepend = { type: 'Prepend', prepend: SPACE_MARK };
  return {
    addBos: true,
    json: {
      normalizer: prefix ? { type: 'Sequence', normalizers: [prepend, replace] } : replace,
      pre_tokenizer: null,
      decoder: {
        type: 'Sequence',
        decoders: [unmark, { type: 'ByteFallback' }, { type: 'Fuse' }, ...(prefix ? [strip] : [])],
      },
      model: {
        ...bpe(tokens, plain, added, mergesFromScores(pieces)),
        unk_token: roles.get('unk')?.content ?? unknownToken(tokens, types) ?? null,
        fuse_unk: true,
        byte_fallback: true,
        ignore_merges: false,
      },
    },
  };
}

function unknownToken(tokens: readonly string[], types: readonly number[]): string | undefined {
  return tokens[types.indexOf(TokenType.unknown)];
}

/** Added tokens keep the ids that they have here only where the vocabulary has them too. */
function bpe(
  tokens: readonly string[],
  plain: readonly number[],
  added: readonly AddedToken[],
  merges: readonly (readonly string[])[],
): JsonObject {
  return {
    type: 'BPE',
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    vocab: Object.fromEntries([
      ...added.map(({ content, id }) => [content, id]),
      ...plain.map((id) => [tokens[id]!, id]),
    ]),
    merges,
  };
}

/** What is added around a text: the begin and the end token, where the file says so. */
function postProcessor(metadata: GgufMetadata, roles: Roles, addBos: boolean): JsonObject | null {
  const token = (role: 'bos' | 'eos', otherwise: boolean) => {
    const key = `${KEY}add_${role}_token`;
    if (!(metadata.boolean(key) ?? otherwise)) return [];
    const found = roles.get(role);
    if (found) return [found];
    if (metadata.boolean(key)) metadata.fail(`${KEY}${role}_token_id`, `an id, since ${key} is true`);
    return [];
  };
  const [before, after] = [token('bos', addBos), token('eos', false)];
  if (before.length + after.length === 0) return null;
  const special = ({ content }: { readonly content: string }, type: number) => ({
    SpecialToken: { id: content, type_id: type },
  });
  const around = (sequence: 'A' | 'B', type: number) => [
    ...before.map((one) => special(one, type)),
    { Sequence: { id: sequence, type_id: type } },
    ...after.map((one) => special(one, type)),
  ];
  return {
    type: 'TemplateProcessing',
    single: around('A', 0),
    pair: [...around('A', 0), ...around('B', 1)],
    special_tokens: Object.fromEntries(
      [...before, ...after].map(({ id, content }) => [content, { id: content, ids: [id], tokens: [content] }]),
    ),
  };
}

/** `chat_template` of tokenizer_config.json: a text, or a list where there are several. */
function chatTemplates(metadata: GgufMetadata): JsonObject {
  const main = metadata.text('tokenizer.chat_template');
  const prefix = 'tokenizer.chat_template.';
  // A list of their names goes with them, which llama.cpp does not need.
  const others = [...metadata.keys()]
    .filter((key) => key.startsWith(prefix))
    .map((key) => ({ name: key.slice(prefix.length), template: metadata.text(key)! }));
  if (others.length > 0) {
    return { chat_template: [...(main === undefined ? [] : [{ name: 'default', template: main }]), ...others] };
  }
  return main === undefined ? {} : { chat_template: main };
}
