import { numeric } from './compare.js';
import { fail, unsupported } from './errors.js';
import { type Alignment, aligned, floatText, grouped } from './number-format.js';
import { floatRepr, integerRepr, toFloat } from './numbers.js';
import { repr, str } from './print.js';
import type { Run } from './run.js';
import { substring } from './text.js';
import { type Arguments, type NamedArguments, textOf, typeName, type Value } from './values.js';

/** `format.format(*args, **named)` as the sandbox does it: attributes and items as in templates. */
export function strFormat(run: Run, format: string, args: Arguments, named: NamedArguments): string {
  const state = { next: 0 as number | undefined };
  return run.text(formatted(run, format, args, named, state, 2));
}

/** `next` counts `{}`; undefined once a field has a number of its own. */
interface FieldCounter {
  next: number | undefined;
}

function formatted(
  run: Run,
  format: string,
  args: Arguments,
  named: NamedArguments,
  counter: FieldCounter,
  depth: number,
): string {
  if (depth === 0) fail('Max string recursion exceeded');
  let result = '';
  for (let at = 0; at < format.length; ) {
    const character = format[at]!;
    if (character !== '{' && character !== '}') {
      const end = format.slice(at).search(/[{}]/);
      result += end < 0 ? format.slice(at) : format.slice(at, at + end);
      if (end < 0) break;
      at += end;
    } else if (format[at + 1] === character) {
      result += character;
      at += 2;
    } else {
      if (character === '}') fail("Single '}' encountered in format string");
      const end = fieldEnd(format, at);
      result += field(run, format.slice(at + 1, end), args, named, counter, depth);
      run.reserveText(result.length);
      at = end + 1;
    }
  }
  return result;
}

function fieldEnd(format: string, start: number): number {
  let depth = 0;
  for (let i = start; i < format.length; i++) {
    if (format[i] === '{') depth++;
    else if (format[i] === '}' && --depth === 0) return i;
  }
  return fail("expected '}' before end of string");
}

function field(
  run: Run,
  source: string,
  args: Arguments,
  named: NamedArguments,
  counter: FieldCounter,
  depth: number,
): string {
  const match = /^((?:[^[\]:!{}]|\[[^\]]*\])*)(?:!(.))?(?::(.*))?$/s.exec(source);
  if (!match) return fail(`the field "{${source}}" of a format is not well-formed`);
  const [, name = '', conversion, spec = ''] = match;
  const value = fieldValue(run, name, args, named, counter);
  const text = conversion === undefined ? value : conversion === 'r' ? repr(run, value) : str(run, value);
  if (conversion !== undefined && conversion !== 'r' && conversion !== 's') {
    if (conversion === 'a') unsupported('the conversion !a in a format; use !r.');
    fail(`Unknown conversion specifier ${conversion}`);
  }
  const resolved =
    spec.includes('{') || spec.includes('}') ? formatted(run, spec, args, named, counter, depth - 1) : spec;
  return formatValue(run, text, resolved);
}

