import { capitalize } from './case.js';
import { PyDict } from './dict.js';
import { fail, unsupported } from './errors.js';
import { type Filter, filter, sameKind, softText } from './filter.js';
import { escapeHtml, quoteUrl, stripTags } from './html.js';
import { lengthOf } from './length.js';
import { toIndex } from './operators.js';
import { percentFormat } from './percent-format.js';
import { str } from './print.js';
import type { Run } from './run.js';
import { characterCount, SPACE_CLASS, splitAtFromRight, splitLines, strip, substring } from './text.js';
import { replaceText, textMethod } from './text-methods.js';
import {
  elements,
  iterate,
  listOf,
  Markup,
  NO_NAMED,
  PyTuple,
  textOf,
  truthy,
  typeName,
  Undefined,
  type Value,
} from './values.js';

const changing = (name: string, change: (text: string) => string): Filter =>
  filter(name, '', (run, value) => {
    const [text, markup] = softText(run, value);
    return sameKind(run.text(change(text)), markup);
  });

/** Text, or an error: these filters do not print other values. */
function needText(name: string, value: Value): string {
  if (value instanceof Undefined) value.fail();
  return textOf(value) ?? fail(`the filter ${name} takes text, not ${typeName(value)}`);
}

const escaped = (run: Run, value: Value): Value =>
  value instanceof Markup ? value : new Markup(run.text(escapeHtml(str(run, value))));

const WORD_BEGINNINGS = new RegExp(`([-${SPACE_CLASS}({\\[<]+)`);

function title(text: string): string {
  return text
    .split(WORD_BEGINNINGS)
    .map((part) => {
      const [first = ''] = part;
      return first.toUpperCase() + part.slice(first.length).toLowerCase();
    })
    .join('');
}

function indent(run: Run, value: Value, width: Value, first: boolean, blank: boolean): Value {
  const text = needText('indent', value);
  const by = textOf(width);
  const count = by === undefined ? Math.max(0, toIndex(width)) : 0;
  run.reserveText(count);
  const indentation = by ?? ' '.repeat(count);
  const lines = splitLines(`${text}\n`, false);
  run.reserveText(text.length + lines.length * indentation.length);
  const indented = lines.map((line, i) => (i === 0 || (line === '' && !blank) ? line : indentation + line));
  return sameKind((first ? indentation : '') + indented.join('\n'), value instanceof Markup);
}

function truncate(run: Run, value: Value, length: number, killWords: boolean, end: string, leeway: number): Value {
  if (length < characterCount(end)) fail(`the filter truncate needs a length of at least ${characterCount(end)}`);
  if (leeway < 0) fail('the filter truncate needs a leeway of at least 0');
  // Whatever has a length and is short enough stays as it is.
  if (lengthOf(value) <= length + leeway) return value;
  const text = needText('truncate', value);
  run.reserveText(text.length);
  const cut = substring(text, 0, length - characterCount(end));
  const kept = killWords ? cut : splitAtFromRight(cut, ' ', 1)[0]!;
  return value instanceof Markup ? new Markup(kept + escapeHtml(end)) : kept + end;
}

/** One paragraph, wrapped as Python's `textwrap` does. */
function wrapped(text: string, width: number, breakLong: boolean, hyphens: boolean): string[] {
  if (hyphens && text.includes('-'))
    unsupported('the filter wordwrap of text with hyphens; give break_on_hyphens=false.');
  const chunks: string[] = text.match(/[\t\n\v\f\r ]+|[^\t\n\v\f\r ]+/g) ?? [];
  const isBlank = (chunk: string) => /^[\t\n\v\f\r ]/.test(chunk);
  chunks.reverse();
  const lines: string[] = [];
  while (chunks.length > 0) {
    if (isBlank(chunks.at(-1)!) && lines.length > 0) chunks.pop();
    let [line, size] = ['', 0];
    while (chunks.length > 0 && size + characterCount(chunks.at(-1)!) <= width) {
      const chunk = chunks.pop()!;
      line += chunk;
      size += characterCount(chunk);
    }
    if (chunks.length > 0 && characterCount(chunks.at(-1)!) > width) {
      const space = width < 1 ? 1 : width - size;
      if (breakLong) {
        const chunk = chunks.pop()!;
        line += substring(chunk, 0, space);
        chunks.push(substring(chunk, space, characterCount(chunk)));
      } else if (line === '') line = chunks.pop()!;
    }
    line = line.replace(/[\t\n\v\f\r ]+$/, '');
    if (line !== '') lines.push(line);
  }
  return lines;
}

