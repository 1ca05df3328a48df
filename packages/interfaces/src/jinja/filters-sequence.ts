import { equals, ordered, sorted } from './compare.js';
import { DictView, hashKey, PyDict } from './dict.js';
import { fail, unsupported } from './errors.js';
import { attributeReader, type Filter, filter, lowerCased } from './filter.js';
import { lengthOf } from './length.js';
import { binary, toIndex } from './operators.js';
import { str } from './print.js';
import type { Run } from './run.js';
import { joinTexts } from './text-methods.js';
import {
  type Arguments,
  elements,
  isList,
  listOf,
  Markup,
  type NamedArguments,
  PyGroup,
  PyIterator,
  PyRange,
  PyTuple,
  textOf,
  truthy,
  typeName,
  Undefined,
  type Value,
} from './values.js';

const generator = (source: Generator<Value, void, undefined>) => new PyIterator(source);

/** `reverse` of Python's `sorted`, which is no truth value but a number. */
const isReversed = (reverse: Value): boolean => toIndex(reverse) !== 0;

const caseChange = (caseSensitive: Value) => (truthy(caseSensitive) ? undefined : lowerCased);

/** `reversed(value)` as a list; undefined where Python raises TypeError. */
function reversed(run: Run, value: Value): Value[] | undefined {
  const reversible =
    textOf(value) !== undefined ||
    isList(value) ||
    value instanceof PyTuple ||
    value instanceof PyRange ||
    value instanceof PyDict ||
    value instanceof DictView ||
    value instanceof Undefined;
  return reversible ? listOf(run, value).reverse() : undefined;
}

function reverse(run: Run, value: Value): Value {
  const text = textOf(value);
  if (text !== undefined) {
    run.reserveText(text.length);
    const backwards = Array.from(text).reverse().join('');
    return value instanceof Markup ? new Markup(backwards) : backwards;
  }
  const items = reversed(run, value);
  return items ? new PyIterator(items[Symbol.iterator](), 'list_reverseiterator') : listOf(run, value).reverse();
}

function* map(run: Run, value: Value, args: Arguments, named: NamedArguments): Generator<Value, void, undefined> {
  if (!truthy(value)) return;
  const apply = mapper(args, named);
  for (const item of elements(run, value)) yield apply(run, item);
}

function mapper(args: Arguments, named: NamedArguments): (run: Run, item: Value) => Value {
  if (args.length === 0 && named.has('attribute')) {
    const extra = [...named.keys()].find((name) => name !== 'attribute' && name !== 'default');
    if (extra !== undefined) fail(`Unexpected keyword argument '${extra}'`);
    return attributeReader(named.get('attribute')!, undefined, named.get('default') ?? null);
  }
  const [name, ...rest] = args;
  if (name === undefined) fail('map requires a filter argument');
  return (run, item) => {
    const filterName = textOf(name) ?? fail('map takes the name of a filter');
    const found = run.lookups.filter(filterName) ?? fail(`No filter named '${filterName}'.`);
    return found(run, item, rest, named);
  };
}

function callTest(run: Run, name: Value, subject: Value, args: Arguments, named: NamedArguments): boolean {
  const testName = textOf(name) ?? fail('the name of a test must be text');
  const found = run.lookups.test(testName) ?? fail(`No test named '${testName}'.`);
  return found(run, subject, args, named);
}

function* select(
  run: Run,
  value: Value,
  args: Arguments,
  named: NamedArguments,
  { byAttribute, keep }: { readonly byAttribute: boolean; readonly keep: boolean },
): Generator<Value, void, undefined> {
  if (!truthy(value)) return;
  if (byAttribute && args.length === 0) fail('Missing parameter for attribute name');
  const read = byAttribute ? attributeReader(args[0]!) : (_: Run, item: Value) => item;
  const [name, ...rest] = byAttribute ? args.slice(1) : args;
  for (const item of elements(run, value)) {
    const subject = read(run, item);
    const passes = name === undefined ? truthy(subject) : callTest(run, name, subject, rest, named);
    if (passes === keep) yield item;
  }
}

