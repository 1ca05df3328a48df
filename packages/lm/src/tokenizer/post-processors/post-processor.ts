import { TokenizerTextError } from '../errors.js';
import { asId, build, buildFrom, Fields, shown } from '../fields.js';

/** The ids of a text as they are put together: one list, or several that are joined at the end. */
export type PostProcessor = (
  parts: readonly (readonly number[])[],
  addSpecialTokens: boolean,
) => readonly (readonly number[])[];

/** The post-processor of tokenizer.json, for one text (pairs of texts are not encoded). @throws TokenizerComponentError */
export function buildPostProcessor(value: unknown): PostProcessor | undefined {
  return value === null || value === undefined ? undefined : build(value, 'post_processor', KINDS);
}

const KINDS: Readonly<Record<string, (fields: Fields) => PostProcessor>> = {
  // Only trims offsets.
  ByteLevel: () => (parts) => parts,
  BertProcessing: (fields) => around(fields, false),
  RobertaProcessing: (fields) => around(fields, true),
  TemplateProcessing: template,
  Sequence: (fields) => {
    const steps = fields.objects('processors').map((one) => buildFrom(one, KINDS));
    return (parts, addSpecialTokens) => steps.reduce((current, step) => step(current, addSpecialTokens), parts);
  },
};

function around(fields: Fields, separatorBefore: boolean): PostProcessor {
  const token = (key: string): number => {
    const pair = fields.list(key);
    if (pair.length !== 2 || typeof pair[0] !== 'string')
      fields.fail(key, `is ${shown(pair)}; it must be a token and its id.`);
    return asId(pair[1], () => `${fields.where}.${key}[1]`);
  };
  const [begin, end] = [token('cls'), token('sep')];
  return (parts, addSpecialTokens) => {
    if (!addSpecialTokens) return parts;
    return parts.map((ids, i) => (i === 0 ? [begin, ...ids, end] : [...(separatorBefore ? [end] : []), ...ids, end]));
  };
}

const MAX_PLACES = 100;

function shortList(fields: Fields, key: string): Fields[] {
  const list = fields.objects(key);
  return list.length <= MAX_PLACES ? list : fields.fail(key, `has ${list.length} places; ${MAX_PLACES} are supported.`);
}

/** A place of a template: one of the texts, or special tokens. */
type Place = { readonly part: 0 | 1 } | { readonly ids: readonly number[] };

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
      return { ids: special.list('ids').map((id, i) => asId(id, () => `${special.where}.ids[${i}]`)) };
    });
  const templates = [places('single'), places('pair')] as const;
  return (parts, addSpecialTokens) => {
    // Several parts come from a template before this one; two are taken for a pair of texts.
    const chosen = templates[parts.length - 1];
    if (!chosen)
      throw new TokenizerTextError(`A template of the post_processor gets ${parts.length} parts; it can have 1 or 2.`);
    return chosen.flatMap((place): (readonly number[])[] => {
      if ('ids' in place) return addSpecialTokens ? [place.ids] : [];
      const part = parts[place.part];
      if (part) return [part];
      throw new TokenizerTextError('The template of the post_processor for one text asks for a second one.');
    });
  };
}
