import { equals } from './compare.js';
import { DictView, PyDict } from './dict.js';
import { fail } from './errors.js';
import { toIndex } from './operators.js';
import { bind, type Parameters, parameters } from './parameters.js';
import { repr } from './print.js';
import type { Run } from './run.js';
import { characterCount, hasSurrogates } from './text.js';
import { elements, isList, Markup, orElse, PyFunction, PyRange, PyTuple, textOf, type Value } from './values.js';

/** A method: its parameters, and what it does with the object and the arguments. */
type Method<T> = readonly [Parameters, (run: Run, self: T, args: readonly (Value | undefined)[]) => Value];

const method = <T>(text: string, run: Method<T>[1]): Method<T> => [parameters(text), run];

const bound =
  <T>(methods: Readonly<Record<string, Method<T>>>) =>
  (self: T, name: string): PyFunction | undefined => {
    if (!Object.hasOwn(methods, name)) return undefined;
    const [wanted, body] = methods[name]!;
    return new PyFunction(name, (run, args, named) => body(run, self, bind(`${name}()`, wanted, args, named)));
  };

function count(run: Run, items: readonly Value[], wanted: Value): bigint {
  return BigInt(items.filter((item) => item === wanted || equals(run, item, wanted)).length);
}

function index(run: Run, items: readonly Value[], [wanted, start, stop]: readonly (Value | undefined)[]): bigint {
  const bound = (value: Value | undefined, missing: number) => {
    if (value === undefined) return missing;
    const at = toIndex(value);
    return Math.min(items.length, at < 0 ? Math.max(0, at + items.length) : at);
  };
  const [from, to] = [bound(start, 0), bound(stop, items.length)];
  for (let i = from; i < to; i++) if (equals(run, items[i]!, wanted!)) return BigInt(i);
  return fail(`${repr(run, wanted!)} is not in the list`);
}

export const listMethod = bound<readonly Value[]>({
  copy: method('', (run, self) => {
    run.reserveList(self.length);
    return [...self];
  }),
  count: method('value /', (run, self, [value]) => count(run, self, value!)),
  index: method('value, start?, stop? /', index),
});

export const tupleMethod = bound<PyTuple>({
  count: method('value /', (run, self, [value]) => count(run, self.items, value!)),
  index: method('value, start?, stop? /', (run, self, args) => index(run, self.items, args)),
});

export const rangeMethod = bound<PyRange>({
  count: method('value /', (run, self, [value]) => count(run, [...elements(run, self)], value!)),
  index: method('value /', (run, self, args) => index(run, [...elements(run, self)], args)),
});

export const dictMethod = bound<PyDict>({
  copy: method('', (run, self) => self.copy(run)),
  fromkeys: method('iterable, value? /', (run, _, [iterable, value = null]) => fromKeys(run, iterable!, value)),
  get: method('key, default? /', (run, self, [key, missing = null]) => orElse(self.get(run, key!), () => missing)),
  items: method('', (_, self) => new DictView(self, 'items')),
  keys: method('', (_, self) => new DictView(self, 'keys')),
  values: method('', (_, self) => new DictView(self, 'values')),
});

/** `dict.fromkeys`. */
export function fromKeys(run: Run, iterable: Value, value: Value): PyDict {
  const dict = new PyDict();
  for (const key of elements(run, iterable)) dict.set(run, key, value);
  return dict;
}

/** `value[index]` of texts, lists, tuples and ranges; undefined beyond the end. */
export function sequenceItem(run: Run, value: Value, at: bigint): Value | undefined {
  const text = textOf(value);
  if (text !== undefined) {
    const character = characterAt(run, text, at);
    return character !== undefined && value instanceof Markup ? new Markup(character) : character;
  }
  const length = isList(value)
    ? value.length
    : value instanceof PyTuple
      ? value.items.length
      : value instanceof PyRange
        ? value.count
        : 0;
  const position = at < 0n ? at + BigInt(length) : at;
  if (position < 0n || position >= BigInt(length)) return undefined;
  if (value instanceof PyRange) return value.at(Number(position));
  return (isList(value) ? value : (value as PyTuple).items)[Number(position)];
}

function characterAt(run: Run, text: string, at: bigint): string | undefined {
  if (!hasSurrogates(text)) {
    const position = at < 0n ? at + BigInt(text.length) : at;
    return position >= 0n && position < BigInt(text.length) ? text[Number(position)] : undefined;
  }
  run.reserveText(text.length);
  const position = at < 0n ? at + BigInt(characterCount(text)) : at;
  if (position < 0n) return undefined;
  let left = position;
  for (const character of text) if (left-- === 0n) return character;
  return undefined;
}
