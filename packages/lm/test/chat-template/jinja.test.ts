import { JinjaError, parseJsonText, Template } from '@posttrain/interfaces/jinja';
import { describe, expect, it } from 'vitest';
import { fuzz } from '../../../../testing/fuzz.js';
import { dictionary } from './fuzz-targets.js';

const now = new Date(2026, 0, 5, 15, 4, 9);
const render = (template: string, variables: Readonly<Record<string, unknown>> = {}) =>
  new Template(template).render(variables, { now });

function failure(template: string, variables?: Readonly<Record<string, unknown>>): JinjaError {
  try {
    render(template, variables);
  } catch (error) {
    expect(error).toBeInstanceOf(JinjaError);
    return error as JinjaError;
  }
  throw new Error(`rendered: ${template}`);
}

describe('a template ends within its bounds', () => {
  it.each([
    ['a macro that calls itself', '{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}'],
    [
      'a macro that calls itself deep in its body',
      `{% macro f() %}${'{% if 1 %}'.repeat(50)}{{ ${'['.repeat(90)}f()${']'.repeat(90)} }}${'{% endif %}'.repeat(50)}{% endmacro %}{{ f() }}`,
    ],
    ['a macro that calls itself by its caller', '{% macro f() %}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}'],
    [
      'a macro that calls itself for its parameter',
      `{% macro f(x=${'['.repeat(140)}f()${']'.repeat(140)}) %}{% endmacro %}{{ f() }}`,
    ],
    [
      'iterators of iterators',
      "{% set ns = namespace(s=[1]) %}{% for i in range(20000) %}{% set ns.s = ns.s|map('string') %}{% endfor %}{{ ns.s|list }}",
    ],
    ['a recursive loop without end', '{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}'],
    ['nested tags', `${'{% if 1 %}'.repeat(20_000)}x${'{% endif %}'.repeat(20_000)}`],
    ['nested parentheses', `{{ ${'('.repeat(50_000)}1${')'.repeat(50_000)} }}`],
    ['nested lists', `{{ ${'['.repeat(50_000)}1${']'.repeat(50_000)} }}`],
    ['a chain of not', `{{ ${'not '.repeat(50_000)}1 }}`],
    ['a chain of minus', `{{ ${'-'.repeat(50_000)}1 }}`],
    ['a long sum', `{{ 1${'+1'.repeat(50_000)} }}`],
    ['a long chain of filters', `{{ 1${'|string'.repeat(50_000)} }}`],
    ['a long chain of attributes', `{{ x${'.x'.repeat(50_000)} }}`],
    ['a long chain of ternaries', `{{ 1${' if 0 else 1'.repeat(50_000)} }}`],
    ['nested loops', `${'{% for a in range(100000) %}'.repeat(3)}${'{% endfor %}'.repeat(3)}`],
    ['an empty body run for ever', '{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}'],
    [
      'text doubled',
      "{% set ns = namespace(s='ab') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    ],
    [
      'a list doubled',
      '{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}',
    ],
    ['plain text repeated', `{% for i in range(100000) %}${'x'.repeat(1000)}{% endfor %}`],
    ['text repeated', "{{ 'a' * 1000000000000 }}"],
    ['a list repeated', '{{ [1] * 1000000000000 }}'],
    ['text replaced by more', "{{ ('a' * 1000000)|replace('a', 'b' * 1000000) }}"],
    ['text joined', "{{ ('b' * 1000000).join('a' * 1000000) }}"],
    ['a width', "{{ 'a'.center(10000000000) }}"],
    ['a width of a format', "{{ '%1000000000d' % 1 }}"],
    ['a width of str.format', "{{ '{:1000000000}'.format(1) }}"],
    ['decimals of a format', "{{ '%.1000000f' % 1.5 }}"],
    ['an indentation', "{{ ('\\n' * 100000)|indent(100000) }}"],
    ['an indentation of JSON', '{{ [1]|tojson(indent=10000000000) }}'],
    ['a power', '{{ 10 ** 100000000 }}'],
    ['a product', '{% set ns = namespace(n=9) %}{% for i in range(40) %}{% set ns.n = ns.n * ns.n %}{% endfor %}'],
    [
      'a list that holds itself twice, printed',
      '{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}',
    ],
    [
      'a list that holds itself twice, compared',
      '{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}',
    ],
    [
      'a list in a list in a list',
      '{% set ns = namespace(s=[1]) %}{% for i in range(90000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s|tojson }}',
    ],
    ['filling a batch', '{{ [1]|batch(10000000000, 0)|list }}'],
    ['slicing into many', '{{ [1]|slice(10000000000)|list }}'],
  ])('%s', (_, template) => {
    const { kind, message } = failure(template);
    expect(['limit', 'runtime']).toContain(kind);
    // The bound has to come before the end of the stack.
    expect(message).not.toMatch(/what is left of the stack/);
  });

  it('and what it was given from outside: nesting, cycles and length', () => {
    let deep: unknown = 1;
    for (let i = 0; i < 10_000; i++) deep = [deep];
    expect(failure('{{ x }}', { x: deep }).kind).toBe('limit');
    const cycle: unknown[] = [];
    cycle.push(cycle);
    expect(failure('{{ x }}', { x: cycle }).kind).toBe('limit');
    expect(failure('x'.repeat(3_000_000)).kind).toBe('limit');
    expect(render(`${' '.repeat(200_000)}x`)).toHaveLength(200_001);
    expect(failure('{% generation'.repeat(20_000)).kind).toBe('syntax');
    expect(failure('{#'.repeat(200_000)).kind).toBe('syntax');
    expect(render('{{ x }}', { x: 'y'.repeat(4_000_000) })).toHaveLength(4_000_000);
  });

  it('so does every damaged template', async () => {
    const module = new URL('./fuzz-targets.ts', import.meta.url);
    const report = await fuzz({ module, target: 'chatTemplate', kind: 'text', count: 200, dictionary });
    expect(report.faults).toEqual([]);
    expect(report.accepted + report.refused).toBe(200);
  }, 300_000);
});

describe('no way out of the template', () => {
  it.each([
    "{{ ''.constructor.constructor('return process')() }}",
    "{{ range.constructor('return process')() }}",
    "{{ messages|map(attribute='constructor.constructor')|list }}",
    "{% set x = namespace() %}{% set x.__proto__ = {'polluted': 1} %}",
    '{% set x = namespace(__proto__=1) %}',
    "{{ ''.__class__.__mro__ }}",
    '{{ messages.__class__.__init__.__globals__ }}',
    "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "{{ (messages|attr('__class__')).x }}",
    '{{ [].append(1) }}',
    "{{ {}.update({'a': 1}) }}",
    '{{ nope.constructor }}',
    '{{ x|constructor }}',
    '{{ x is constructor }}',
    '{% constructor %}',
    "{{ strftime_now.constructor('return 1')() }}",
  ])('%s', (template) => {
    expect(['runtime', 'syntax']).toContain(failure(template, { messages: [{ role: 'user' }] }).kind);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it('nothing of JavaScript is seen, and keys are only keys', () => {
    const names = ['constructor', '__proto__', 'prototype', 'toString', 'valueOf', 'hasOwnProperty', 'length', 'then'];
    for (const name of names) {
      expect(
        render(`{{ x.${name} }}|{{ x['${name}'] }}|{{ l.${name} }}|{{ t.${name} }}`, { x: {}, l: [1], t: 'a' }),
        name,
      ).toBe('|||');
      expect(failure(`{{ ${name} }}{{ ${name}.x }}`).kind, name).toBe('runtime');
    }
    const own = JSON.parse('{"__proto__": {"a": 1}, "constructor": 2}') as Record<string, unknown>;
    expect(render("{{ x['__proto__'] }}{{ x.constructor }}{{ x|tojson }}", { x: own })).toBe(
      '{\'a\': 1}2{"__proto__": {"a": 1}, "constructor": 2}',
    );
    expect(failure('{{ x.__proto__ }}', { x: own }).kind).toBe('unsupported');
  });
});

it('what is not carried over is refused by name and line', () => {
  const refused: readonly (readonly [string, RegExp])[] = [
    ["{% include 'a' %}", /line 1: the tag {% include %} is not supported/],
    ["\n{% extends 'a' %}", /line 2: .*extends/],
    ["{% from 'a' import b %}", /import/],
    ['{% autoescape true %}{% endautoescape %}', /autoescape/],
    ['{% block a required %}{% endblock %}', /required/],
    ['{{ self.a() }}', /"self"/],
    ['{{ lipsum() }}', /lipsum/],
    ["{{ 'abc'|random }}", /random/],
    ["{{ 'a'|urlize }}", /urlize/],
    ["{{ 'a-b c'|wordwrap(3) }}", /break_on_hyphens=false/],
    ['{{ range(50)|list|pprint }}', /tojson/],
    ["{{ 'é'.casefold() }}", /lower/],
    ["{{ 'a'.encode() }}", /"encode"/],
    ["{{ 'a'.format_map({}) }}", /"format_map"/],
    ["{{ '%a' % 'x' }}", /%r/],
    ["{{ '&rarr;'|striptags }}", /&rarr;/],
    ["{{ 'a'|upper is sameas 'abc'|upper }}{{ 'ab' is sameas 'ab' }}", /sameas/],
    ['{{ 2.5 ** 0.3 }}', /power/],
    ['{{ [0.1, 0.2, 0.3]|sum }}', /sum/],
    ['{{ range }}', /address/],
    ["{{ 'a'|list|map('upper') }}", /address/],
    ["{{ 'a'.upper }}", /address/],
    ["{{ strftime_now('%G') }}", /"%G"/],
    ['{% for x in [1] %}{% set loop = 1 %}{% endfor %}', /"loop"/],
    ['{{ 5 .bit_length() }}', /bit_length/],
  ];
  for (const [template, message] of refused) {
    const { kind, code, message: told } = failure(template);
    expect([kind, code], template).toEqual(['unsupported', 'JINJA_UNSUPPORTED']);
    expect(told).toMatch(message);
  }
});

it('errors name the line they happened in', () => {
  expect(failure('a\n{% for x in [1] %}\n{{ x.y.z }}\n{% endfor %}').line).toBe(3);
  expect(failure('a\r\n\r\n{{ 1 +\n}}').line).toBe(4);
  expect(failure('{% macro f() %}\n{{ x.y }}{% endmacro %}\n\n{{ f() }}').line).toBe(2);
  expect(failure("{{ 1 }}\n{{ 'a' ~ raise_exception('no') }}")).toMatchObject({
    kind: 'raised',
    problem: 'no',
    line: 2,
  });
  expect(failure("{{ 'args:' + x }}", { x: { a: 1 } }).message).toBe(
    'line 1: can only concatenate str (not "dict") to str',
  );
});

describe('values from JavaScript', () => {
  it.each([
    [{ x: 2 }, '2'],
    [{ x: 2.5 }, '2.5'],
    [{ x: Object(2) }, '2.0'],
    [{ x: 12345678901234567890n }, '12345678901234567890'],
    [{ x: 1e-7 }, '1e-07'],
    [{ x: null }, 'None'],
    [{ x: undefined }, ''],
    [{ x: [undefined, null, true] }, '[None, None, True]'],
    [{ x: { a: undefined, b: 1 } }, "{'b': 1}"],
    [
      {
        x: new Map<unknown, unknown>([
          ['2', 1],
          ['1', 2],
          [3, 4],
        ]),
      },
      "{'2': 1, '1': 2, 3: 4}",
    ],
    [{ x: { 1: 'a' } }, "{'1': 'a'}"],
    [{ x: Object.create(null, { a: { value: 1, enumerable: true } }) }, "{'a': 1}"],
  ])('%o is %s', (variables, text) => {
    expect(render('{{ x }}', variables)).toBe(text);
  });

  it('a dict whose order is lost can be read, but not in order', () => {
    const x = { b: 1, 2: 2, 1: 3 };
    expect(render("{{ x['2'] }}{{ x|length }}{{ 'b' in x }}{{ x == x }}{{ x|tojson(sort_keys=true) }}", { x })).toBe(
      '23TrueTrue{"1": 3, "2": 2, "b": 1}',
    );
    for (const use of [
      '{{ x|tojson }}',
      '{{ x }}',
      '{% for k in x %}{% endfor %}',
      '{{ x.items()|list }}',
      '{{ x|list }}',
    ]) {
      expect(failure(use, { x }).message, use).toMatch(/x has the key "1".*as JSON text, or the object as a Map/);
    }
  });

  it('whole numbers that have lost digits, functions and instances are refused where they are used', () => {
    const x = 2 ** 63;
    expect(render('ok', { x })).toBe('ok');
    for (const use of ['{{ x }}', '{{ x + 1 }}', '{{ x is integer }}', '{{ x|tojson }}', '{{ x == 1 }}']) {
      expect(() => render(use, { x }), use).toThrow();
    }
    expect(() => render('', { x: () => 1 })).toThrow(/the variable x is a function/);
    expect(() => render('', { x: { when: now } })).toThrow(/x.when is an instance of Date/);
  });

  it('JSON text keeps the order of keys, floats and long integers', () => {
    const texts = [
      '{"b": 1, "2": [2.0, -0.0, 1e2, 1E400], "1": {"10": 12345678901234567890}}',
      '[]',
      '"a\\u0031"',
      ' -0 ',
      '{"0": 1, "0": 2}',
      '2.50',
    ];
    expect(texts.map((text) => render('{{ x }}', { x: parseJsonText(text) }))).toEqual([
      "{'b': 1, '2': [2.0, -0.0, 100.0, inf], '1': {'10': 12345678901234567890}}",
      '[]',
      'a1',
      '0',
      "{'0': 2}",
      '2.5',
    ]);
    expect(['', '{', '[1,]', '{"a": 01}'].map(parseJsonText)).toEqual([undefined, undefined, undefined, undefined]);
  });
});
