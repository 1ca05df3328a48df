import { PyDict } from './dict.js';
import { fail } from './errors.js';
import { isIndexKey } from './json-text.js';
import type { Run } from './run.js';
import { LostInteger, type Value } from './values.js';

/**
 * A JavaScript value as templates see it.
 *
 * - Numbers that are whole are `int`, others `float`. A `Number` object is a `float` (`Object(2)` is `2.0`), a `bigint` an
 *   `int`; whole numbers beyond 2^53 must be bigints, since a `number` has lost their digits.
 * - Objects, and `Map`s, are dicts. An object puts keys like `"1"` first and so may have lost their order; such a dict can be
 *   used, but reading it in order (`tojson`, `items()`, printing) fails. A `Map` keeps it.
 * - `undefined` is left out of objects, and None in lists.
 *
 * @param path where the value stands, for errors
 * @throws JinjaError for anything else
 */
export function fromJs(run: Run, value: unknown, path: string): Value {
  run.spend(1);
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'bigint':
      return value;
    case 'undefined':
      return null;
    case 'number':
      return fromNumber(value, path);
    case 'object':
      return value === null ? null : run.nested(3, () => fromObject(run, value, path));
  }
  return fail(`the variable ${path} is a ${typeof value}, which templates cannot have.`);
}

function fromNumber(value: number, path: string): Value {
  if (!Number.isInteger(value)) return value;
  if (Number.isSafeInteger(value)) return BigInt(value);
  return new LostInteger(
    `the variable ${path} is ${value}, beyond what a number holds exactly; give it as a bigint, or in JSON text.`,
  );
}

function fromObject(run: Run, value: object, path: string): Value {
  if (Array.isArray(value)) return Array.from(value, (item, i) => fromJs(run, item, `${path}[${i}]`));
  if (value instanceof Number) return value.valueOf();
  if (value instanceof Map) {
    return PyDict.of(
      run,
      [...value].map(([key, item]) => [
        fromJs(run, key, `a key of ${path}`),
        fromJs(run, item, `${path}.${String(key)}`),
      ]),
    );
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype && Object.getPrototypeOf(prototype) !== null) {
    fail(`the variable ${path} is an instance of ${value.constructor?.name ?? 'a class'}; templates take plain data.`);
  }
  const dict = new PyDict();
  for (const [key, item] of Object.entries(value)) {
    if (item !== undefined) dict.set(run, key, fromJs(run, item, `${path}.${key}`));
  }
  if (dict.size > 1) {
    const key = Object.keys(value).find(isIndexKey);
    if (key !== undefined) {
      dict.orderUnknown =
        `${path} has the key "${key}", and JavaScript objects lose the order of keys that are numbers; ` +
        'give the arguments of a call as JSON text, or the object as a Map.';
    }
  }
  return dict;
}