function wordWrap(run: Run, value: Value, args: readonly (Value | undefined)[]): Value {
  const [width = 79n, breakLong = true, wrapString = null, hyphens = true] = args;
  const text = needText('wordwrap', value);
  const wide = toIndex(width);
  if (wide <= 0) fail(`invalid width ${wide} (must be > 0)`);
  const newline = wrapString === null ? '\n' : needText('wordwrap', wrapString);
  run.reserveText(text.length * 4);
  const lines = splitLines(text, false).map((line) =>
    wrapped(line, wide, truthy(breakLong), truthy(hyphens)).join(newline),
  );
  return run.text(lines.join(newline));
}

function urlEncode(run: Run, value: Value): Value {
  if (textOf(value) !== undefined || !iterate(run, value)) return run.text(quoteUrl(str(run, value), false));
  const pairs =
    value instanceof PyDict ? value.entries(run) : [...elements(run, value)].map((pair) => listOf(run, pair));
  return run.text(
    pairs
      .map((pair) => {
        if (pair.length !== 2) fail('the filter urlencode takes a dict or pairs');
        return pair.map((part) => quoteUrl(str(run, part), true)).join('=');
      })
      .join('&'),
  );
}

function xmlAttributes(run: Run, value: Value, autoSpace: boolean): Value {
  if (value instanceof Undefined) value.fail();
  if (!(value instanceof PyDict)) fail(`the filter xmlattr takes a dict, not ${typeName(value)}`);
  const attributes = value.entries(run).flatMap(([key, item]) => {
    if (item === null || item instanceof Undefined) return [];
    const name = textOf(key) ?? fail('the filter xmlattr takes keys that are texts');
    if (/[ \t\n\r\f\v/>=]/.test(name)) fail(`Invalid character in attribute name: '${name}'`);
    return [`${key instanceof Markup ? name : escapeHtml(name)}="${str(run, escaped(run, item))}"`];
  });
  const text = run.text(attributes.join(' '));
  return autoSpace && text !== '' ? ` ${text}` : text;
}

export const TEXT_FILTERS: Readonly<Record<string, Filter>> = {
  capitalize: changing('capitalize', capitalize),
  center: filter('center', 'width?', (run, value, [width = 80n]) => {
    const [text, markup] = softText(run, value);
    return textMethod(sameKind(text, markup) as string, text, 'center')!.call(run, [width], NO_NAMED);
  }),
  e: filter('e', '', escaped),
  escape: filter('escape', '', escaped),
  forceescape: filter('forceescape', '', (run, value) => new Markup(run.text(escapeHtml(str(run, value))))),
  format: (run, value, args, named) => {
    if (args.length > 0 && named.size > 0) fail("can't handle positional and keyword arguments at the same time");
    const [text, markup] = softText(run, value);
    const values = named.size > 0 ? PyDict.of(run, named) : new PyTuple(args);
    if (markup) unsupported('the filter format of escaped text.');
    return percentFormat(run, text, values);
  },
  indent: filter('indent', 'width?, first?, blank?', (run, value, [width = 4n, first = false, blank = false]) =>
    indent(run, value, width, truthy(first), truthy(blank)),
  ),
  lower: changing('lower', (text) => text.toLowerCase()),
  replace: filter('replace', 'old, new, count?', (run, value, [old, replacement, count = null]) =>
    replaceText(run, str(run, value), str(run, old!), str(run, replacement!), count === null ? -1 : toIndex(count)),
  ),
  safe: filter('safe', '', (run, value) => (value instanceof Markup ? value : new Markup(str(run, value)))),
  string: filter('string', '', (run, value) => (value instanceof Markup ? value : str(run, value))),
  striptags: filter('striptags', '', (run, value) => run.text(stripTags(str(run, value)))),
  title: filter('title', '', (run, value) => run.text(title(softText(run, value)[0]))),
  trim: filter('trim', 'chars?', (run, value, [chars = null]) => {
    const [text, markup] = softText(run, value);
    return sameKind(strip(text, chars === null ? undefined : needText('trim', chars), 'both'), markup);
  }),
  truncate: filter(
    'truncate',
    'length?, killwords?, end?, leeway?',
    (run, value, [length = 255n, killWords = false, end = '...', leeway = null]) =>
      truncate(
        run,
        value,
        toIndex(length),
        truthy(killWords),
        needText('truncate', end),
        leeway === null ? 5 : toIndex(leeway),
      ),
  ),
  upper: changing('upper', (text) => text.toUpperCase()),
  urlencode: filter('urlencode', '', urlEncode),
  urlize: () => unsupported('the filter urlize, which makes HTML links; a prompt has none.'),
  wordcount: filter('wordcount', '', (run, value) =>
    BigInt(softText(run, value)[0].match(/[\p{L}\p{N}_]+/gu)?.length ?? 0),
  ),
  wordwrap: filter('wordwrap', 'width?, break_long_words?, wrapstring?, break_on_hyphens?', wordWrap),
  xmlattr: filter('xmlattr', 'autospace?', (run, value, [autoSpace = true]) =>
    xmlAttributes(run, value, truthy(autoSpace)),
  ),
};
