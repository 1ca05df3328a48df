import { DictView, PyDict } from './dict.js';
import { fail, unsupported } from './errors.js';
import type { Run } from './run.js';
import { compareText } from './text.js';
import {
  elements,
  isList,
  LostInteger,
  PyObject,
  PyRange,
  PyTuple,
  textOf,
  typeName,
  Undefined,
  type Value,
} from './values.js';

/** A bool, int or float as JavaScript compares it; undefined for others. */
export function numeric(value: Value): bigint | number | undefined {
  if (typeof value === 'bigint' || typeof value === 'number') return value;
  if (value instanceof LostInteger) value.fail();
  return typeof value === 'boolean' ? (value ? 1n : 0n) : undefined;
}

/** `a == b`. */
export function equals(run: Run, a: Value, b: Value): boolean {
  run.spend(1);
  if (a === b) return typeof a !== 'number' || !Number.isNaN(a);
  const [x, y] = [numeric(a), numeric(b)];
  // biome-ignore lint/suspicious/noDoubleEquals: compares an integer with a float by value.
  if (x !== undefined && y !== undefined) return x == y;
  const [text, other] = [textOf(a), textOf(b)];
  if (text !== undefined && other !== undefined) return text === other;
  if (isList(a) && isList(b)) return sameItems(run, a, b);
  if (a instanceof PyTuple && b instanceof PyTuple) return sameItems(run, a.items, b.items);
  if (a instanceof PyDict && b instanceof PyDict) return sameEntries(run, a, b);
  for (const side of [a, b]) if (side instanceof Undefined) side.use();
  if (a instanceof Undefined && b instanceof Undefined) return true;
  if (a instanceof PyRange && b instanceof PyRange) {
    return a.count === b.count && (a.count === 0 || (a.start === b.start && (a.count === 1 || a.step === b.step)));
  }
  if (a instanceof DictView && b instanceof DictView && a.part !== 'values' && b.part !== 'values') {
    unsupported('comparing keys() or items() of dicts; compare the dicts, or lists.');
  }
  return false;
}

function sameItems(run: Run, a: readonly Value[], b: readonly Value[]): boolean {
  return a.length === b.length && run.nested(3, () => a.every((item, i) => equals(run, item, b[i]!)));
}

function sameEntries(run: Run, a: PyDict, b: PyDict): boolean {
  if (a.size !== b.size) return false;
  return run.nested(3, () => {
    for (const [key, value] of a.unordered()) {
      const other = b.get(run, key);
      if (other === undefined || !equals(run, value, other)) return false;
    }
    return true;
  });
}

export type Ordering = '<' | '<=' | '>' | '>=';

/** `a < b` and its kin. */
export function ordered(run: Run, operator: Ordering, a: Value, b: Value): boolean {
  run.spend(1);
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined && y !== undefined) return holds(operator, x, y);
  const [text, other] = [textOf(a), textOf(b)];
  if (text !== undefined && other !== undefined) return holds(operator, compareText(text, other), 0);
  const [first, second] = [sequenceItems(a), sequenceItems(b)];
  if (first && second && typeName(a) === typeName(b)) {
    return run.nested(3, () => {
      for (let i = 0; i < Math.min(first.length, second.length); i++) {
        if (!equals(run, first[i]!, second[i]!)) return ordered(run, operator, first[i]!, second[i]!);
      }
      return holds(operator, first.length, second.length);
    });
  }
  if (a instanceof Undefined) a.fail();
  if (b instanceof Undefined) b.fail();
  if (a instanceof DictView && b instanceof DictView) unsupported(`'${operator}' of keys() or items() of dicts.`);
  return fail(`'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}

const sequenceItems = (value: Value) => (isList(value) ? value : value instanceof PyTuple ? value.items : undefined);

function holds(operator: Ordering, a: bigint | number, b: bigint | number): boolean {
  if (operator === '<') return a < b;
  if (operator === '<=') return a <= b;
  return operator === '>' ? a > b : a >= b;
}

/** `item in container`. */
export function contains(run: Run, container: Value, item: Value): boolean {
  const text = textOf(container);
  if (text !== undefined) {
    const part = textOf(item);
    if (part === undefined) {
      fail(`'in <string>' requires string as left operand, not ${typeName(item)}`);
    }
    run.reserveText(text.length);
    return text.includes(part);
  }
  if (container instanceof PyDict) return container.has(run, item);
  if (container instanceof DictView && container.part === 'keys') return container.dict.has(run, item);
  if (!isList(container) && !(container instanceof PyObject)) {
    fail(`argument of type '${typeName(container)}' is not iterable`);
  }
  for (const element of elements(run, container)) {
    if (element === item || equals(run, element, item)) return true;
  }
  return false;
}

/** `sorted`: stable; `key` of each element is asked once. */
export function sorted<T>(run: Run, items: readonly T[], key: (item: T) => Value, reverse: boolean): T[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  if (keyed.length > 1) {
    // Python asks `later < earlier` only; with `reverse` it sorts the reversed list and reverses again.
    if (reverse) keyed.reverse();
    keyed.sort((a, b) => (ordered(run, '<', a.key, b.key) ? -1 : ordered(run, '<', b.key, a.key) ? 1 : 0));
    if (reverse) keyed.reverse();
  }
  return keyed.map(({ item }) => item);
}
