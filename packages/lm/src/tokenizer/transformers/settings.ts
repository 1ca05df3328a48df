import { type AddedToken, readAddedToken } from '../added-tokens.js';
import { Fields, TokenizerComponentError } from '../fields.js';
import { rebuild, rebuiltClass } from './rebuilt-classes.js';
import { tokenizerClass } from './tokenizer-class.js';

type Json = Readonly<Record<string, unknown>>;

const ROLES = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'] as const;

/** The files of a folder that decide how text becomes tokens. */
export interface SettingsFiles {
  readonly tokenizer: Json;
  /** tokenizer_config.json */
  readonly config: Json;
  readonly specialTokensMap?: Json | undefined;
  /** added_tokens.json */
  readonly addedTokens?: Json | undefined;
  /** config.json of the model */
  readonly modelConfig?: Json | undefined;
}

/** A tokenizer as transformers 5.23 loads it. */
export interface TokenizerSettings {
  /** tokenizer.json, or what the class of the tokenizer makes of it. */
  readonly json: Json;
  /** Tokens that the configuration adds, or whose flags it changes. */
  readonly addedTokens: readonly AddedToken[];
  /** Named special tokens: `bos_token`, `eos_token`, and what else the configuration names so. */
  readonly specialTokens: Readonly<Record<string, string>>;
  readonly splitSpecialTokens: boolean;
  /** The class, where only config.json of the model leads to it: a folder without that must name it. */
  readonly classToName: string | undefined;
  readonly cleanUp: boolean;
  /** The special tokens that are put around a text, instead of what the file says. */
  readonly around: readonly [before: readonly string[], after: readonly string[]] | undefined;
}

/** Options of tokenizer_config.json that change ids or text and are not supported. */
const REFUSED: Readonly<Record<string, (value: unknown) => boolean>> = {
  fix_mistral_regex: (value) => value === true,
  fast_tokenizer_files: (value) => Array.isArray(value) && value.some((name) => name !== 'tokenizer.json'),
};

/** @throws TokenizerComponentError */
export function tokenizerSettings(files: SettingsFiles): TokenizerSettings {
  const { tokenizer, config } = files;
  for (const [option, refuses] of Object.entries(REFUSED)) {
    if (refuses(config[option])) {
      throw new TokenizerComponentError(
        `tokenizer_config.json: ${option}`,
        'is not supported. Write into tokenizer.json what it does.',
      );
    }
  }
  const options = new Fields(config, 'tokenizer_config.json');
  const name = tokenizerClass(tokenizer, config, files.modelConfig ?? {});
  const made = rebuiltClass(name);
  const listed = listedTokens(files);
  const named = namedTokens(files, listed, made?.specialTokens ?? {});
  const texts = Object.fromEntries([...named].map(([role, token]) => [role, token.content]));
  const json = made ? rebuild(made, tokenizer, config, (role) => texts[role] ?? null) : tokenizer;
  const addedTokens = tokensToAdd(files, listed, named, made ? [] : addedOf(tokenizer));
  if (made?.resetsSpecialTokens) {
    for (const { content } of named.values()) addedTokens.push(specialToken(content));
  }
  return {
    json,
    addedTokens,
    specialTokens: texts,
    classToName: needsModel(tokenizer, config, name) ? name : undefined,
    splitSpecialTokens: options.boolean('split_special_tokens', false),
    cleanUp: cleansUp(options, json),
    around: made?.around && [texted(made.around[0], texts), texted(made.around[1], texts)],
  };
}

/** Whether the class is another without the model's config.json. */
function needsModel(tokenizer: Json, config: Json, name: string): boolean {
  try {
    return tokenizerClass(tokenizer, config, {}) !== name;
  } catch {
    return true;
  }
}

function texted(roles: readonly string[], texts: Readonly<Record<string, string>>): string[] {
  return roles.map((role) => {
    const text = texts[role];
    if (text !== undefined) return text;
    throw new TokenizerComponentError(
      `tokenizer_config.json: ${role}`,
      'is needed by its tokenizer_class, which puts it around a text.',
    );
  });
}

