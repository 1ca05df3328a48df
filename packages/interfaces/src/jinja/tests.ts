import { TEXT_CLASSES } from './case.js';
import { contains, equals, numeric, type Ordering, ordered } from './compare.js';
import { DictView, hashKey, PyDict } from './dict.js';
import { unsupported } from './errors.js';
import { lengthOf } from './length.js';
import { binary } from './operators.js';
import { bind, parameters } from './parameters.js';
import { str } from './print.js';
import type { Run } from './run.js';
import {
  type Arguments,
  isList,
  iterate,
  Markup,
  type NamedArguments,
  PyIterator,
  PyObject,
  textOf,
  Undefined,
  type Value,
} from './values.js';

export type Test = (run: Run, value: Value, args: Arguments, named: NamedArguments) => boolean;

const plain = (name: string, body: (run: Run, value: Value) => boolean): Test => {
  const none = parameters('');
  return (run, value, args, named) => {
    bind(`the test ${name}`, none, args, named);
    return body(run, value);
  };
};

const comparing = (name: string, parameter: string, body: (run: Run, value: Value, other: Value) => boolean): Test => {
  const one = parameters(parameter);
  return (run, value, args, named) => body(run, value, bind(`the test ${name}`, one, args, named)[0]!);
};

const remainder = (run: Run, value: Value, divisor: Value, wanted: bigint) =>
  equals(run, binary(run, '%', value, divisor), wanted);

const ordering = (operator: Ordering) =>
  comparing(operator, 'b /', (run, value, other) => ordered(run, operator, value, other));

const equal = comparing('eq', 'b /', equals);
const notEqual = comparing('ne', 'b /', (run, value, other) => !equals(run, value, other));

/** `value is other`: certain for singletons and objects; for equal numbers and texts it is up to Python's memory. */
function sameAs(run: Run, value: Value, other: Value): boolean {
  const isObject = (it: Value) => (isList(it) || it instanceof PyObject) && !(it instanceof Markup);
  if (value === null || other === null || typeof value === 'boolean' || typeof other === 'boolean')
    return value === other;
  if (isObject(value) || isObject(other)) return value === other;
  if (typeof value !== typeof other || !equals(run, value, other)) return false;
  if (typeof value === 'bigint' && value >= -5n && value <= 256n) return true;
  if (typeof value === 'string' && (value === '' || (value.length === 1 && value < '\u0100'))) return true;
  return unsupported('the test sameas of equal texts or numbers; use ==.');
}

function isSequence(value: Value): boolean {
  if (value instanceof PyIterator || value instanceof DictView) return false;
  if (textOf(value) !== undefined || isList(value)) return true;
  return (
    value instanceof PyObject &&
    value.typeName !== 'LoopContext' &&
    value.length() !== undefined &&
    lengthOf(value) >= 0n
  );
}

/** Whether the value names a filter or test; what cannot be a key is an error, as in Python. */
function isName(run: Run, value: Value, find: (name: string) => unknown): boolean {
  hashKey(run, value);
  const name = textOf(value);
  return name !== undefined && find(name) !== undefined;
}

const isCallable = (value: Value) => value instanceof PyObject && value.callable;

export const TESTS: Readonly<Record<string, Test>> = {
  odd: plain('odd', (run, value) => remainder(run, value, 2n, 1n)),
  even: plain('even', (run, value) => remainder(run, value, 2n, 0n)),
  divisibleby: comparing('divisibleby', 'num', (run, value, divisor) => remainder(run, value, divisor, 0n)),
  defined: plain('defined', (_, value) => !(value instanceof Undefined)),
  undefined: plain('undefined', (_, value) => value instanceof Undefined),
  filter: plain('filter', (run, value) => isName(run, value, run.lookups.filter)),
  test: plain('test', (run, value) => isName(run, value, run.lookups.test)),
  none: plain('none', (_, value) => value === null),
  boolean: plain('boolean', (_, value) => typeof value === 'boolean'),
  false: plain('false', (_, value) => value === false),
  true: plain('true', (_, value) => value === true),
  integer: plain('integer', (_, value) => typeof numeric(value) === 'bigint' && typeof value !== 'boolean'),
  float: plain('float', (_, value) => typeof numeric(value) === 'number'),
  lower: plain('lower', (run, value) => TEXT_CLASSES.islower!(str(run, value))),
  upper: plain('upper', (run, value) => TEXT_CLASSES.isupper!(str(run, value))),
  string: plain('string', (_, value) => textOf(value) !== undefined),
  mapping: plain('mapping', (_, value) => value instanceof PyDict),
  number: plain('number', (_, value) => numeric(value) !== undefined),
  sequence: plain('sequence', (_, value) => isSequence(value)),
  iterable: plain('iterable', (run, value) => iterate(run, value) !== undefined),
  callable: plain('callable', (_, value) => isCallable(value)),
  sameas: comparing('sameas', 'other', sameAs),
  escaped: plain('escaped', (_, value) => value instanceof Markup),
  in: comparing('in', 'seq', (run, value, container) => contains(run, container, value)),
  '==': equal,
  eq: equal,
  equalto: equal,
  '!=': notEqual,
  ne: notEqual,
  '>': ordering('>'),
  gt: ordering('>'),
  greaterthan: ordering('>'),
  '>=': ordering('>='),
  ge: ordering('>='),
  '<': ordering('<'),
  lt: ordering('<'),
  lessthan: ordering('<'),
  '<=': ordering('<='),
  le: ordering('<='),
};
