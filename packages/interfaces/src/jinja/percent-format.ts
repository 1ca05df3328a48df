import { numeric } from './compare.js';
import { PyDict } from './dict.js';
import { fail, unsupported } from './errors.js';
import { aligned, floatText } from './number-format.js';
import { integerRepr, toFloat } from './numbers.js';
import { repr, str } from './print.js';
import type { Run } from './run.js';
import { characters, substring } from './text.js';
import { isList, Markup, orElse, PyTuple, textOf, typeName, Undefined, type Value } from './values.js';

const SPECIFIER = /%(?:\(([^()]*)\))?([-#0 +]*)(\*|\d*)(?:\.(\*|\d*))?[hlL]?(.?)/gsu;

/**
 * `format % values` of Python.
 *
 * @param escaped applied to every text put in, for formats that count as escaped HTML
 */
export function percentFormat(run: Run, format: string, values: Value, escaped = (text: string) => text): string {
  const tuple = values instanceof PyTuple ? values.items : undefined;
  let next = 0;
  let named = false;
  const take = (): Value => {
    if (tuple ? next >= tuple.length : next > 0) fail('not enough arguments for format string');
    next++;
    return tuple ? tuple[next - 1]! : values;
  };
  let length = 0;
  const result = format.replace(
    SPECIFIER,
    (
      _: string,
      name: string | undefined,
      flags: string,
      width: string,
      precision: string | undefined,
      type: string,
    ) => {
      if (type === '') fail('incomplete format');
      if (type === '%') return '%';
      const flag = (character: string) => flags.includes(character);
      const wide = width === '*' ? star(take()) : Number(width);
      const precise =
        precision === undefined ? undefined : precision === '*' ? Math.max(0, star(take())) : Number(precision);
      let value: Value;
      if (name === undefined) value = take();
      else {
        if (!(values instanceof PyDict)) fail('format requires a mapping');
        named = true;
        value = orElse(values.get(run, name), () => fail(`the dict has no key '${name}'`));
      }
      run.reserveText(Math.abs(wide) + (precise ?? 0));
      const [body, lead] = converted(run, type, value, flags, precise, escaped);
      const numberType = !'srac'.includes(type);
      const left = flag('-') || wide < 0;
      const text = aligned(
        body,
        Math.abs(wide),
        numberType && flag('0') && !left ? '0' : ' ',
        left ? '<' : numberType && flag('0') ? '=' : '>',
        lead,
      );
      length += text.length;
      run.reserveText(length);
      return text;
    },
  );
  // Whatever can be subscribed may be a mapping nobody asked, and so may stay unused.
  const mayStay = values instanceof PyDict || isList(values) || values instanceof Undefined;
  if (!named && (tuple ? next < tuple.length : next === 0 && !mayStay)) {
    fail('not all arguments converted during string formatting');
  }
  return run.text(result);
}

function star(value: Value): number {
  if (typeof value !== 'bigint') fail('* wants int');
  if (value > 1_000_000_000n || value < -1_000_000_000n) fail('width too big');
  return Number(value);
}

/** The text of a value, and how many of its characters are its sign and prefix. */
function converted(
  run: Run,
  type: string,
  value: Value,
  flags: string,
  precision: number | undefined,
  escaped: (text: string) => string,
): [text: string, lead: number] {
  if (type === 's' || type === 'r') {
    const safe = type === 's' && value instanceof Markup;
    const text = safe ? value.value : escaped(type === 'r' ? repr(run, value) : str(run, value));
    return [precision === undefined ? text : substring(text, 0, Math.min(precision, text.length)), 0];
  }
  if (type === 'a') return unsupported('the format %a; use %r.');
  if (type === 'c') return [character(value), 0];
  const sign = (negative: boolean) => (negative ? '-' : flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : '');
  const number = numeric(value);
  const alternate = flags.includes('#');
  if ('diuoxX'.includes(type)) {
    if (number === undefined || (typeof number === 'number' && 'oxX'.includes(type))) {
      if (value instanceof Undefined) value.fail();
      fail(
        `%${type} format: ${'oxX'.includes(type) ? 'an integer' : 'a real number'} is required, not ${typeName(value)}`,
      );
    }
    if (typeof number === 'number' && !Number.isFinite(number))
      fail('cannot convert a float infinity or nan to integer');
    const whole = typeof number === 'bigint' ? number : BigInt(Math.trunc(number));
    const base = { o: 8, x: 16, X: 16 }[type] ?? 10;
    const absolute = whole < 0n ? -whole : whole;
    const plain = base === 10 ? integerRepr(absolute) : absolute.toString(base);
    const digits = plain.padStart(precision ?? 0, '0');
    const lead = sign(whole < 0n) + (alternate && base !== 10 ? (base === 8 ? '0o' : `0${type}`) : '');
    return [lead + (type === 'X' ? digits.toUpperCase() : digits), lead.length];
  }
  if ('eEfFgG'.includes(type)) {
    if (number === undefined) {
      if (value instanceof Undefined) value.fail();
      fail(`must be real number, not ${typeName(value)}`);
    }
    const float = typeof number === 'bigint' ? toFloat(number) : number;
    const lead = sign(float < 0 || Object.is(float, -0));
    return [lead + floatText(Math.abs(float), type, precision ?? 6, alternate), lead.length];
  }
  return fail(`unsupported format character '${type}'`);
}

function character(value: Value): string {
  const text = textOf(value);
  if (text !== undefined) {
    if (characters(text).length === 1) return text;
  } else if (typeof value === 'bigint') {
    if (value >= 0n && value < 0x110000n) return String.fromCodePoint(Number(value));
    fail('%c arg not in range(0x110000)');
  }
  return fail('%c requires int or char');
}
