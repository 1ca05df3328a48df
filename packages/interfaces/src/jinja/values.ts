import { fail, JinjaError, unsupported } from './errors.js';
import type { Run } from './run.js';

/**
 * A value as templates see it, with Python's meaning: `null` None, `boolean` bool, `bigint` int, `number` float, `string`
 * str, arrays list; everything else is a `PyObject`.
 */
export type Value = null | boolean | bigint | number | string | readonly Value[] | PyObject;

export type Arguments = readonly Value[];
export type NamedArguments = ReadonlyMap<string, Value>;
export const NO_NAMED: NamedArguments = new Map();

/** What every other type of Python is made of; the defaults are those of a plain object. */
export abstract class PyObject {
  abstract readonly typeName: string;

  /** Python's `repr`; for objects without one of their own it would be an address in memory. */
  repr(_run: Run): string {
    return unsupported(
      `printing a ${this.typeName}, which in Python prints its address; print what it holds or returns.`,
    );
  }

  str(run: Run): string {
    return this.repr(run);
  }

  truthy(): boolean {
    return true;
  }

  /** `len()`; undefined where Python has none. */
  length(): number | undefined {
    return undefined;
  }

  /** `iter()`; undefined where Python has none. */
  iterate(_run: Run): Iterator<Value> | undefined {
    return undefined;
  }

  /** `getattr()` without items; undefined where Python raises AttributeError. */
  attribute(_run: Run, _name: string): Value | undefined {
    return undefined;
  }

  /** `self[key]`; undefined where Python raises TypeError or LookupError. */
  item(_run: Run, _key: Value): Value | undefined {
    return undefined;
  }

  get callable(): boolean {
    return false;
  }

  call(_run: Run, _args: Arguments, _named: NamedArguments): Value {
    return fail(`'${this.typeName}' object is not callable`);
  }
}

/**
 * Jinja2's default `Undefined`: prints as nothing, is false and empty, and fails at everything else; where the template is strict, its
 * `StrictUndefined`, which fails at those too.
 */
export class Undefined extends PyObject {
  /** Whether what is made while a template renders is strict: rendering is synchronous, and sets it for its own time. */
  static strict = false;
  override readonly typeName = 'Undefined';
  readonly #problem: string;
  readonly #strict = Undefined.strict;

  constructor(problem: string) {
    super();
    this.#problem = problem;
  }

