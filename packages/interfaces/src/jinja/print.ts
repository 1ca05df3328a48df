import { isPrintable } from './case.js';
import { floatRepr, integerRepr } from './numbers.js';
import type { Run } from './run.js';
import { isList, Markup, PyObject, PyTuple, type Value } from './values.js';

/** `str(value)`: what printing gives. */
export function str(run: Run, value: Value): string {
  if (typeof value === 'string') return value;
  return value instanceof PyObject && !(value instanceof PyTuple) ? value.str(run) : repr(run, value);
}

/** `repr(value)`: how values print inside others. */
export function repr(run: Run, value: Value): string {
  run.spend(1);
  if (typeof value === 'string') return textRepr(run, value);
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'bigint') return integerRepr(value);
  if (typeof value === 'number') return floatRepr(value);
  if (isList(value)) return run.nested(3, () => run.text(`[${value.map((item) => repr(run, item)).join(', ')}]`));
  if (value instanceof PyTuple) {
    const items = run.nested(3, () => value.items.map((item) => repr(run, item)));
    return run.text(items.length === 1 ? `(${items[0]},)` : `(${items.join(', ')})`);
  }
  if (value instanceof Markup) return `Markup(${textRepr(run, value.value)})`;
  return value.repr(run);
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };
const PLAIN = /^[ !#-&(-[\]-~]*$/;

/** In single quotes, unless it has some and no double ones; what cannot be printed, escaped. */
function textRepr(run: Run, text: string): string {
  run.reserveText(text.length);
  if (PLAIN.test(text)) return `'${text}'`;
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let result = quote;
  for (const character of text) {
    if (character === quote) result += `\\${quote}`;
    else result += ESCAPES[character] ?? (isPrintable(character) ? character : escaped(character.codePointAt(0)!));
  }
  return run.text(result + quote);
}

function escaped(code: number): string {
  const digits = code.toString(16);
  if (code < 0x100) return `\\x${digits.padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${digits.padStart(4, '0')}` : `\\U${digits.padStart(8, '0')}`;
}
