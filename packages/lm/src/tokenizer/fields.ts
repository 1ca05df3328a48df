import { PosttrainError } from '@posttrain/interfaces';

/** A part of tokenizer.json that is not right, or that is not supported. */
export class TokenizerComponentError extends PosttrainError {
  constructor(where: string, problem: string) {
    super('TOKENIZER_COMPONENT', `${where} ${problem}`);
  }
}

/** More ids than any vocabulary has; a larger id is a damaged file. */
export const MAX_ID = 2 ** 24 - 1;

const MAX_DEPTH = 32;
const MAX_INSERTION = 1000;

/** The fields of one object of tokenizer.json, each read with the type that it must have. `where` is the object's path. */
export class Fields {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #depth: number;

  constructor(
    value: unknown,
    readonly where: string,
    depth = 0,
  ) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new TokenizerComponentError(where, 'must be an object.');
    }
    if (depth > MAX_DEPTH) throw new TokenizerComponentError(where, `is nested deeper than ${MAX_DEPTH}.`);
    this.#object = value as Readonly<Record<string, unknown>>;
    this.#depth = depth;
  }

  /** The field as it is; null counts as missing. */
  raw(key: string): unknown {
    return Object.hasOwn(this.#object, key) ? (this.#object[key] ?? undefined) : undefined;
  }

  /** The object as it is. */
  get all(): Readonly<Record<string, unknown>> {
    return this.#object;
  }

  keys(): string[] {
    return Object.keys(this.#object);
  }

  fail(key: string, problem: string): never {
    throw new TokenizerComponentError(`${this.where}.${key}`, problem);
  }

  /** @param otherwise the value of a missing field; without it the field must be there */
  boolean(key: string, otherwise?: boolean): boolean {
    const value = this.raw(key) ?? otherwise;
    return typeof value === 'boolean' ? value : this.fail(key, 'must be true or false.');
  }

  string(key: string, otherwise?: string): string {
    const value = this.raw(key) ?? otherwise;
    return typeof value === 'string' ? value : this.fail(key, 'must be a text.');
  }

  /** A text that is put into others, again and again. */
  insertion(key: string): string {
    const value = this.string(key);
    return value.length <= MAX_INSERTION ? value : this.fail(key, `is longer than ${MAX_INSERTION} characters.`);
  }

  optionalString(key: string): string | undefined {
    return this.raw(key) === undefined ? undefined : this.string(key);
  }

  /** Exactly one character. */
  character(key: string): string {
    const value = this.string(key);
    return Array.from(value).length === 1 ? value : this.fail(key, 'must be one character.');
  }

  integer(key: string, least: number, otherwise?: number): number {
    const value = this.raw(key) ?? otherwise;
    if (Number.isSafeInteger(value) && (value as number) >= least) return value as number;
    return this.fail(key, `must be a whole number of at least ${least}.`);
  }

  oneOf<T extends string>(key: string, values: readonly T[], otherwise?: T): T {
    const value = this.raw(key) ?? otherwise;
    if (values.includes(value as T)) return value as T;
    return this.fail(key, `is ${shown(value)}; it can be ${values.join(', ')}.`);
  }

  list(key: string): readonly unknown[] {
    const value = this.raw(key);
    return Array.isArray(value) ? value : this.fail(key, 'must be a list.');
  }

  object(key: string): Fields {
    return new Fields(this.raw(key), `${this.where}.${key}`, this.#depth + 1);
  }

  /** The objects of a list. */
  objects(key: string): Fields[] {
    return this.list(key).map((value, i) => new Fields(value, `${this.where}.${key}[${i}]`, this.#depth + 1));
  }

  /** An object whose values are ids: tokens by name. */
  ids(key: string): Map<string, number> {
    const fields = this.object(key);
    const ids = new Map<string, number>();
    const names: string[] = [];
    for (const [token, value] of Object.entries(fields.all)) {
      const id = asId(value, () => `${fields.where}[${JSON.stringify(token)}]`);
      const other = names[id];
      if (other !== undefined) {
        this.fail(key, `gives ${JSON.stringify(other)} and ${JSON.stringify(token)} the same id ${id}.`);
      }
      ids.set(token, id);
      names[id] = token;
    }
    return ids;
  }
}

export function asId(value: unknown, where: () => string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= MAX_ID) return value as number;
  throw new TokenizerComponentError(where(), `must be a token id, 0 to ${MAX_ID}; it is ${shown(value)}.`);
}

/** A value as an error names it; one that may be deep is not written out. */
export function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  const isDeep = (item: unknown) => typeof item === 'object' && item !== null;
  if (Array.isArray(value) ? value.length > 5 || value.some(isDeep) : isDeep(value)) {
    return Array.isArray(value) ? `a list of ${value.length}` : 'an object';
  }
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/**
 * Makes a component of the kind that `type` names.
 *
 * @param where path of the component in tokenizer.json
 */
export function build<T>(
  value: unknown,
  where: string,
  kinds: Readonly<Record<string, (fields: Fields) => T>>,
  depth = 0,
): T {
  return buildFrom(new Fields(value, where, depth), kinds);
}

export function buildFrom<T>(fields: Fields, kinds: Readonly<Record<string, (fields: Fields) => T>>): T {
  const type = fields.raw('type');
  if (typeof type !== 'string' || !Object.hasOwn(kinds, type)) {
    throw new TokenizerComponentError(
      fields.where,
      `is of type ${shown(type)}; supported are ${Object.keys(kinds).sort().join(', ')}.`,
    );
  }
  return kinds[type]!(fields);
}
