import { getItem } from './attributes.js';
import { bind, parameters } from './parameters.js';
import { str } from './print.js';
import type { Run } from './run.js';
import { type Arguments, Markup, type NamedArguments, textOf, Undefined, type Value } from './values.js';

/** A filter gets the value before the `|` and its arguments. */
export type Filter = (run: Run, value: Value, args: Arguments, named: NamedArguments) => Value;

/** A filter whose arguments have names, written like `width?, first?`. */
export function filter(
  name: string,
  text: string,
  body: (run: Run, value: Value, args: readonly (Value | undefined)[]) => Value,
): Filter {
  const wanted = parameters(text);
  return (run, value, args, named) => body(run, value, bind(`the filter ${name}`, wanted, args, named));
}

/** The value as text, and whether it counts as escaped HTML; other values print. */
export function softText(run: Run, value: Value): [text: string, markup: boolean] {
  const text = textOf(value) ?? str(run, value);
  run.reserveText(text.length);
  return [text, value instanceof Markup];
}

export const sameKind = (text: string, markup: boolean): Value => (markup ? new Markup(text) : text);

export const lowerCased = (value: Value): Value =>
  typeof value === 'string'
    ? value.toLowerCase()
    : value instanceof Markup
      ? new Markup(value.value.toLowerCase())
      : value;

/** Reads what `attribute="a.b.0"` names; `missing`, if not null, stands for what is undefined. */
export function attributeReader(
  attribute: Value,
  change: (value: Value) => Value = (value) => value,
  missing: Value = null,
): (run: Run, item: Value) => Value {
  const text = textOf(attribute);
  const parts: readonly Value[] =
    attribute === null
      ? []
      : text === undefined
        ? [attribute]
        : text.split('.').map((part) => (/^\d+$/.test(part) ? BigInt(part) : part));
  return (run, item) => {
    let value = item;
    for (const part of parts) {
      value = getItem(run, value, part);
      if (missing !== null && value instanceof Undefined) value = missing;
    }
    return change(value);
  };
}
