import { describe, expect, it } from 'vitest';
import {
  applyFilters,
  canonicalAnswer,
  exactMatch,
  finalAnswer,
  lowercase,
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
  it.each([
    [
      () => regex('abc' as never),
      'regex: pattern is "abc"; it must be a regular expression, as /…/ or new RegExp(text).',
    ],
    [() => regex(undefined as never), 'regex: pattern is undefined; it must be a regular expression.'],
    [
      () => exactMatch({ target: 'gold' as never }),
      'target is "gold"; it must be a function of the row that gives the answer. Write (row) => row.gold.',
    ],
    [() => exactMatch({ filters: [/a/] as never }), 'filters is [a RegExp]; it must be a list of filters'],
    [
      () => exactMatch({ normalize: [strip] as never }),
      'normalize is [the function strip]; it must be a list of filters',
    ],
    [() => finalAnswer({ percent: 'x' as never }), 'answers: percent is "x"; it must be one of "fraction", "unit"'],
    [() => replace('abc' as never), 'replace: pattern is "abc"'],
    [() => replace(/a/, 5 as never), 'replace: replacement is 5; it must be a text.'],
    [() => regex(/a/, { match: '1' as never }), 'regex: match is "1"; it must be a whole number (default 0).'],
  ])('%s says what is wrong', (misuse, message) => {
    expect(misuse).toThrow(message);
  });

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

  it('have the notion of an answer that rewards and votes have', () => {
    expect(finalAnswer().apply('The answer is $1,000.50.')).toBe('2001/2');
    expect(finalAnswer().apply('none')).toBeNull();
    expect(canonicalAnswer().apply('50%')).toBe('1/2');
    expect(canonicalAnswer({ percent: 'unit' }).apply('50%')).toBe('50');
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

  it('by itself finds and compares answers as rewards and votes do; with normalize [] letter by letter', async () => {
    const row = { answer: 'so 0.50.\n#### 0.50' };
    expect(await grade(exactMatch(), 'The answer is \\frac12.', row)).toEqual({ score: 1, answer: '1/2' });
    expect(await grade(exactMatch(), 'No idea', row)).toEqual({ score: 0, answer: null });
    expect(await grade(exactMatch(), 'Paris', { answer: 'paris' })).toEqual({ score: 1, answer: 'paris' });
    expect(await grade(exactMatch({ filters: [regex(/is (.*)/)] }), 'It is 1,000', { answer: 1000 })).toEqual({
      score: 1,
      answer: '1000',
    });
    expect(await grade(exactMatch({ normalize: [] }), '1,000', { answer: '1000' })).toEqual({
      score: 0,
      answer: '1,000',
    });
    expect((await grade(exactMatch({ percent: 'unit' }), 'It is 50%', { answer: ['49', '50'] })).score).toBe(1);
  });

  it('says when there is no target', async () => {
    await expect(grade(exactMatch(), '7', { anser: 7 })).rejects.toThrow(/give "target"/);
    await expect(grade(exactMatch(), '7', { answer: Number.NaN })).rejects.toThrow(/give "target"/);
    await expect(exactMatch().verify([{ prompt: '', completion: '' }])).rejects.toThrow(/no row/);
  });
});