  /** Fails where the template is strict: it was printed, tested, compared, counted or gone through. */
  use(): void {
    if (this.#strict) this.fail();
  }

  fail(): never {
    throw new JinjaError('runtime', this.#problem);
  }

  override repr(): string {
    return 'Undefined';
  }
  override str(): string {
    this.use();
    return '';
  }
  override truthy(): boolean {
    this.use();
    return false;
  }
  override length(): number {
    this.use();
    return 0;
  }
  override iterate(): Iterator<Value> {
    this.use();
    return [][Symbol.iterator]();
  }
  override get callable(): boolean {
    return true;
  }
  override call(): never {
    return this.fail();
  }
}

/** Ends at the first use of an undefined value that is not allowed to be one. */
export function defined<T extends Value>(value: T): T {
  if (value instanceof Undefined) value.fail();
  return value;
}

/** A whole number that came as a JavaScript number and has lost its digits: fails where its value matters. */
export class LostInteger extends PyObject {
  override readonly typeName = 'int';
  readonly #problem: string;
  constructor(problem: string) {
    super();
    this.#problem = problem;
  }
  fail(): never {
    return fail(this.#problem);
  }
  override repr(): never {
    return this.fail();
  }
}

export class PyTuple extends PyObject {
  override readonly typeName: string = 'tuple';
  constructor(readonly items: readonly Value[]) {
    super();
  }
  override truthy(): boolean {
    return this.items.length > 0;
  }
  override length(): number {
    return this.items.length;
  }
  override iterate(): Iterator<Value> {
    return this.items[Symbol.iterator]();
  }
}

/** A group of the filter `groupby`: a tuple whose members also have names. */
export class PyGroup extends PyTuple {
  override readonly typeName = '_GroupTuple';
  override attribute(_run: Run, name: string): Value | undefined {
    return name === 'grouper' ? this.items[0] : name === 'list' ? this.items[1] : undefined;
  }
}

/** Text that counts as escaped HTML: what `safe` and `escape` give. It escapes what is joined to it. */
export class Markup extends PyObject {
  override readonly typeName = 'Markup';
  constructor(readonly value: string) {
    super();
  }
  override str(): string {
    return this.value;
  }
  override truthy(): boolean {
    return this.value !== '';
  }
}

export class PyRange extends PyObject {
  override readonly typeName = 'range';
  readonly count: number;

  constructor(
    readonly start: bigint,
    readonly stop: bigint,
    readonly step: bigint,
  ) {
    super();
    const span = step > 0n ? stop - start : start - stop;
    const size = step > 0n ? step : -step;
    this.count = span > 0n ? Number((span + size - 1n) / size) : 0;
  }

  at(index: number): bigint {
    return this.start + BigInt(index) * this.step;
  }

  override repr(): string {
    return `range(${this.start}, ${this.stop}${this.step === 1n ? '' : `, ${this.step}`})`;
  }
  override truthy(): boolean {
    return this.count > 0;
  }
  override length(): number {
    return this.count;
  }
  override *iterate(): Iterator<Value> {
    for (let i = 0; i < this.count; i++) yield this.at(i);
  }
  override attribute(_run: Run, name: string): Value | undefined {
    return name === 'start' ? this.start : name === 'stop' ? this.stop : name === 'step' ? this.step : undefined;
  }
}

/** A generator or iterator: gives its elements once, has no length, is always true. */
export class PyIterator extends PyObject {
  readonly #source: Iterator<Value>;
  constructor(
    source: Iterator<Value>,
    override readonly typeName: string = 'generator',
  ) {
    super();
    this.#source = source;
  }
  override iterate(run: Run): Iterator<Value> {
    // One iterator may draw from another, and so on.
    return { next: () => run.nested(5, () => this.#source.next()) };
  }
}

/** A function, method or macro. */
export class PyFunction extends PyObject {
  constructor(
    readonly name: string,
    readonly invoke: (run: Run, args: Arguments, named: NamedArguments) => Value,
    override readonly typeName = 'builtin_function_or_method',
  ) {
    super();
  }
  override get callable(): boolean {
    return true;
  }
  override call(run: Run, args: Arguments, named: NamedArguments): Value {
    return this.invoke(run, args, named);
  }
}

const TYPE_NAMES = { boolean: 'bool', bigint: 'int', number: 'float', string: 'str' } as const;

/** `type(value).__name__`. */
export function typeName(value: Value): string {
  if (value === null) return 'NoneType';
  if (Array.isArray(value)) return 'list';
  if (value instanceof PyObject) return value.typeName;
  return TYPE_NAMES[typeof value as keyof typeof TYPE_NAMES];
}

export const isList = (value: Value): value is readonly Value[] => Array.isArray(value);

/** `str` or `Markup`, which is a subclass of it. */
export function textOf(value: Value): string | undefined {
  return typeof value === 'string' ? value : value instanceof Markup ? value.value : undefined;
}

/** `value`, or what stands for it where there is none; None is a value. */
export function orElse<T>(value: Value | undefined, otherwise: () => T): Value | T {
  return value === undefined ? otherwise() : value;
}

/** `bool(value)`. */
export function truthy(value: Value): boolean {
  if (value instanceof PyObject) return value.truthy();
  if (Array.isArray(value)) return value.length > 0;
  return value !== null && value !== false && value !== 0 && value !== 0n && value !== '';
}

/** `iter(value)`; undefined where Python raises TypeError. */
export function iterate(run: Run, value: Value): Iterator<Value> | undefined {
  const text = textOf(value);
  if (text !== undefined) {
    run.reserveText(text.length);
    return text[Symbol.iterator]();
  }
  if (isList(value)) return value[Symbol.iterator]();
  return value instanceof PyObject ? value.iterate(run) : undefined;
}

/** The elements, one by one, each counted. @throws JinjaError where Python raises TypeError */
export function* elements(run: Run, value: Value): Generator<Value, void, undefined> {
  const iterator = iterate(run, value);
  if (!iterator) fail(`'${typeName(value)}' object is not iterable`);
  for (let next = iterator.next(); !next.done; next = iterator.next()) {
    run.spend(1);
    yield next.value;
  }
}

/** `list(value)`. */
export function listOf(run: Run, value: Value): Value[] {
  if (isList(value)) {
    run.reserveList(value.length);
    return [...value];
  }
  const result: Value[] = [];
  for (const element of elements(run, value)) {
    if (result.push(element) % 65_536 === 0) run.reserveList(result.length);
  }
  return result;
}
