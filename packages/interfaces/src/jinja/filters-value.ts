import { getAttributeOnly } from './attributes.js';
import { numeric, sorted } from './compare.js';
import { PyDict } from './dict.js';
import { fail, unsupported } from './errors.js';
import { type Filter, filter } from './filter.js';
import {
  fixedDigits,
  integerRepr,
  parseFloatText,
  parseInteger,
  roundFloat,
  roundInteger,
  toFloat,
} from './numbers.js';
import { binary, toIndex } from './operators.js';
import { repr } from './print.js';
import type { Run } from './run.js';
import { characterCount, strip } from './text.js';
import { toJson } from './tojson.js';
import { isList, PyTuple, textOf, truthy, typeName, Undefined, type Value } from './values.js';

function stripped(text: string): string {
  const plain = strip(text, undefined, 'both');
  if (/[^\0-\x7f]/.test(plain) && /\p{Nd}/u.test(plain)) unsupported('numbers written with other digits than 0 to 9.');
  return plain;
}

/** `int(value)` of a float; undefined where Python raises ValueError. */
function truncated(value: number): bigint | undefined {
  if (Number.isNaN(value)) return undefined;
  return Number.isFinite(value) ? BigInt(Math.trunc(value)) : undefined;
}

function toInteger(value: Value, missing: Value, base: Value): Value {
  if (value instanceof Undefined) value.fail();
  const text = textOf(value);
  if (text !== undefined) {
    const radix = toIndex(base);
    if (radix !== 0 && (radix < 2 || radix > 36)) return missing;
    const plain = stripped(text);
    const whole = parseInteger(plain, radix);
    if (whole !== undefined) return whole;
    const float = parseFloatText(plain);
    return float === undefined ? missing : (truncated(float) ?? missing);
  }
  const number = numeric(value);
  if (typeof number !== 'number') return number ?? missing;
  if (number === Number.POSITIVE_INFINITY || number === Number.NEGATIVE_INFINITY) {
    fail('cannot convert float infinity to integer');
  }
  return truncated(number) ?? missing;
}

function toFloatValue(value: Value, missing: Value): Value {
  if (value instanceof Undefined) value.fail();
  const text = textOf(value);
  if (text !== undefined) return parseFloatText(stripped(text)) ?? missing;
  const number = numeric(value);
  return typeof number === 'bigint' ? toFloat(number) : (number ?? missing);
}

function round(run: Run, value: Value, precision: Value, method: Value): Value {
  if (method !== 'common' && method !== 'ceil' && method !== 'floor') fail('method must be common, ceil or floor');
  if (value instanceof Undefined) value.fail();
  const number = numeric(value);
  if (number === undefined) return fail(`type ${typeName(value)} doesn't define __round__ method`);
  if (method === 'common') {
    if (precision === null)
      return typeof number === 'bigint' ? number : (truncated(roundFloat(number, 0)) ?? fail('cannot round'));
    const places = toIndex(precision);
    return typeof number === 'bigint' ? roundInteger(number, places) : roundFloat(number, places);
  }
  const unit = binary(run, '**', 10n, precision);
  const scaled = binary(run, '*', number, unit);
  if (typeof scaled === 'bigint') return binary(run, '/', scaled, unit);
  if (!Number.isFinite(scaled as number)) fail('cannot convert float infinity or NaN to integer');
  return binary(run, '/', BigInt(Math[method](scaled as number)), unit);
}

function fileSize(value: Value, isBinary: boolean): string {
  const bytes = toFloatValue(value, null);
  if (typeof bytes !== 'number') return fail(`the filter filesizeformat takes a number, not ${typeName(value)}`);
  const base = isBinary ? 1024 : 1000;
  if (bytes === 1) return '1 Byte';
  if (bytes < base) return `${integerRepr(truncated(bytes) ?? fail('cannot convert float infinity to integer'))} Bytes`;
  const prefixes = 'KMGTPEZY';
  for (let i = 0; i < prefixes.length; i++) {
    const unit = base ** (i + 2);
    if (bytes < unit || i === prefixes.length - 1) {
      const size = (base * bytes) / unit;
      const text = Number.isFinite(size) ? fixedDigits(size, 1) : Number.isNaN(size) ? 'nan' : 'inf';
      const prefix = isBinary ? `${prefixes[i]}i` : i === 0 ? 'k' : prefixes[i];
      return `${text} ${prefix}B`;
    }
  }
  return '';
}