const selecting =
  (byAttribute: boolean, keep: boolean): Filter =>
  (run, value, args, named) =>
    generator(select(run, value, args, named, { byAttribute, keep }));

function* batch(run: Run, value: Value, count: Value, fill: Value): Generator<Value, void, undefined> {
  let group: Value[] = [];
  const size = toIndex(count);
  for (const item of elements(run, value)) {
    if (group.length === size) {
      yield group;
      group = [];
    }
    group.push(item);
  }
  if (group.length === 0) return;
  if (fill !== null && group.length < size) {
    run.reserveList(size);
    group = [...group, ...new Array<Value>(size - group.length).fill(fill)];
  }
  yield group;
}

function* slices(run: Run, value: Value, count: Value, fill: Value): Generator<Value, void, undefined> {
  const items = listOf(run, value);
  const number = toIndex(count);
  if (number === 0) fail('integer division or modulo by zero');
  const size = Math.floor(items.length / number);
  const extra = items.length - size * number;
  let offset = 0;
  for (let i = 0; i < number; i++) {
    run.spend(1);
    const start = offset + i * size;
    if (i < extra) offset++;
    const part = items.slice(start, offset + (i + 1) * size);
    yield fill !== null && i >= extra ? [...part, fill] : part;
  }
}

function* unique(run: Run, value: Value, caseSensitive: Value, attribute: Value): Generator<Value, void, undefined> {
  const read = attributeReader(attribute, caseChange(caseSensitive));
  const seen = new Set<unknown>();
  for (const item of elements(run, value)) {
    const key = hashKey(run, read(run, item));
    if (!seen.has(key)) {
      seen.add(key);
      yield item;
    }
  }
}

function sort(run: Run, value: Value, reverse: Value, caseSensitive: Value, attribute: Value): Value {
  const names = typeof attribute === 'string' ? attribute.split(',') : [attribute];
  const readers = names.map((name) => attributeReader(name, caseChange(caseSensitive)));
  return sorted(run, listOf(run, value), (item) => readers.map((read) => read(run, item)), isReversed(reverse));
}

function extreme(operator: '<' | '>'): Filter {
  return filter(operator === '<' ? 'min' : 'max', 'case_sensitive?, attribute?', (run, value, args) => {
    const [caseSensitive = false, attribute = null] = args;
    const read = attributeReader(attribute, caseChange(caseSensitive));
    let best: { readonly item: Value; readonly key: Value } | undefined;
    for (const item of elements(run, value)) {
      const key = read(run, item);
      if (!best || ordered(run, operator, key, best.key)) best = { item, key };
    }
    return best ? best.item : new Undefined('No aggregated item, sequence was empty.');
  });
}

function groupBy(run: Run, value: Value, attribute: Value, missing: Value, caseSensitive: Value): Value {
  const read = attributeReader(attribute, caseChange(caseSensitive), missing);
  const plain = attributeReader(attribute, undefined, missing);
  const groups: { readonly key: Value; readonly items: Value[] }[] = [];
  for (const item of sorted(run, listOf(run, value), (one) => read(run, one), false)) {
    const key = read(run, item);
    const last = groups.at(-1);
    if (last && equals(run, last.key, key)) last.items.push(item);
    else groups.push({ key, items: [item] });
  }
  return groups.map(({ key, items }) => new PyGroup([truthy(caseSensitive) ? key : plain(run, items[0]!), items]));
}

function sum(run: Run, value: Value, attribute: Value, start: Value): Value {
  if (textOf(start) !== undefined) fail("sum() can't sum strings [use ''.join(seq) instead]");
  const read = attributeReader(attribute);
  let total = start;
  let floats = 0;
  // Newer versions of Python add floats with compensation; where that matters there is no one right value.
  let compensation = 0;
  for (const item of elements(run, value)) {
    const term = read(run, item);
    const before = total;
    total = binary(run, '+', total, term);
    if (typeof total === 'number') {
      const [a, b] = [Number(before), Number(term)];
      floats++;
      compensation += Math.abs(a) >= Math.abs(b) ? a - total + b : b - total + a;
    }
  }
  if (typeof total === 'number' && floats > 1 && Number.isFinite(compensation) && total + compensation !== total) {
    unsupported(
      'the filter sum of floats that versions of Python round differently; round them, or add them one by one.',
    );
  }
  return total;
}

