import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  applyFilters,
  exactMatch,
  lowercase,
  normalizeNumber,
  regex,
  removePunctuation,
  removeWhitespace,
  replace,
  strip,
} from '../src/index.js';
import { goldens } from './support.js';

const grade = async (grader: ReturnType<typeof exactMatch>, completion: string, row: Record<string, unknown>) =>
  (await grader.verify([{ prompt: '', completion, row }]))[0]!;

describe('filters', () => {
  it('regex: goldens by Python', () => {
    const table = goldens<{ pattern: string; text: string; match: number; value: string | null }>('regexes');
    expect(table.some(({ value }) => value === null) && table.some(({ value }) => value !== null)).toBe(true);
    for (const { pattern, text, match, value } of table) {
      expect(regex(new RegExp(pattern), { match }).apply(text), `${pattern} on ${text} at ${match}`).toBe(value);
    }
  });

  it('punctuation: golden by Python', () => {
    for (const { text, value } of goldens<{ text: string; value: string }>('punctuation')) {
      expect(removePunctuation().apply(text)).toBe(value);
    }
  });

  it.each([
    ['1,000', '1000'],
    ['$1,000.50', '1000.5'],
    ['18.', '18'],
    ['-0.0', '0'],
    ['+007', '7'],
    ['.5', '0.5'],
    ['-.50', '-0.5'],
    ['123456789012345678901234567890.10', '123456789012345678901234567890.1'],
    ['1,00', '1,00'],
    ['1.2.3', '1.2.3'],
    ['ten', 'ten'],
    ['', ''],
    ['-', '-'],
    ['1/2', '1/2'],
  ])('normalizeNumber %j is %j', (text, expected) => {
    expect(normalizeNumber().apply(text)).toBe(expected);
  });

  it('normalizeNumber keeps the value, and two spellings of a value become one', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e9, max: 1e9 }), fc.integer({ min: 0, max: 999 }), (whole, thousandths) => {
        const plain = `${whole}.${String(thousandths).padStart(3, '0')}`;
        const grouped = plain.replace(/\B(?=(\d{3})+\.)/g, ',');
        expect(Number(normalizeNumber().apply(plain))).toBe(Number(plain));
        expect(normalizeNumber().apply(`$${grouped}00`.replace('$-', '-$'))).toBe(normalizeNumber().apply(plain));
      }),
    );
  });

  it('run in order and stop where nothing is found', () => {
    const pipeline = [regex(/answer: (.*)/i, { match: -1 }), lowercase(), removeWhitespace(), replace(/,/), strip()];
    expect(applyFilters(pipeline, 'Answer: no\nanswer:  YES , Sir')).toBe('yessir');
    expect(applyFilters(pipeline, 'none')).toBeNull();
    expect(() => regex(/x/, { math: 1 } as object)).toThrow(/Did you mean "match"/);
  });
});

describe('exactMatch', () => {
  it('scores GSM8K answers as lm-evaluation-harness does, strict and flexible', async () => {
    const normalize = [replace(/,/), replace(/\$/), replace(/.*#### /s), replace(/\.$/), lowercase()];
    const strict = exactMatch({ name: 'strict-match', filters: [regex(/#### (-?[0-9.,]+)/)], normalize });
    const flexible = exactMatch({
      name: 'flexible-extract',
      filters: [regex(/(-?[$0-9.,]{2,})|(-?[0-9]+)/, { match: -1 })],
      normalize,
    });
    const row = { answer: 'He has 9 - 3 = 6 and 12 more.\n#### 1,018' };
    expect(await grade(strict, 'so\n#### 1018', row)).toEqual({ score: 1, answer: '1018' });
    expect(await grade(strict, 'It is $1,018.', row)).toEqual({ score: 0, answer: null });
    expect(await grade(flexible, 'It is $1,018.', row)).toEqual({ score: 1, answer: '1018' });
    expect(await grade(flexible, 'It is 1019', row)).toEqual({ score: 0, answer: '1019' });
  });

  it('takes one of several targets, and numbers as answers', async () => {
    expect((await grade(exactMatch({ target: () => ['a', 'b'] }), 'b', {})).score).toBe(1);
    expect((await grade(exactMatch(), '7', { answer: 7 })).score).toBe(1);
  });

  it('says when there is no target', async () => {
    await expect(grade(exactMatch(), '7', { anser: 7 })).rejects.toThrow(/give "target"/);
    await expect(exactMatch().verify([{ prompt: '', completion: '' }])).rejects.toThrow(/no row/);
  });
});
