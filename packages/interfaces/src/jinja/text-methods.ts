import { capitalize, caseFold, swapCase, TEXT_CLASSES, titleCase } from './case.js';
import { fail, unsupported } from './errors.js';
import { escapeHtml } from './html.js';
import { aligned } from './number-format.js';
import { toIndex } from './operators.js';
import { bind, type Parameters, parameters } from './parameters.js';
import { str } from './print.js';
import type { Run } from './run.js';
import { strFormat } from './str-format.js';
import {
  characterCount,
  expandTabs,
  isSpace,
  splitAt,
  splitAtFromRight,
  splitAtSpace,
  splitLines,
  strip,
  substring,
} from './text.js';
import { elements, Markup, PyFunction, PyTuple, textOf, typeName, type Value } from './values.js';

type Bound = readonly (Value | undefined)[];
/** `markup` is true when the text is escaped HTML, which escapes texts that are put into it. */
type Method = readonly [Parameters, (run: Run, self: string, args: Bound, markup: boolean) => Value];

const method = (text: string, body: Method[1]): Method => [parameters(text), body];

/** The method of a text; undefined where `str` has none of that name. */
export function textMethod(self: string | Markup, text: string, name: string): PyFunction | undefined {
  const markup = self instanceof Markup;
  if (name === 'format') {
    if (markup) unsupported('the method format of escaped text.');
    return new PyFunction(name, (run, args, named) => strFormat(run, text, args, named));
  }
  if (REFUSED.has(name) || (markup && (name === 'unescape' || name === 'striptags'))) {
    unsupported(`the method "${name}" of texts.`);
  }
  const found = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined;
  if (!found) return undefined;
  const [wanted, body] = found;
  return new PyFunction(name, (run, args, named) => {
    run.reserveText(text.length);
    const result = body(run, text, bind(`${name}()`, wanted, args, named), markup);
    return markup ? marked(result) : result;
  });
}

const REFUSED = new Set(['encode', 'format_map', 'maketrans', 'translate']);

/** Texts made of escaped text count as escaped. */
function marked(result: Value): Value {
  if (typeof result === 'string') return new Markup(result);
  if (Array.isArray(result)) return result.map(marked);
  return result instanceof PyTuple ? new PyTuple(result.items.map(marked)) : result;
}

function wanted(value: Value | undefined, what: string): string {
  const text = value === undefined ? undefined : textOf(value);
  return text ?? fail(`${what} must be str, not ${typeName(value ?? null)}`);
}

const optional = (value: Value | undefined, what: string) =>
  value === undefined || value === null ? undefined : wanted(value, what);

const integer = (value: Value | undefined, missing: number) => (value === undefined ? missing : toIndex(value));

function stripping(side: 'both' | 'left' | 'right'): Method {
  return method('chars? /', (_, self, [chars]) => strip(self, optional(chars, 'strip arg'), side));
}

function splitting(fromRight: boolean): Method {
  return method('sep?, maxsplit?', (run, self, [separator, limit]) => {
    const at = optional(separator, 'sep');
    const most = integer(limit, -1);
    if (at === '') fail('empty separator');
    const parts =
      at === undefined
        ? splitAtSpace(self, most, fromRight)
        : fromRight
          ? splitAtFromRight(self, at, most)
          : splitAt(self, at, most);
    run.reserveList(parts.length);
    return parts;
  });
}

/** The part of a text that `start` and `end` name, and where it begins in characters; undefined when out of range. */
function range(
  self: string,
  start: Value | undefined,
  end: Value | undefined,
): [part: string, from: number] | undefined {
  const length = characterCount(self);
  const bound = (value: Value | undefined, missing: number) => {
    if (value === undefined || value === null) return missing;
    const at = toIndex(value);
    return at < 0 ? Math.max(0, at + length) : at;
  };
  const [from, to] = [bound(start, 0), Math.min(length, bound(end, length))];
  return from > to ? undefined : [from === 0 && to === length ? self : substring(self, from, to), from];
}

function finding(fromRight: boolean, mustExist: boolean): Method {
  return method('sub, start?, end? /', (_, self, [sub, start, end]) => {
    const part = wanted(sub, 'sub');
    const within = range(self, start, end);
    const at = !within ? -1 : fromRight ? within[0].lastIndexOf(part) : within[0].indexOf(part);
    if (at < 0) return mustExist ? fail('substring not found') : -1n;
    return BigInt(within![1] + characterCount(within![0].slice(0, at)));
  });
}

function affix(name: 'startsWith' | 'endsWith'): Method {
  return method('affix, start?, end? /', (_, self, [given, start, end]) => {
    const options = given instanceof PyTuple ? given.items : [given!];
    const texts = options.map((option) => wanted(option, name === 'startsWith' ? 'startswith arg' : 'endswith arg'));
    const within = range(self, start, end);
    return within !== undefined && texts.some((text) => within[0][name](text));
  });
}

