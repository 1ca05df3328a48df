import { nearestName } from '@posttrain/interfaces';
import { isJsonObject, type JsonObject } from '@posttrain/lm';
import { ApiError, invalidField } from './api-error.js';

interface NumberRange {
  readonly min?: number;
  readonly max?: number;
}

/** Most fields of an object whose fields are known; each of them is looked for among these. */
const MOST_FIELDS = 256;

/** A JSON object of a request, read field by field. `null` counts as not given, as in the OpenAI API. */
export class Fields {
  readonly #object: JsonObject;
  readonly #path: string;

  /** @param path where the object lies in the request (`messages[0]`), empty for the request itself */
  constructor(object: JsonObject, path = '') {
    this.#object = object;
    this.#path = path;
  }

  /** How the API names a field of this object. */
  path(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`;
  }

  get(name: string): unknown {
    return Object.hasOwn(this.#object, name) ? (this.#object[name] ?? undefined) : undefined;
  }

  /** @throws ApiError for a field that is in neither list */
  refuseUnknown(known: readonly string[], unsupported: Readonly<Record<string, string>> = {}): void {
    const names = Object.keys(this.#object);
    if (names.length > MOST_FIELDS) {
      const where = this.#path === '' ? 'The request' : `'${this.#path}'`;
      throw new ApiError(400, `${where} has ${names.length} fields; at most ${MOST_FIELDS}.`, {
        ...(this.#path === '' ? {} : { param: this.#path }),
        apiCode: 'unknown_parameter',
      });
    }
    for (const name of names) {
      if (known.includes(name) || this.get(name) === undefined) continue;
      const param = this.path(name);
      if (Object.hasOwn(unsupported, name)) throw invalidField(param, unsupported[name]!, 'unsupported_parameter');
      const near = nearestName(name, known);
      throw new ApiError(400, `Unknown parameter: '${param}'.${near ? ` Did you mean '${near}'?` : ''}`, {
        param,
        apiCode: 'unknown_parameter',
      });
    }
  }

  number(name: string, { min = -Infinity, max = Infinity }: NumberRange = {}): number | undefined {
    const value = this.get(name);
    if (value === undefined) return undefined;
    // A literal like 1e999 parses to Infinity.
    if (typeof value !== 'number' || !Number.isFinite(value)) throw this.#wrongType(name, 'a number', value);
    if (value < min || value > max) {
      const range = max === Infinity ? `at least ${min}` : min === -Infinity ? `at most ${max}` : `${min} to ${max}`;
      throw invalidField(this.path(name), `must be ${range}, not ${value}.`);
    }
    return value;
  }

  integer(name: string, range: NumberRange = {}): number | undefined {
    const value = this.number(name, range);
    if (value !== undefined && !Number.isSafeInteger(value)) throw this.#wrongType(name, 'an integer', value);
    return value;
  }

  boolean(name: string): boolean | undefined {
    const value = this.get(name);
    if (value === undefined || typeof value === 'boolean') return value;
    throw this.#wrongType(name, 'a boolean', value);
  }

  string(name: string): string | undefined {
    const value = this.get(name);
    if (value === undefined || typeof value === 'string') return value;
    throw this.#wrongType(name, 'a string', value);
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T | undefined {
    const value = this.string(name);
    if (value === undefined || (values as readonly string[]).includes(value)) return value as T | undefined;
    throw invalidField(this.path(name), `must be one of ${values.map((x) => `'${x}'`).join(', ')}.`);
  }

  object(name: string): JsonObject | undefined {
    const value = this.get(name);
    if (value === undefined || isJsonObject(value)) return value;
    throw this.#wrongType(name, 'an object', value);
  }

  /** The fields of an object inside this one. */
  fields(name: string): Fields | undefined {
    const value = this.object(name);
    return value && new Fields(value, this.path(name));
  }

  array(name: string): readonly unknown[] | undefined {
    const value = this.get(name);
    if (value === undefined || Array.isArray(value)) return value;
    throw this.#wrongType(name, 'an array', value);
  }

  /** A list of at most `most` objects, each with its place. */
  objects(name: string, most = Infinity): readonly Fields[] | undefined {
    const list = this.array(name);
    if (list && list.length > most) throw invalidField(this.path(name), `must have at most ${most} ${name}.`);
    return list?.map((value, i) => {
      if (!isJsonObject(value)) throw this.#wrongType(`${name}[${i}]`, 'an object', value);
      return new Fields(value, this.path(`${name}[${i}]`));
    });
  }

  /** What `read` gives for a field that must be there: `fields.required('model', fields.string('model'))`. */
  required<T>(name: string, value: T | undefined): T {
    if (value !== undefined) return value;
    const param = this.path(name);
    throw new ApiError(400, `Missing required parameter: '${param}'.`, {
      param,
      apiCode: 'missing_required_parameter',
    });
  }

  #wrongType(name: string, wanted: string, value: unknown): ApiError {
    const given = Array.isArray(value) ? 'an array' : value === null ? 'null' : typeof value;
    return invalidField(this.path(name), `expected ${wanted}, but got ${given} instead.`, 'invalid_type');
  }
}
