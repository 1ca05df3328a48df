import { sorted } from './compare.js';
import { PyDict } from './dict.js';
import { fail } from './errors.js';
import { floatRepr, integerRepr } from './numbers.js';
import type { Run } from './run.js';
import { isList, PyTuple, textOf, typeName, type Value } from './values.js';

export interface JsonOptions {
  readonly ensureAscii: boolean;
  /** Undefined: on one line. */
  readonly indent: string | undefined;
  readonly itemSeparator: string;
  readonly keySeparator: string;
  readonly sortKeys: boolean;
}

/** `json.dumps`, which is what `transformers` makes of the filter `tojson`: nothing is escaped for HTML. */
export function toJson(run: Run, value: Value, options: JsonOptions): string {
  return run.text(written(run, value, options, '\n'));
}

function written(run: Run, value: Value, options: JsonOptions, newline: string): string {
  run.spend(1);
  const text = textOf(value);
  if (text !== undefined) return quoted(run, text, options.ensureAscii);
  if (isList(value) || value instanceof PyTuple) {
    const items = isList(value) ? value : value.items;
    return enclosed('[', ']', options, newline, items.length, (inner) =>
      run.nested(3, () => items.map((item) => written(run, item, options, inner))),
    );
  }
  if (value instanceof PyDict) {
    const entries = value.size > 1 && options.sortKeys ? [...value.unordered()] : value.entries(run);
    const ordered = options.sortKeys ? sorted(run, entries, ([key]) => key, false) : entries;
    return enclosed('{', '}', options, newline, ordered.length, (inner) =>
      run.nested(3, () =>
        ordered.map(([key, item]) => {
          const name =
            textOf(key) ?? scalar(key) ?? fail(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
          return quoted(run, name, options.ensureAscii) + options.keySeparator + written(run, item, options, inner);
        }),
      ),
    );
  }
  return scalar(value) ?? fail(`Object of type ${typeName(value)} is not JSON serializable`);
}

function scalar(value: Value): string | undefined {
  if (value === null) return 'null';
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'bigint') return integerRepr(value);
  if (typeof value !== 'number') return undefined;
  if (Number.isNaN(value)) return 'NaN';
  return Number.isFinite(value) ? floatRepr(value) : value > 0 ? 'Infinity' : '-Infinity';
}

function enclosed(
  open: string,
  close: string,
  { indent, itemSeparator }: JsonOptions,
  newline: string,
  count: number,
  items: (newline: string) => string[],
): string {
  if (count === 0) return open + close;
  if (indent === undefined) return open + items(newline).join(itemSeparator) + close;
  const inner = newline + indent;
  return open + inner + items(inner).join(itemSeparator + inner) + newline + close;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what JSON escapes.
const ESCAPED = /["\\\x00-\x1f]/g;

function quoted(run: Run, text: string, ensureAscii: boolean): string {
  run.reserveText(text.length);
  const plain = `"${text.replace(ESCAPED, (character) => JSON.stringify(character).slice(1, -1))}"`;
  if (!ensureAscii) return plain;
  return plain.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
