import { InvalidGgufError } from './errors.js';

/** The metadata of a GGUF file, read by key with the type that is expected. @throws InvalidGgufError for another type */
export class GgufMetadata {
  readonly path: string;
  readonly #values: ReadonlyMap<string, unknown>;

  constructor(path: string, values: ReadonlyMap<string, unknown>) {
    this.path = path;
    this.#values = values;
  }

  keys(): IterableIterator<string> {
    return this.#values.keys();
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  text(key: string): string | undefined {
    return this.#read(key, 'a text', (value) => typeof value === 'string') as string | undefined;
  }

  boolean(key: string): boolean | undefined {
    return this.#read(key, 'true or false', (value) => typeof value === 'boolean') as boolean | undefined;
  }

  /** A number; 64-bit integers too, when they are exact as one. */
  number(key: string): number | undefined {
    const value = this.#read(key, 'a number', (found) => toNumber(found) !== undefined);
    return value === undefined ? undefined : toNumber(value);
  }

  /** A float32 as the shortest decimal that rounds to it: 1e-5 and not 0.00000999999974…, as config.json has it. */
  decimal(key: string): number | undefined {
    const value = this.number(key);
    return value === undefined ? undefined : shortestDecimal(value);
  }

  texts(key: string): readonly string[] | undefined {
    return this.#read(key, 'a list of texts', (value) => isListOf(value, (item) => typeof item === 'string')) as
      | readonly string[]
      | undefined;
  }

  numbers(key: string): readonly number[] | undefined {
    const value = this.#read(key, 'a list of numbers', (found) => isListOf(found, (x) => toNumber(x) !== undefined));
    return (value as unknown[] | undefined)?.map((item) => toNumber(item)!);
  }

  booleans(key: string): readonly boolean[] | undefined {
    return this.#read(key, 'a list of true and false', (value) =>
      isListOf(value, (item) => typeof item === 'boolean'),
    ) as readonly boolean[] | undefined;
  }

  /** A number, or a list (one for every layer) that says the same number always. */
  sameNumber(key: string): number | undefined {
    if (!Array.isArray(this.#values.get(key))) return this.number(key);
    const [first, ...others] = this.numbers(key)!;
    if (others.some((other) => other !== first)) this.fail(key, 'the same for all layers');
    return first;
  }

  fail(key: string, expected: string): never {
    const value = this.#values.get(key);
    const shown = JSON.stringify(value, (_, item) => (typeof item === 'bigint' ? Number(item) : item)) ?? 'absent';
    const cut = shown.length > 80 ? `${shown.slice(0, 80)}…` : shown;
    throw new InvalidGgufError(this.path, `"${key}" must be ${expected}, not ${cut}.`);
  }

  #read(key: string, expected: string, accepts: (value: unknown) => boolean): unknown {
    const value = this.#values.get(key);
    if (value !== undefined && !accepts(value)) this.fail(key, expected);
    return value;
  }
}

/** The shortest decimal that rounds to a float32; other numbers as they are. */
export function shortestDecimal(value: number): number {
  if (Math.fround(value) !== value) return value;
  const rounded = [1, 2, 3, 4, 5, 6, 7, 8].map((digits) => Number(value.toPrecision(digits)));
  return rounded.find((decimal) => Math.fround(decimal) === value) ?? value;
}

function toNumber(value: unknown): number | undefined {
  const number = typeof value === 'bigint' ? Number(value) : value;
  if (typeof number !== 'number' || Number.isNaN(number)) return undefined;
  return typeof value === 'bigint' && !Number.isSafeInteger(number) ? undefined : number;
}

const isListOf = (value: unknown, accepts: (item: unknown) => boolean): boolean =>
  Array.isArray(value) && value.every(accepts);