/** The value with the keys of its dicts sorted, as `pprint` shows it. */
function withSortedKeys(run: Run, value: Value): Value {
  return run.nested(3, () => {
    if (isList(value)) return value.map((item) => withSortedKeys(run, item));
    if (value instanceof PyTuple) return new PyTuple(value.items.map((item) => withSortedKeys(run, item)));
    if (!(value instanceof PyDict)) return value;
    const entries = [...value.unordered()].map(([key, item]) => [key, withSortedKeys(run, item)] as const);
    return PyDict.of(
      run,
      sorted(run, entries, ([key]) => key, false),
    );
  });
}

function prettyPrint(run: Run, value: Value): string {
  const text = repr(run, withSortedKeys(run, value));
  return characterCount(text) <= 80
    ? text
    : unsupported('the filter pprint of what does not fit a line of 80 characters; use tojson(indent=2).');
}

function jsonIndent(run: Run, indent: Value): string | undefined {
  if (indent === null) return undefined;
  const text = textOf(indent);
  if (text !== undefined) return text;
  const width = Math.max(0, toIndex(indent));
  run.reserveText(width);
  return ' '.repeat(width);
}

function separatorsOf(value: Value, indent: Value): [item: string, key: string] {
  if (value === null) return [indent === null ? ', ' : ',', ': '];
  const parts = isList(value) ? value : value instanceof PyTuple ? value.items : [];
  const [item, key] = parts.map(textOf);
  if (parts.length !== 2 || item === undefined || key === undefined) fail('tojson: separators must be two texts');
  return [item, key];
}

const toJsonFilter = filter('tojson', 'ensure_ascii?, indent?, separators?, sort_keys?', (run, value, args) => {
  const [ensureAscii = false, indent = null, separators = null, sortKeys = false] = args;
  const [itemSeparator, keySeparator] = separatorsOf(separators, indent);
  return toJson(run, value, {
    ensureAscii: truthy(ensureAscii),
    indent: jsonIndent(run, indent),
    itemSeparator,
    keySeparator,
    sortKeys: truthy(sortKeys),
  });
});

const useDefault = (name: string) =>
  filter(name, 'default_value?, boolean?', (_, value, [missing = '', boolean = false]) =>
    value instanceof Undefined || (truthy(boolean) && !truthy(value)) ? missing : value,
  );

export const VALUE_FILTERS: Readonly<Record<string, Filter>> = {
  abs: filter('abs', '', (_, value) => {
    if (value instanceof Undefined) value.fail();
    const number = numeric(value) ?? fail(`bad operand type for abs(): '${typeName(value)}'`);
    return typeof number === 'number' ? Math.abs(number) : number < 0n ? -number : number;
  }),
  attr: filter('attr', 'name', (run, value, [name]) =>
    getAttributeOnly(run, value, textOf(name!) ?? fail('the filter attr takes a name')),
  ),
  d: useDefault('d'),
  default: useDefault('default'),
  filesizeformat: filter('filesizeformat', 'binary?', (_, value, [isBinary = false]) =>
    fileSize(value, truthy(isBinary)),
  ),
  float: filter('float', 'default?', (_, value, [missing = 0]) => toFloatValue(value, missing)),
  int: filter('int', 'default?, base?', (_, value, [missing = 0n, base = 10n]) => toInteger(value, missing, base)),
  pprint: filter('pprint', '', prettyPrint),
  random: () => unsupported('the filter random: a prompt must be the same each time.'),
  round: filter('round', 'precision?, method?', (run, value, [precision = 0n, method = 'common']) =>
    round(run, value, precision, method),
  ),
  tojson: toJsonFilter,
};