function padding(alignment: '<' | '>' | '^'): Method {
  return method('width, fillchar? /', (run, self, [width, fill], markup) => {
    const filling = fill === undefined ? ' ' : wanted(fill, 'The fill character');
    const escaped = markup && !(fill instanceof Markup) ? escapeHtml(filling) : filling;
    if (characterCount(escaped) !== 1) fail('The fill character must be exactly one character long');
    const wide = toIndex(width!);
    const missing = wide - characterCount(self);
    if (missing <= 0) return self;
    run.reserveText(wide);
    if (alignment !== '^') return aligned(self, wide, escaped, alignment);
    // CPython puts the odd one left when the width is odd.
    const left = Math.floor(missing / 2) + (missing & wide & 1);
    return escaped.repeat(left) + self + escaped.repeat(missing - left);
  });
}

const simple = (change: (self: string) => Value) => method('', (_, self) => change(self));

function parting(fromRight: boolean): Method {
  return method('sep /', (_, self, [sep]) => {
    const separator = wanted(sep, 'sep');
    if (separator === '') fail('empty separator');
    const at = fromRight ? self.lastIndexOf(separator) : self.indexOf(separator);
    if (at < 0) return new PyTuple(fromRight ? ['', '', self] : [self, '', '']);
    return new PyTuple([self.slice(0, at), separator, self.slice(at + separator.length)]);
  });
}

/** `str.replace`; `limit` < 0: all. */
export function replaceText(run: Run, self: string, old: string, replacement: string, limit: number): string {
  const parts = old === '' ? ['', ...self, ''] : self.split(old);
  const times = limit < 0 ? parts.length - 1 : Math.min(limit, parts.length - 1);
  run.reserveText(self.length + times * Math.max(0, replacement.length - old.length));
  return (
    parts.slice(0, times + 1).join(replacement) +
    (times + 1 < parts.length ? old + parts.slice(times + 1).join(old) : '')
  );
}

/** `separator.join(items)`. */
export function joinTexts(run: Run, separator: string, texts: readonly string[]): string {
  run.reserveText(texts.reduce((sum, text) => sum + text.length, separator.length * Math.max(0, texts.length - 1)));
  return texts.join(separator);
}

const METHODS: Readonly<Record<string, Method>> = {
  ...Object.fromEntries(Object.entries(TEXT_CLASSES).map(([name, test]) => [name, simple(test)])),
  isspace: simple(isSpace),
  capitalize: simple(capitalize),
  casefold: simple(caseFold),
  lower: simple((self) => self.toLowerCase()),
  upper: simple((self) => self.toUpperCase()),
  swapcase: simple(swapCase),
  title: simple(titleCase),
  strip: stripping('both'),
  lstrip: stripping('left'),
  rstrip: stripping('right'),
  split: splitting(false),
  rsplit: splitting(true),
  splitlines: method('keepends?', (_, self, [keep = false]) => splitLines(self, toIndex(keep) !== 0)),
  find: finding(false, false),
  rfind: finding(true, false),
  index: finding(false, true),
  rindex: finding(true, true),
  startswith: affix('startsWith'),
  endswith: affix('endsWith'),
  center: padding('^'),
  ljust: padding('<'),
  rjust: padding('>'),
  zfill: method('width /', (run, self, [width]) => {
    const wide = toIndex(width!);
    run.reserveText(Math.max(0, wide));
    return aligned(self, wide, '0', '=', /^[+-]/.test(self) ? 1 : 0);
  }),
  expandtabs: method('tabsize?', (run, self, [size]) => {
    const width = integer(size, 8);
    run.reserveText(self.length * Math.max(1, self.includes('\t') ? width : 1));
    return expandTabs(self, width);
  }),
  partition: parting(false),
  rpartition: parting(true),
  count: method('sub, start?, end? /', (_, self, [sub, start, end]) => {
    const part = wanted(sub, 'sub');
    const within = range(self, start, end);
    if (!within) return 0n;
    return BigInt(part === '' ? characterCount(within[0]) + 1 : within[0].split(part).length - 1);
  }),
  replace: method('old, new, count? /', (run, self, [old, replacement, limit], markup) => {
    const text = wanted(replacement, 'replace() argument 2');
    const put = markup && !(replacement instanceof Markup) ? escapeHtml(text) : text;
    return replaceText(run, self, wanted(old, 'replace() argument 1'), put, integer(limit, -1));
  }),
  removeprefix: method('prefix /', (_, self, [prefix]) => {
    const text = wanted(prefix, 'removeprefix() argument');
    return self.startsWith(text) ? self.slice(text.length) : self;
  }),
  removesuffix: method('suffix /', (_, self, [suffix]) => {
    const text = wanted(suffix, 'removesuffix() argument');
    return text !== '' && self.endsWith(text) ? self.slice(0, -text.length) : self;
  }),
  join: method('iterable /', (run, self, [iterable], markup) => {
    const texts: string[] = [];
    for (const item of elements(run, iterable!)) {
      const text = textOf(item) ?? (markup ? str(run, item) : undefined);
      if (text === undefined) fail(`sequence item ${texts.length}: expected str instance, ${typeName(item)} found`);
      texts.push(markup && !(item instanceof Markup) ? escapeHtml(text) : text);
    }
    return joinTexts(run, self, texts);
  }),
};