function fieldValue(run: Run, name: string, args: Arguments, named: NamedArguments, counter: FieldCounter): Value {
  const [, first = '', path = ''] = /^([^.[]*)(.*)$/s.exec(name)!;
  let value: Value | undefined;
  if (first === '' || /^\d+$/.test(first)) {
    if (first === '' ? counter.next === undefined : (counter.next ?? 0) > 0) {
      fail('cannot switch between manual field specification and automatic field numbering');
    }
    const index = first === '' ? counter.next! : Number(first);
    counter.next = first === '' ? index + 1 : undefined;
    value = args[index] as Value;
    if (args.length <= index) fail(`Replacement index ${index} out of range for positional args tuple`);
  } else value = named.has(first) ? named.get(first)! : fail(`the format has no argument '${first}'`);
  for (const [step, attribute, item] of path.matchAll(/\.([^.[]+)|\[([^\]]+)\]|./gs)) {
    if (attribute !== undefined) value = run.lookups.attribute(run, value, attribute);
    else if (item !== undefined) value = run.lookups.item(run, value, /^\d+$/.test(item) ? BigInt(item) : item);
    else fail(`a format has "${step}" where a field's attribute or item is expected`);
  }
  return value;
}

const SPEC = /^(?:(.)?([<>=^]))?([-+ ])?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([a-zA-Z%])?$/su;

/** `format(value, spec)`. */
function formatValue(run: Run, value: Value, spec: string): string {
  if (spec === '') return str(run, value);
  const text = textOf(value);
  const number = numeric(value);
  if (text === undefined && number === undefined) {
    return fail(`unsupported format string passed to ${typeName(value)}.__format__`);
  }
  const match = SPEC.exec(spec);
  if (!match) return fail(`Invalid format specifier '${spec}' for object of type '${typeName(value)}'`);
  const [, fill, align, sign = '-', alternate, zero, width = '0', group, precision, type] = match;
  const wide = Number(width);
  run.reserveText(Math.min(wide, 1e9) + Math.min(Number(precision ?? 0), 1e9));
  const padding = fill ?? (zero ? '0' : ' ');
  if (text !== undefined) {
    if ((type !== undefined && type !== 's') || match[3] !== undefined || align === '=' || alternate || group) {
      fail(`a format specifier of text must not have "${spec}"`);
    }
    const cut = precision === undefined ? text : substring(text, 0, Math.min(Number(precision), text.length));
    return aligned(cut, wide, padding, (align as Alignment | undefined) ?? '<');
  }
  const [digits, negative] = numberText(number!, type, precision, group, alternate !== undefined);
  const lead = negative ? '-' : sign === '-' ? '' : sign;
  const prefix = alternate && type && 'boxX'.includes(type) ? `0${type}` : '';
  const alignment = (align as Alignment | undefined) ?? (zero ? '=' : '>');
  if (alignment === '=' && padding === '0' && group && wide > digits.length + lead.length) {
    unsupported('a format that groups the digits of a number filled with zeros.');
  }
  return aligned(lead + prefix + digits, wide, padding, alignment, lead.length + prefix.length);
}

function numberText(
  number: bigint | number,
  type: string | undefined,
  precision: string | undefined,
  group: string | undefined,
  alternate: boolean,
): [digits: string, negative: boolean] {
  const grouping = (text: string, size = 3) => (group ? grouped(text, group, size) : text);
  if (typeof number === 'bigint' && (type === undefined || 'bcdoxXn'.includes(type))) {
    if (precision !== undefined) fail('Precision not allowed in integer format specifier');
    const absolute = number < 0n ? -number : number;
    if (type === 'c') return [String.fromCodePoint(Number(number)), false];
    const base = { b: 2, o: 8, x: 16, X: 16 }[type ?? 'd'] ?? 10;
    if (base !== 10 && group === ',') fail(`Cannot specify ',' with '${type}'.`);
    const digits = base === 10 ? integerRepr(absolute) : absolute.toString(base);
    return [grouping(type === 'X' ? digits.toUpperCase() : digits, base === 10 ? 3 : 4), number < 0n];
  }
  const float = typeof number === 'bigint' ? toFloat(number) : number;
  const absolute = Math.abs(float);
  const negative = float < 0 || Object.is(float, -0);
  if (type !== undefined && !'eEfFgGn%'.includes(type))
    fail(`Unknown format code '${type}' for object of type 'float'`);
  const places = precision === undefined ? 6 : Number(precision);
  if (type === undefined) {
    const text = precision === undefined ? floatRepr(absolute) : floatText(absolute, 'g', places, alternate, true);
    return [grouping(text), negative];
  }
  if (type === '%') return [grouping(`${floatText(absolute * 100, 'f', places, alternate)}%`), negative];
  return [grouping(floatText(absolute, type === 'n' ? 'g' : type, places, alternate)), negative];
}
