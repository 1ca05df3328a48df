import { fail } from './errors.js';
import { characterCount } from './text.js';
import { isList, PyObject, textOf, typeName, type Value } from './values.js';

/** `len(value)`. */
export function lengthOf(value: Value): bigint {
  const text = textOf(value);
  const length =
    text !== undefined
      ? characterCount(text)
      : isList(value)
        ? value.length
        : value instanceof PyObject
          ? value.length()
          : undefined;
  return BigInt(length ?? fail(`object of type '${typeName(value)}' has no len()`));
}
