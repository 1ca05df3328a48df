import { fail, unsupported } from './errors.js';
import { repr } from './print.js';
import type { Run } from './run.js';
import { isList, Markup, PyObject, PyTuple, typeName, Undefined, type Value } from './values.js';

/** A key as Map compares it, so that keys that are equal in Python (`1`, `1.0`, `True`) are one. */
type HashKey = unknown;

/** `hash(value)`. @throws JinjaError for lists and dicts */
export function hashKey(run: Run, value: Value): HashKey {
  if (typeof value === 'boolean') return value ? 1n : 0n;
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value;
  if (value instanceof Markup) return value.value;
  if (value instanceof PyTuple)
    return `\0tuple:${run.nested(1, () => value.items.map((item) => tupleKey(run, item)).join())}`;
  if (value instanceof Undefined) return Undefined;
  if (isList(value) || value instanceof PyDict) fail(`unhashable type: '${typeName(value)}'`);
  return value;
}

function tupleKey(run: Run, value: Value): string {
  run.spend(1);
  const key = hashKey(run, value);
  if (typeof key === 'object' && key !== null) return unsupported(`a tuple with a ${typeName(value)} as a key.`);
  return `${typeof key}:${JSON.stringify(String(key))}`;
}

/** A dict: keeps the order in which keys were first set. */
export class PyDict extends PyObject {
  override readonly typeName = 'dict';
  readonly #entries = new Map<HashKey, [key: Value, value: Value]>();
  /** Why the order of the keys is not known, if it is not; reading them in order then fails. */
  orderUnknown: string | undefined;

  static of(run: Run, entries: Iterable<readonly [Value, Value]>): PyDict {
    const dict = new PyDict();
    for (const [key, value] of entries) dict.set(run, key, value);
    return dict;
  }

  set(run: Run, key: Value, value: Value): void {
    const hash = hashKey(run, key);
    const entry = this.#entries.get(hash);
    if (entry) entry[1] = value;
    else this.#entries.set(hash, [key, value]);
  }

  get(run: Run, key: Value): Value | undefined {
    return this.#entries.get(hashKey(run, key))?.[1];
  }

  has(run: Run, key: Value): boolean {
    return this.#entries.has(hashKey(run, key));
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Keys and values in no order that matters. */
  unordered(): Iterable<readonly [Value, Value]> {
    return this.#entries.values();
  }

  /** Keys and values in their order. @throws JinjaError where it is not known */
  entries(run: Run): [key: Value, value: Value][] {
    if (this.orderUnknown !== undefined) unsupported(this.orderUnknown);
    run.reserveList(this.size);
    return [...this.#entries.values()];
  }

  copy(run: Run): PyDict {
    const copy = PyDict.of(run, this.#entries.values());
    copy.orderUnknown = this.orderUnknown;
    return copy;
  }

  override repr(run: Run): string {
    return run.nested(3, () => {
      const entries = this.entries(run).map(([key, value]) => `${repr(run, key)}: ${repr(run, value)}`);
      return run.text(`{${entries.join(', ')}}`);
    });
  }
  override truthy(): boolean {
    return this.size > 0;
  }
  override length(): number {
    return this.size;
  }
  override iterate(run: Run): Iterator<Value> {
    return this.entries(run)
      .map(([key]) => key)
      [Symbol.iterator]();
  }
}

/** What `keys()`, `values()` and `items()` give. */
export class DictView extends PyObject {
  constructor(
    readonly dict: PyDict,
    readonly part: 'keys' | 'values' | 'items',
  ) {
    super();
  }
  override get typeName(): string {
    return `dict_${this.part}`;
  }
  list(run: Run): Value[] {
    const entries = this.dict.entries(run);
    if (this.part === 'items') return entries.map((entry) => new PyTuple(entry));
    return entries.map(([key, value]) => (this.part === 'keys' ? key : value));
  }
  override repr(run: Run): string {
    return run.text(`${this.typeName}(${repr(run, this.list(run))})`);
  }
  override truthy(): boolean {
    return this.dict.size > 0;
  }
  override length(): number {
    return this.dict.size;
  }
  override iterate(run: Run): Iterator<Value> {
    return this.list(run)[Symbol.iterator]();
  }
}

/** What `namespace()` gives: the only thing that templates can change. */
export class Namespace extends PyObject {
  override readonly typeName = 'TemplateNamespace';
  readonly #attributes = new PyDict();

  set(run: Run, name: Value, value: Value): void {
    if (typeof name === 'string' && name.startsWith('_')) {
      fail(`a namespace takes no attribute that begins with an underscore, like '${name}'; rename it`);
    }
    this.#attributes.set(run, name, value);
  }
  override attribute(run: Run, name: string): Value | undefined {
    return this.#attributes.get(run, name);
  }
  override repr(run: Run): string {
    return run.text(`<Namespace ${this.#attributes.repr(run)}>`);
  }
}
