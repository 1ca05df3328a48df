import { TokenizerTextError } from '../errors.js';
import { asId, build, buildFrom, Fields, shown } from '../fields.js';
import type { TokenSpan } from '../piece.js';
import { type TrimmedText, trimOffsets } from './trim-offsets.js';

/** Tokens of a text, and where each lies in it and is written, where that is asked for. */
export interface TokenPart {
  readonly ids: readonly number[];
  readonly offsets?: readonly TokenSpan[];
  /** The tokens as they are written in the vocabulary; unknown text and added tokens as they are in the text. */
  readonly tokens?: readonly string[];
}

export interface PostProcessorOptions {
  readonly addSpecialTokens: boolean;
  /** Where offsets are trimmed, the text that they are of. */
  readonly trims?: TrimmedText | undefined;
}

/** The tokens of a text as they are put together: one part, or several that are joined at the end. */
export type PostProcessor = (parts: readonly TokenPart[], options: PostProcessorOptions) => readonly TokenPart[];

/** Special tokens lie nowhere in the text. */
export function specialPart(ids: readonly number[]): TokenPart {
  return { ids, offsets: ids.map(() => [0, 0]), tokens: ids.map(() => '') };
}

/** The post-processor of tokenizer.json, for one text (pairs of texts are not encoded). @throws TokenizerComponentError */
export function buildPostProcessor(value: unknown): PostProcessor | undefined {
  return value === null || value === undefined ? undefined : build(value, 'post_processor', KINDS);
}

const KINDS: Readonly<Record<string, (fields: Fields) => PostProcessor>> = {
  ByteLevel: trimming,
  BertProcessing: (fields) => around(fields, false),
  RobertaProcessing: (fields) => {
    const [trim, surround] = [trimming(fields), around(fields, true)];
    return (parts, options) => surround(trim(parts, options), options);
  },
  TemplateProcessing: template,
  Sequence: (fields) => {
    const steps = fields.objects('processors').map((one) => buildFrom(one, KINDS));
    return (parts, options) => steps.reduce((current, step) => step(current, options), parts);
  },
};

/** Both are true where a file does not say. */
function trimming(fields: Fields): PostProcessor {
  const [trim, prefixed] = [fields.boolean('trim_offsets', true), fields.boolean('add_prefix_space', true)];
  return (parts, { trims }) => (trim && trims ? parts.map((part) => trimOffsets(part, trims, prefixed)) : parts);
}

function around(fields: Fields, separatorBefore: boolean): PostProcessor {
  const token = (key: string): number => {
    const pair = fields.list(key);
    if (pair.length !== 2 || typeof pair[0] !== 'string')
      fields.fail(key, `is ${shown(pair)}; it must be a token and its id.`);
    return asId(pair[1], () => `${fields.where}.${key}[1]`);
  };
  const [begin, end] = [token('cls'), token('sep')].map((id) => specialPart([id])) as [TokenPart, TokenPart];
  return (parts, { addSpecialTokens }) => {
    if (!addSpecialTokens) return parts;
    return parts.map((part, i) =>
      joined(i === 0 ? [begin, part, end] : [...(separatorBefore ? [end] : []), part, end]),
    );
  };
}

/** A sequence of parts, in order. */
export function joined(parts: readonly TokenPart[]): TokenPart {
  const [first] = parts;
  if (first && parts.length === 1) return first;
  const ids = parts.flatMap((part) => part.ids);
  if (!parts.every(({ offsets, tokens }) => offsets && tokens)) return { ids };
  return {
    ids,
    offsets: parts.flatMap(({ offsets }) => offsets!),
    tokens: parts.flatMap(({ tokens }) => tokens!),
  };
}

const MAX_PLACES = 100;

function shortList(fields: Fields, key: string): Fields[] {
  const list = fields.objects(key);
  return list.length <= MAX_PLACES ? list : fields.fail(key, `has ${list.length} places; ${MAX_PLACES} are supported.`);
}

/** A place of a template: one of the texts, or special tokens. */
type Place = { readonly part: 0 | 1 } | { readonly special: TokenPart };

function template(fields: Fields): PostProcessor {
  const specials = fields.object('special_tokens');
  const places = (key: 'single' | 'pair'): Place[] =>
    shortList(fields, key).map((item): Place => {
      if (item.raw('Sequence') !== undefined) {
        const sequence = item.object('Sequence');
        sequence.integer('type_id', 0);
        return { part: sequence.oneOf('id', ['A', 'B']) === 'A' ? 0 : 1 };
      }
      const name = item.object('SpecialToken').string('id');
      if (!specials.keys().includes(name))
        fields.fail(key, `names the token ${JSON.stringify(name)}, which special_tokens has not.`);
      const special = new Fields(specials.raw(name), `${specials.where}[${JSON.stringify(name)}]`);
      const ids = special.list('ids').map((id, i) => asId(id, () => `${special.where}.ids[${i}]`));
      return { special: specialPart(ids) };
    });
  const templates = [places('single'), places('pair')] as const;
  return (parts, { addSpecialTokens }) => {
    // Several parts come from a template before this one; two are taken for a pair of texts.
    const chosen = templates[parts.length - 1];
    if (!chosen)
      throw new TokenizerTextError(`A template of the post_processor gets ${parts.length} parts; it can have 1 or 2.`);
    return chosen.flatMap((place): TokenPart[] => {
      if ('special' in place) return addSpecialTokens ? [place.special] : [];
      const part = parts[place.part];
      if (part) return [part];
      throw new TokenizerTextError('The template of the post_processor for one text asks for a second one.');
    });
  };
}
