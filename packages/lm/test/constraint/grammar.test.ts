import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { grammarOf } from '../../src/constraint/compile-constraint.js';
import { unionOf } from '../../src/constraint/expression.js';
import { utf8Ranges } from '../../src/constraint/utf8.js';
import { acceptor } from './support.js';

const regex = (pattern: string) => acceptor(grammarOf({ type: 'regex', pattern }));
const ebnf = (text: string) => acceptor(grammarOf({ type: 'grammar', ebnf: text }));

describe('utf8Ranges', () => {
  it('has the encodings of exactly the given characters', () => {
    const codePoint = fc.oneof(
      fc.integer({ min: 0, max: 0x10ffff }),
      fc.constantFrom(0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000),
    );
    const range = fc.tuple(codePoint, codePoint).map(([a, b]): [number, number] => [Math.min(a, b), Math.max(a, b)]);
    fc.assert(
      fc.property(
        fc.array(range, { maxLength: 4 }),
        fc.array(codePoint, { minLength: 1, maxLength: 60 }),
        (ranges, more) => {
          const sequences = utf8Ranges(unionOf(ranges));
          for (const point of [...more, ...ranges.flat(), ...ranges.flatMap(([a, b]) => [a - 1, b + 1])]) {
            if (point < 0 || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) continue;
            const bytes = Buffer.from(String.fromCodePoint(point));
            const found = sequences.filter(
              (bounds) =>
                bounds.length === bytes.length &&
                bounds.every(([low, high], i) => low <= bytes[i]! && bytes[i]! <= high),
            );
            expect(found.length, `U+${point.toString(16)}`).toBe(
              ranges.some(([a, b]) => a <= point && point <= b) ? 1 : 0,
            );
          }
        },
      ),
    );
  });
});

describe('regex', () => {
  const atom = fc.constantFrom(
    ...['a', 'b', '.', '[ab]', '[^a]', '[b-dé]', '\\d', '\\W', '\\s', 'é', '😀', '\\.', '\\u0061', '[\\d-]', '\\x62'],
  );
  const count = fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,}', '{0,2}', '*?');
  const { pattern } = fc.letrec<{ pattern: string; part: string }>((tie) => ({
    part: fc.oneof(
      { maxDepth: 3 },
      fc.tuple(atom, count).map(([a, c]) => a + c),
      fc
        .tuple(tie('pattern'), fc.constantFrom('(', '(?:', '(?<name>'), count)
        .map(([p, open, c]) => `${open}${p})${c}`),
    ),
    pattern: fc
      .array(fc.array(tie('part'), { maxLength: 4 }), { minLength: 1, maxLength: 3 })
      .map((options) => options.map((parts) => parts.join('')).join('|')),
  }));
  const text = fc.array(fc.constantFrom('a', 'b', 'c', 'é', '😀', '1', '.', '-', ' ', '\n', '_'), { maxLength: 7 });

  it('has the texts that the engine’s own RegExp matches as a whole', () => {
    fc.assert(
      fc.property(pattern, fc.array(text, { minLength: 1, maxLength: 20 }), (source, texts) => {
        fc.pre((source.match(/<name>/g) ?? []).length < 2);
        const own = new RegExp(`^(?:${source})$`, 'u');
        const accepts = regex(source);
        for (const characters of texts) {
          const joined = characters.join('');
          expect(accepts(joined), `${source} on ${JSON.stringify(joined)}`).toBe(own.test(joined));
        }
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ['(?=a)b', 'look-around'],
    ['\\bword', '\\b is not supported'],
    ['(a)\\1', '\\1 is not supported'],
    ['a**', '* is not supported here'],
    ['(a', 'expected )'],
    ['a)', ') is not supported here'],
    ['a{3,2}', 'wrong order'],
    ['[b-a]', 'a range that is not one'],
    ['[a', 'ends too early'],
    ['(^a|b)', '^ is not supported here'],
    ['\\p{L}', '\\p is not supported'],
    ['[]', 'no text satisfies it'],
    ['(a{1000}){1000}', 'too large'],
  ])('refuses %s', (source, message) => {
    expect(() => regex(source)).toThrow(message);
  });
});

describe('grammar', () => {
  it('reads rules that nest', () => {
    const sum = ebnf(`
      # sums of numbers
      root  ::= term (("+" | "-") term)*
      term  ::= [0-9]+ | "(" root ")"   # nested
    `);
    for (const right of ['1', '12+3', '(1)', '((1-2)+3)-4']) expect(sum(right), right).toBe(true);
    for (const wrong of ['', '+', '1+', '(1', '1)', '(1))', 'a']) expect(sum(wrong), wrong).toBe(false);
    const nested = '('.repeat(200);
    expect(sum(`${nested}7${')'.repeat(200)}`)).toBe(true);
    expect(sum(`${nested}7${')'.repeat(199)}`)).toBe(false);
  });

  it('is the language aⁿbⁿ, which no regular expression has', () => {
    const accepts = ebnf('root ::= "a" root "b" | ""');
    fc.assert(
      fc.property(fc.nat(30), fc.nat(30), (a, b) => {
        expect(accepts('a'.repeat(a) + 'b'.repeat(b))).toBe(a === b);
      }),
    );
  });

  it('reads escapes, classes, counts and rules over several lines', () => {
    const accepts = ebnf(
      'root ::= "\\"" [^"\\\\]{2,3} "\\"" tail\n\ntail ::= "\\x41" |\n "\\u00e9" | .\nunused ::= "x"',
    );
    for (const right of ['"ab"A', '"abc"é', '"éé"\n']) expect(accepts(right), right).toBe(true);
    for (const wrong of ['"a"A', '"abcd"A', '"ab"']) expect(accepts(wrong), wrong).toBe(false);
  });

  it.each([
    ['root ::= root "a" | "b"', 'the rule root begins with itself (root → root)'],
    ['root ::= a "x"\na ::= "y"? b\nb ::= a', 'begins with itself (a → b → a)'],
    ['root ::= other', 'the rule other is used but not defined'],
    ['start ::= "a"', 'has no rule root'],
    ['root ::= "a"\nroot ::= "b"', 'is there twice'],
    ['root = "a"', 'expected a rule'],
    ['root ::= ("a"', 'expected )'],
    ['root ::= "a', 'ends too early'],
    ['root ::= a\na ::= "x" a', 'no text satisfies it'],
  ])('refuses %s', (text, message) => {
    expect(() => ebnf(text)).toThrow(message);
  });
});

describe('choice', () => {
  it('has the choices, and no other text', () => {
    const accepts = acceptor(grammarOf({ type: 'choice', choices: ['yes', 'yes, but', 'né', '.*'] }));
    for (const right of ['yes', 'yes, but', 'né', '.*']) expect(accepts(right)).toBe(true);
    for (const wrong of ['', 'ye', 'yes,', 'nee', 'x']) expect(accepts(wrong)).toBe(false);
    expect(() => acceptor(grammarOf({ type: 'choice', choices: [] }))).toThrow('no text satisfies it');
    expect(() => grammarOf({ type: 'regexp' } as never)).toThrow('there is no type "regexp"');
  });
});
