import { InvalidModelFileError, type JsonObject } from '../files.js';

/** Positions and sizes are int32 in the engines. */
const MOST = 2 ** 31 - 1;

/** Reads typed fields out of a JSON object of `path`; null counts as absent, as in Hugging Face configurations. */
export class Fields {
  readonly path: string;
  readonly #object: JsonObject;

  constructor(path: string, object: JsonObject) {
    this.path = path;
    this.#object = object;
  }

  /** These fields, and those of `defaults` for keys that are absent; a key that is there with null keeps its null. */
  withDefaults(defaults: JsonObject): Fields {
    return new Fields(this.path, { ...defaults, ...this.#object });
  }

  /** These fields, but those of `values` as they are there. */
  with(values: JsonObject): Fields {
    return new Fields(this.path, { ...this.#object, ...values });
  }

  raw(name: string): unknown {
    return this.#object[this.nameOf(name)] ?? undefined;
  }

  /** Whether the key is there at all, even with null. */
  has(name: string): boolean {
    return Object.hasOwn(this.#object, this.nameOf(name));
  }

  /** A positive integer up to `most`. Lists of that length are made only where `most` is small. */
  size(name: string, otherwise?: number, most: number = MOST): number {
    const value = this.#checked(name, otherwise, 'a positive integer', (v) => Number.isInteger(v) && (v as number) > 0);
    if (value > most) this.fail(name, `at most ${most}`);
    return value;
  }

  optionalSize(name: string): number | undefined {
    return this.raw(name) === undefined ? undefined : this.size(name);
  }

  number(name: string, otherwise?: number): number {
    return this.#checked(name, otherwise, 'a finite number', (v) => typeof v === 'number' && Number.isFinite(v));
  }

  positive(name: string, otherwise?: number): number {
    return this.#checked(name, otherwise, 'a positive number', (v) => typeof v === 'number' && v > 0 && v < Infinity);
  }

  optionalNumber(name: string): number | undefined {
    return this.raw(name) === undefined ? undefined : this.number(name);
  }

  boolean(name: string, otherwise: boolean): boolean {
    return this.#checked(name, otherwise, 'true or false', (v) => typeof v === 'boolean');
  }

  oneOf<T extends string>(name: string, allowed: readonly T[], otherwise?: T): T {
    return this.#checked(name, otherwise, `one of ${allowed.join(', ')}`, (v) => allowed.includes(v as T));
  }

  /** A token id, or undefined; negative ids are the old way to write "none". */
  tokenId(name: string): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (!Number.isSafeInteger(value)) this.fail(name, 'a token id');
    return (value as number) < 0 ? undefined : (value as number);
  }

  /** One token id or a list of them. */
  tokenIds(name: string): number[] | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const list: unknown[] = Array.isArray(value) ? value : [value];
    if (!list.every((id) => Number.isSafeInteger(id))) this.fail(name, 'a token id or a list of token ids');
    return (list as number[]).filter((id) => id >= 0);
  }

  object(name: string): JsonObject | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'object' || Array.isArray(value)) this.fail(name, 'an object');
    return value as JsonObject;
  }

  fail(name: string, expected: string): never {
    const own = this.nameOf(name);
    throw new InvalidModelFileError(this.path, `"${own}" must be ${expected}, not ${shown(this.#object[own])}.`);
  }

  /** What the file calls a field. */
  protected nameOf(name: string): string {
    return name;
  }

  #checked<T>(name: string, otherwise: T | undefined, expected: string, accepts: (value: unknown) => boolean): T {
    const value = this.raw(name) ?? otherwise;
    if (value === undefined)
      throw new InvalidModelFileError(this.path, `"${this.nameOf(name)}" is missing; it must be ${expected}.`);
    if (!accepts(value)) this.fail(name, expected);
    return value as T;
  }
}

/** A value as a message shows it: a hostile one may be as deep or as long as it likes. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (Array.isArray(value)) return value.length > 8 ? `a list of ${value.length}` : `[${value.map(short).join(',')}]`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

const short = (value: unknown): string => (typeof value === 'object' && value !== null ? '…' : shown(value));
