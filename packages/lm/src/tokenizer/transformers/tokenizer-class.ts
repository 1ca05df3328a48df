import { TokenizerComponentError } from '../fields.js';
import { CLASS_OF_MODEL, MODELS_WITH_WRONG_CLASS, OWN_CLASSES, SAME_CLASS } from './class-names.js';

type Json = Readonly<Record<string, unknown>>;

/** The class that takes tokenizer.json as it is. */
export const PLAIN = 'TokenizersBackend';

const withoutFast = (name: string): string => (name === 'PreTrainedTokenizerFast' ? PLAIN : name.replace(/Fast$/, ''));

/**
 * The class that `AutoTokenizer` of transformers 5.23 takes for a folder, from tokenizer_config.json and config.json.
 *
 * @throws TokenizerComponentError where it would run code of the folder
 */
export function tokenizerClass(tokenizer: Json, config: Json, modelConfig: Json): string {
  const declared = className(config.tokenizer_class) ?? className(modelConfig.tokenizer_class);
  const bare = declared === undefined ? undefined : withoutFast(declared);
  const model = typeof modelConfig.model_type === 'string' ? modelConfig.model_type : '';
  const registered = CLASS_OF_MODEL.get(model);
  const hasWrongClass = MODELS_WITH_WRONG_CLASS.has(model);
  const isOwn = (name: string) => OWN_CLASSES.has(SAME_CLASS[name] ?? name);
  const known = (name: string) => (isOwn(name) ? (SAME_CLASS[name] ?? name) : PLAIN);
  if (hasOwnCode(config) && !hasWrongClass) {
    if (bare !== undefined && (isOwn(bare) || bare === PLAIN)) return known(bare);
    throw new TokenizerComponentError(
      'tokenizer_config.json',
      'has an "auto_map": its tokenizer is code of its own, which is not run.',
    );
  }
  if (bare === 'LlamaTokenizer' && !hasWrongClass && hasByteLevel(tokenizer)) return PLAIN;
  if (bare !== undefined && registered !== undefined && registered !== bare) {
    if (registered === PLAIN) return PLAIN;
    return known(hasWrongClass ? registered : bare);
  }
  return known(bare ?? registered ?? PLAIN);
}

function className(value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value === 'string') return value;
  throw new TokenizerComponentError('tokenizer_class', 'must be a text.');
}

function hasOwnCode(config: Json): boolean {
  const map = config.auto_map;
  if (Array.isArray(map)) return true;
  return typeof map === 'object' && map !== null && (map as Json).AutoTokenizer !== undefined;
}

function hasByteLevel(tokenizer: Json): boolean {
  const parts = [tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.post_processor, tokenizer.decoder];
  return parts.some((part) => mentions(part, 'ByteLevel', 0));
}

/** Deeper components are refused when they are built. */
const MAX_DEPTH = 100;

function mentions(value: unknown, name: string, depth: number): boolean {
  if (value === name) return true;
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return false;
  return Object.values(value).some((item) => mentions(item, name, depth + 1));
}