function dictSort(run: Run, value: Value, caseSensitive: Value, by: Value, reverse: Value): Value {
  if (value instanceof Undefined) value.fail();
  if (by !== 'key' && by !== 'value') fail('You can only sort by either "key" or "value"');
  if (!(value instanceof PyDict)) fail(`the filter dictsort takes a dict, not ${typeName(value)}`);
  const change = caseChange(caseSensitive) ?? ((item: Value) => item);
  const entries = value.orderUnknown === undefined || by === 'value' ? value.entries(run) : [...value.unordered()];
  return sorted(run, entries, (entry) => change(entry[by === 'key' ? 0 : 1]), isReversed(reverse)).map(
    (entry) => new PyTuple(entry),
  );
}

function* items(run: Run, value: Value): Generator<Value, void, undefined> {
  if (value instanceof Undefined) return;
  if (!(value instanceof PyDict)) fail('Can only get item pairs from a mapping.');
  for (const entry of value.entries(run)) yield new PyTuple(entry);
}

export const SEQUENCE_FILTERS: Readonly<Record<string, Filter>> = {
  batch: filter('batch', 'linecount, fill_with?', (run, value, [count, fill = null]) =>
    generator(batch(run, value, count!, fill)),
  ),
  count: filter('count', '', (_, value) => lengthOf(value)),
  dictsort: filter(
    'dictsort',
    'case_sensitive?, by?, reverse?',
    (run, value, [cased = false, by = 'key', reverse = false]) => dictSort(run, value, cased, by, reverse),
  ),
  first: filter('first', '', (run, value) => {
    const { value: first, done } = elements(run, value).next();
    return done ? new Undefined('No first item, sequence was empty.') : (first as Value);
  }),
  groupby: filter(
    'groupby',
    'attribute, default?, case_sensitive?',
    (run, value, [attribute, missing = null, cased = false]) => groupBy(run, value, attribute!, missing, cased),
  ),
  items: filter('items', '', (run, value) => generator(items(run, value))),
  join: filter('join', 'd?, attribute?', (run, value, [separator = '', attribute = null]) => {
    const read = attributeReader(attribute);
    const texts: string[] = [];
    for (const item of elements(run, value)) texts.push(str(run, read(run, item)));
    return joinTexts(run, str(run, separator), texts);
  }),
  last: filter('last', '', (run, value) => {
    const items = reversed(run, value) ?? fail(`'${typeName(value)}' object is not reversible`);
    return items[0] ?? (items.length === 0 ? new Undefined('No last item, sequence was empty.') : null);
  }),
  length: filter('length', '', (_, value) => lengthOf(value)),
  list: filter('list', '', listOf),
  map: (run, value, args, named) => generator(map(run, value, args, named)),
  max: extreme('>'),
  min: extreme('<'),
  reject: selecting(false, false),
  rejectattr: selecting(true, false),
  reverse: filter('reverse', '', reverse),
  select: selecting(false, true),
  selectattr: selecting(true, true),
  slice: filter('slice', 'slices, fill_with?', (run, value, [count, fill = null]) =>
    generator(slices(run, value, count!, fill)),
  ),
  sort: filter(
    'sort',
    'reverse?, case_sensitive?, attribute?',
    (run, value, [backwards = false, cased = false, attribute = null]) => sort(run, value, backwards, cased, attribute),
  ),
  sum: filter('sum', 'attribute?, start?', (run, value, [attribute = null, start = 0n]) =>
    sum(run, value, attribute, start),
  ),
  unique: filter('unique', 'case_sensitive?, attribute?', (run, value, [cased = false, attribute = null]) =>
    generator(unique(run, value, cased, attribute)),
  ),
};