const specialToken = (content: string): AddedToken => ({
  content,
  singleWord: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

/** A token as its text or as `{ content, lstrip, … }`; undefined for null and what is no token. */
function asToken(value: unknown, where: string): AddedToken | undefined {
  if (typeof value === 'string') return specialToken(value);
  if (typeof value !== 'object' || value === null) return undefined;
  const fields = new Fields(value, where);
  const special = fields.boolean('special', false);
  const token = readAddedToken(fields);
  return { ...token, normalized: fields.boolean('normalized', !special) };
}

function addedOf(tokenizer: Json): AddedToken[] {
  if (tokenizer.added_tokens === undefined || tokenizer.added_tokens === null) return [];
  return new Fields(tokenizer, 'tokenizer.json').objects('added_tokens').map(readAddedToken);
}

/**
 * Tokens by the ids that the configuration lists them under: `added_tokens_decoder`, or without it the older files and
 * tokenizer.json.
 */
function listedTokens({ tokenizer, config, addedTokens, specialTokensMap }: SettingsFiles): AddedToken[] {
  const tokens = new Map<number, AddedToken>();
  const decoder = config.added_tokens_decoder;
  if (decoder !== undefined) {
    const fields = new Fields(decoder, 'tokenizer_config.json.added_tokens_decoder');
    for (const id of fields.keys()) {
      const token = asToken(fields.object(id).all, `${fields.where}[${id}]`)!;
      if (!/^\d{1,9}$/.test(id)) fields.fail(id, 'is not a token id.');
      tokens.set(Number(id), token);
    }
  } else {
    const older =
      addedTokens === undefined
        ? new Map<string, number>()
        : new Fields({ ids: addedTokens }, 'added_tokens.json').ids('ids');
    const named = new Set(
      [config, specialTokensMap ?? {}].flatMap((one) => ROLES.map((role) => asToken(one[role], role)?.content)),
    );
    for (const [content, id] of older) {
      const special = named.has(content);
      tokens.set(id, { ...specialToken(content), special, normalized: !special });
    }
    const added = Array.isArray(tokenizer.added_tokens) ? (tokenizer.added_tokens as Json[]) : [];
    for (const [i, token] of addedOf(tokenizer).entries()) tokens.set(idOf(added[i]!.id, i), token);
  }
  return [...tokens].sort(([a], [b]) => a - b).map(([, token]) => token);
}

const idOf = (id: unknown, otherwise: number): number => (Number.isSafeInteger(id) ? (id as number) : otherwise);

/** The special tokens that have a name. A file of their own overrides the configuration, unless that lists added tokens. */
function namedTokens(
  files: SettingsFiles,
  listed: readonly AddedToken[],
  defaults: Readonly<Record<string, string>>,
): Map<string, AddedToken> {
  const { config, tokenizer } = files;
  const map = config.added_tokens_decoder === undefined ? (files.specialTokensMap ?? {}) : {};
  const values: Record<string, unknown> = { ...defaults };
  const padding = tokenizer.padding;
  if (typeof padding === 'object' && padding !== null)
    values.pad_token = (padding as Json).pad_token ?? values.pad_token;
  for (const source of [config, map]) {
    for (const [key, value] of Object.entries(source)) {
      const isRole = (ROLES as readonly string[]).includes(key);
      if (isRole || (key.endsWith('_token') && asToken(value, key))) values[key] = value;
    }
    const extra = source.extra_special_tokens;
    if (typeof extra === 'object' && extra !== null && !Array.isArray(extra)) Object.assign(values, extra);
  }
  const named = new Map<string, AddedToken>();
  for (const [key, value] of Object.entries(values)) {
    const token = asToken(value, key);
    if (value !== null && value !== undefined && !token)
      throw new TokenizerComponentError(`tokenizer_config.json: ${key}`, 'must be a token.');
    if (token) named.set(key, listed.find(({ content }) => content === token.content) ?? token);
  }
  return named;
}

function extraTokens({ config, specialTokensMap = {} }: SettingsFiles): AddedToken[] {
  for (const source of [config, config.added_tokens_decoder === undefined ? specialTokensMap : {}]) {
    for (const key of ['extra_special_tokens', 'additional_special_tokens']) {
      const list = source[key];
      if (Array.isArray(list) && list.length > 0) {
        return list.map(
          (one, i) => asToken(one, `${key}[${i}]`) ?? new Fields(one, `${key}[${i}]`).fail('content', 'is missing.'),
        );
      }
    }
  }
  return [];
}

function tokensToAdd(
  files: SettingsFiles,
  listed: readonly AddedToken[],
  named: ReadonlyMap<string, AddedToken>,
  present: readonly AddedToken[],
): AddedToken[] {
  const names = new Set([...named.values()].map(({ content }) => content));
  const tokens = listed.map((token) => (names.has(token.content) ? { ...token, special: true } : token));
  const known = new Set([...present, ...listed].map(({ content }) => content));
  for (const token of [...named.values(), ...extraTokens(files)]) {
    if (known.has(token.content)) continue;
    known.add(token.content);
    tokens.push(names.has(token.content) ? { ...token, special: true } : token);
  }
  return tokens;
}

function cleansUp(options: Fields, json: Json): boolean {
  if (!options.boolean('clean_up_tokenization_spaces', false)) return false;
  const model = json.model;
  const isBpe = typeof model === 'object' && model !== null && ((model as Json).type ?? 'BPE') === 'BPE';
  return !isBpe || options.boolean('clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output', false);
}
