import { equals } from './compare.js';
import { fail, unsupported } from './errors.js';
import { lengthOf } from './length.js';
import type { Run } from './run.js';
import { isList, PyFunction, PyIterator, PyObject, PyTuple, textOf, Undefined, type Value } from './values.js';

/** The variable `loop`. It looks ahead only when asked to. */
export class LoopContext extends PyObject {
  override readonly typeName = 'LoopContext';
  #iterator: Iterator<Value>;
  readonly #iterable: Value;
  readonly #recurse: ((run: Run, iterable: Value, depth: number) => string) | undefined;
  readonly #depth: number;
  #index = -1;
  #length: number | undefined;
  #after: IteratorResult<Value> | undefined;
  #before: Value | undefined;
  #current: Value | undefined;
  #changed: PyTuple | undefined;

  /**
   * @param iterator of `iterable`, counted
   * @param recurse renders the body for other elements, when the loop is marked as recursive
   * @param depth levels of recursion around, from 0
   */
  constructor(
    iterable: Value,
    iterator: Iterator<Value>,
    recurse: ((run: Run, iterable: Value, depth: number) => string) | undefined,
    depth: number,
  ) {
    super();
    this.#iterable = iterable;
    this.#iterator = iterator;
    this.#recurse = recurse;
    this.#depth = depth;
  }

  /** The next element; undefined at the end. */
  next(): Value | undefined {
    const { done, value } = this.#after ?? this.#iterator.next();
    this.#after = undefined;
    if (done) return undefined;
    this.#index++;
    this.#before = this.#current;
    this.#current = value as Value;
    return value as Value;
  }

  #peek(): IteratorResult<Value> {
    this.#after ??= this.#iterator.next();
    return this.#after;
  }

  override length(): number {
    if (this.#length === undefined) {
      const iterable = this.#iterable;
      const sized =
        textOf(iterable) !== undefined ||
        isList(iterable) ||
        (iterable instanceof PyObject && !(iterable instanceof PyIterator));
      if (sized) this.#length = Number(lengthOf(iterable));
      else {
        const ahead = this.#after && !this.#after.done ? 1 : 0;
        const rest: Value[] = [];
        for (let next = this.#iterator.next(); !next.done; next = this.#iterator.next()) rest.push(next.value);
        this.#iterator = rest[Symbol.iterator]();
        this.#length = rest.length + this.#index + 1 + ahead;
      }
    }
    return this.#length;
  }

  override attribute(_run: Run, name: string): Value | undefined {
    switch (name) {
      case 'index':
        return BigInt(this.#index + 1);
      case 'index0':
        return BigInt(this.#index);
      case 'length':
        return BigInt(this.length());
      case 'revindex':
        return BigInt(this.length() - this.#index);
      case 'revindex0':
        return BigInt(this.length() - this.#index - 1);
      case 'first':
        return this.#index === 0;
      case 'last':
        return this.#peek().done === true;
      case 'depth':
        return BigInt(this.#depth + 1);
      case 'depth0':
        return BigInt(this.#depth);
      case 'previtem':
        return this.#index === 0 ? new Undefined('there is no previous item') : this.#before;
      case 'nextitem': {
        const { done, value } = this.#peek();
        return done ? new Undefined('there is no next item') : (value as Value);
      }
      case 'cycle':
        return new PyFunction(
          'cycle',
          (_, args) =>
            args[this.#index % args.length] ?? (args.length === 0 ? fail('no items for cycling given') : null),
        );
      case 'changed':
        return new PyFunction('changed', (run, args) => this.#hasChanged(run, new PyTuple(args)));
    }
    return undefined;
  }

  #hasChanged(run: Run, values: PyTuple): boolean {
    if (this.#changed && equals(run, this.#changed, values)) return false;
    this.#changed = values;
    return true;
  }

  override get callable(): boolean {
    return true;
  }

  override call(run: Run, args: readonly Value[]): Value {
    const recurse = this.#recurse;
    if (!recurse) fail("The loop must have the 'recursive' marker to be called recursively.");
    if (args.length !== 1) fail('loop() takes one argument: the elements of the inner loop');
    return recurse(run, args[0]!, this.#depth + 1);
  }

  override iterate(): Iterator<Value> {
    return unsupported('iterating over "loop" itself.');
  }

  override repr(): string {
    return `<LoopContext ${this.#index + 1}/${this.length()}>`;
  }
}
