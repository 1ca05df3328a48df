import { dictMethod, listMethod, rangeMethod, sequenceItem, tupleMethod } from './collection-methods.js';
import { numeric } from './compare.js';
import { PyDict } from './dict.js';
import { unsupported } from './errors.js';
import type { Run } from './run.js';
import { textMethod } from './text-methods.js';
import {
  isList,
  Markup,
  orElse,
  PyObject,
  PyRange,
  PyTuple,
  textOf,
  typeName,
  Undefined,
  type Value,
} from './values.js';

/** What every object of Python has; templates may not touch it. */
const DUNDER = /^__\w+__$/;
const EVERY_OBJECT = new Set(
  '__class__ __dir__ __doc__ __eq__ __getattribute__ __hash__ __init__ __init_subclass__ __module__ __new__ __reduce__ __repr__ __setattr__ __sizeof__ __slots__ __str__ __subclasshook__'.split(
    ' ',
  ),
);

/** `value.name`: the attribute, else the item of that name, else undefined. */
export function getAttribute(run: Run, value: Value, name: string): Value {
  if (value instanceof Undefined) return ofUndefined(value, name);
  const attribute = attributeOf(run, value, name);
  if (attribute !== undefined) return attribute;
  return orElse(itemOf(run, value, name), () => missing(value, name));
}

/** `value[key]`: the item, else the attribute of that name, else undefined. */
export function getItem(run: Run, value: Value, key: Value): Value {
  if (value instanceof Undefined) value.fail();
  const item = itemOf(run, value, key);
  if (item !== undefined) return item;
  const name = textOf(key);
  return orElse(name === undefined ? undefined : attributeOf(run, value, name), () => missing(value, key));
}

/** The filter `attr`: the attribute only. */
export function getAttributeOnly(run: Run, value: Value, name: string): Value {
  if (value instanceof Undefined) return ofUndefined(value, name);
  return orElse(attributeOf(run, value, name), () => missing(value, name));
}

/** An undefined value has what every object has, and that is unsafe. */
const ofUndefined = (value: Undefined, name: string): Undefined =>
  EVERY_OBJECT.has(name) ? unsafe(value, name) : value.fail();

function missing(value: Value, key: Value): Undefined {
  const what = value === null ? 'None' : `'${typeName(value)} object'`;
  const shown =
    typeof key === 'string'
      ? `attribute '${key.slice(0, 100)}'`
      : `element ${typeof key === 'bigint' ? key : `of type ${typeName(key)}`}`;
  return new Undefined(`${what} has no ${shown}`);
}

/** `getattr(value, name)`; undefined where Python raises AttributeError. */
function attributeOf(run: Run, value: Value, name: string): Value | undefined {
  if (name.startsWith('_')) {
    if (!DUNDER.test(name)) return undefined;
    if (value instanceof PyDict && value.has(run, name)) unsupported(`the key "${name}" by a dot; use ["${name}"].`);
    return unsafe(value, name);
  }
  const text = textOf(value);
  if (text !== undefined) return textMethod(value as string | Markup, text, name);
  if (isList(value)) return listMethod(value, name) ?? mutating(value, name, LIST_MUTATORS);
  if (value instanceof PyDict) return dictMethod(value, name) ?? mutating(value, name, DICT_MUTATORS);
  if (value instanceof PyTuple) return orElse(value.attribute(run, name), () => tupleMethod(value, name));
  if (value instanceof PyRange) return orElse(value.attribute(run, name), () => rangeMethod(value, name));
  if (value instanceof PyObject) return value.attribute(run, name);
  return numeric(value) === undefined ? undefined : numberAttribute(value, name);
}

const LIST_MUTATORS = new Set('append clear pop reverse insert sort extend remove'.split(' '));
const DICT_MUTATORS = new Set('clear pop popitem setdefault update'.split(' '));

const mutating = (value: Value, name: string, mutators: ReadonlySet<string>) =>
  mutators.has(name) ? unsafe(value, name) : undefined;

/** Prints as nothing and fails at every use, like the sandbox of Jinja2. */
const unsafe = (value: Value, name: string) =>
  new Undefined(`access to attribute '${name}' of '${typeName(value)}' object is unsafe`);

const NUMBER_ATTRIBUTES = new Set(
  'as_integer_ratio bit_count bit_length conjugate denominator fromhex from_bytes hex imag is_integer numerator real to_bytes'.split(
    ' ',
  ),
);

function numberAttribute(value: Value, name: string): Value | undefined {
  if (!NUMBER_ATTRIBUTES.has(name)) return undefined;
  if (name === 'real') return numeric(value)!;
  return unsupported(`the attribute "${name}" of numbers.`);
}

/** `value[key]`; undefined where Python raises TypeError or LookupError. */
function itemOf(run: Run, value: Value, key: Value): Value | undefined {
  if (value instanceof PyDict) {
    const hashable = !isList(key) && !(key instanceof PyDict);
    return hashable ? value.get(run, key) : undefined;
  }
  if (value instanceof PyObject && !(value instanceof Markup || value instanceof PyTuple || value instanceof PyRange)) {
    return value.item(run, key);
  }
  const index = numeric(key);
  return typeof index === 'bigint' ? sequenceItem(run, value, index) : undefined;
}
