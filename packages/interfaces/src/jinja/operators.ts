import { numeric } from './compare.js';
import { fail } from './errors.js';
import { escapeHtml } from './html.js';
import {
  checkedInteger,
  divideIntegers,
  floatDivMod,
  floatPower,
  floorDivide,
  floorModulo,
  integerPower,
  multiplyIntegers,
  toFloat,
} from './numbers.js';
import { percentFormat } from './percent-format.js';
import type { Run } from './run.js';
import { defined, isList, Markup, PyRange, PyTuple, textOf, typeName, type Value } from './values.js';

export type BinaryOperator = '+' | '-' | '*' | '/' | '//' | '%' | '**';

/** `a + b` and its kin, with Python's types: text and numbers are never joined. */
export function binary(run: Run, operator: BinaryOperator, a: Value, b: Value): Value {
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined && y !== undefined) {
    return typeof x === 'bigint' && typeof y === 'bigint'
      ? integers(operator, x, y)
      : floats(operator, asFloat(x), asFloat(y));
  }
  if (operator === '+') {
    const sum = concatenate(run, a, b);
    if (sum !== undefined) return sum;
  } else if (operator === '*') {
    const product = y !== undefined ? repeat(run, a, y) : x !== undefined ? repeat(run, b, x) : undefined;
    if (product !== undefined) return product;
  } else if (operator === '%') {
    if (typeof a === 'string') return percentFormat(run, a, b);
    if (a instanceof Markup) return new Markup(percentFormat(run, a.value, b, (value) => escapeHtml(value)));
  }
  defined(a);
  defined(b);
  if (operator === '+' && textOf(a) !== undefined) {
    fail(`can only concatenate str (not "${typeName(b)}") to str`);
  }
  return fail(`unsupported operand type(s) for ${operator}: '${typeName(a)}' and '${typeName(b)}'`);
}

const asFloat = (value: bigint | number) => (typeof value === 'bigint' ? toFloat(value) : value);

function integers(operator: BinaryOperator, a: bigint, b: bigint): Value {
  switch (operator) {
    case '+':
      return checkedInteger(a + b);
    case '-':
      return checkedInteger(a - b);
    case '*':
      return multiplyIntegers(a, b);
    case '**':
      return integerPower(a, b);
  }
  if (b === 0n) fail(operator === '/' ? 'division by zero' : 'integer division or modulo by zero');
  if (operator === '/') return divideIntegers(a, b);
  return operator === '//' ? floorDivide(a, b) : floorModulo(a, b);
}

function floats(operator: BinaryOperator, a: number, b: number): Value {
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '**':
      return floatPower(a, b);
  }
  if (b === 0) fail('float division by zero');
  if (operator === '/') return a / b;
  return floatDivMod(a, b)[operator === '//' ? 0 : 1];
}

function concatenate(run: Run, a: Value, b: Value): Value | undefined {
  if (typeof a === 'string' && typeof b === 'string') return run.text(a + b);
  const [text, other] = [textOf(a), textOf(b)];
  if (text !== undefined && other !== undefined) {
    return new Markup(
      run.text((typeof a === 'string' ? escapeHtml(a) : text) + (typeof b === 'string' ? escapeHtml(b) : other)),
    );
  }
  if (isList(a) && isList(b)) {
    run.reserveList(a.length + b.length);
    return [...a, ...b];
  }
  if (a instanceof PyTuple && b instanceof PyTuple) {
    run.reserveList(a.items.length + b.items.length);
    return new PyTuple([...a.items, ...b.items]);
  }
  return undefined;
}

function repeat(run: Run, value: Value, count: bigint | number): Value | undefined {
  if (typeof count !== 'bigint') return undefined;
  const times = count <= 0n ? 0 : count > 1_000_000_000n ? 1_000_000_000 : Number(count);
  const text = textOf(value);
  if (text !== undefined) {
    run.reserveText(text.length * times);
    return value instanceof Markup ? new Markup(text.repeat(times)) : text.repeat(times);
  }
  const items = isList(value) ? value : value instanceof PyTuple ? value.items : undefined;
  if (!items) return undefined;
  run.reserveList(items.length * times);
  const repeated =
    items.length === 0 ? [] : Array.from({ length: items.length * times }, (_, i) => items[i % items.length]!);
  return isList(value) ? repeated : new PyTuple(repeated);
}

/** `-value`, `+value`. */
export function unary(operator: '-' | '+', value: Value): Value {
  const number = numeric(value);
  if (number !== undefined) return operator === '-' ? -number : number;
  defined(value);
  return fail(`bad operand type for unary ${operator}: '${typeName(value)}'`);
}

/** `value.__index__()`, for counts and positions; clamped to what JavaScript counts exactly. */
export function toIndex(value: Value): number {
  const number = numeric(value);
  if (typeof number === 'bigint') return clamp(number);
  defined(value);
  return fail(`'${typeName(value)}' object cannot be interpreted as an integer`);
}

const LARGEST = BigInt(Number.MAX_SAFE_INTEGER);
const clamp = (value: bigint) => Number(value > LARGEST ? LARGEST : value < -LARGEST ? -LARGEST : value);

/** `sequence[start:stop:step]`, as Python subscribes it. */
export function slice(run: Run, value: Value, start: Value, stop: Value, step: Value): Value {
  defined(value);
  const text = textOf(value);
  if (text !== undefined) {
    run.reserveText(text.length);
    const ascii = !/[\ud800-\udfff]/.test(text);
    if (ascii && (step === null || step === 1n)) {
      const [from, to] = bounds(text.length, start, stop, 1);
      const part = text.slice(from, Math.max(from, to));
      return value instanceof Markup ? new Markup(part) : part;
    }
    const units = ascii ? text.split('') : Array.from(text);
    const part = picked(units, start, stop, step).join('');
    return value instanceof Markup ? new Markup(part) : part;
  }
  if (isList(value)) return picked(counted(run, value), start, stop, step);
  if (value instanceof PyTuple) return new PyTuple(picked(counted(run, value.items), start, stop, step));
  if (value instanceof PyRange) {
    const by = stepOf(step);
    const [from, to] = bounds(value.count, start, stop, by);
    return new PyRange(value.at(from), value.at(to), value.step * BigInt(by));
  }
  return fail(`'${typeName(value)}' object is not subscriptable by a slice`);
}

function counted(run: Run, items: readonly Value[]): readonly Value[] {
  run.reserveList(items.length);
  return items;
}

function stepOf(step: Value): number {
  const by = step === null ? 1 : sliceIndex(step);
  if (by === 0) fail('slice step cannot be zero');
  return by;
}

function sliceIndex(value: Value): number {
  if (typeof numeric(value) === 'bigint') return toIndex(value);
  return fail('slice indices must be integers or None or have an __index__ method');
}

function picked<T>(items: readonly T[], start: Value, stop: Value, step: Value): T[] {
  const by = stepOf(step);
  const [from, to] = bounds(items.length, start, stop, by);
  const result: T[] = [];
  for (let i = from; by > 0 ? i < to : i > to; i += by) result.push(items[i]!);
  return result;
}

function bounds(length: number, start: Value, stop: Value, step: number): [from: number, to: number] {
  const [lowest, highest] = step > 0 ? [0, length] : [-1, length - 1];
  const bound = (value: Value, missing: number) => {
    if (value === null) return missing;
    const index = sliceIndex(value);
    return Math.min(highest, Math.max(lowest, index < 0 ? index + length : index));
  };
  return step > 0 ? [bound(start, 0), bound(stop, length)] : [bound(start, length - 1), bound(stop, -1)];
}
