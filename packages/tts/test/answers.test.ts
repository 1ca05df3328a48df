import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { extractBoxed, extractFinalAnswer, normalizeAnswer } from '../src/index.js';

describe('normalizeAnswer', () => {
  it.each([
    ['1,000.0', '1000'],
    ['0.50', '1/2'],
    ['2/4', '1/2'],
    ['\\frac{1}{2}', '1/2'],
    ['-\\dfrac{3}{6}', '-1/2'],
    ['-0', '0'],
    ['+7', '7'],
    ['.5', '1/2'],
    ['007', '7'],
    ['$42.$', '42'],
    ['**42**.', '42'],
    ['  Paris. ', 'paris'],
    ['New   York', 'new york'],
    ['50%', '50%'],
    ['1/0', '1/0'],
    ['1,00', '1,00'],
    ['(1, 2)', '(1, 2)'],
    ['123456789012345678901234567890', '123456789012345678901234567890'],
    ['', ''],
  ])('%j is spelled %j', (answer, expected) => {
    expect(normalizeAnswer(answer)).toBe(expected);
  });

  it('is idempotent', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const once = normalizeAnswer(text);
        expect(normalizeAnswer(once)).toBe(once);
      }),
    );
  });

  it('gives two fractions one spelling exactly when they are equal', () => {
    const part = fc.integer({ min: 1, max: 30 });
    fc.assert(
      fc.property(part, part, part, part, (a, b, c, d) => {
        expect(normalizeAnswer(`${a}/${b}`) === normalizeAnswer(`${c} / ${d}`)).toBe(a * d === b * c);
      }),
    );
  });

  it('leaves absurdly long digit strings alone', () => {
    const digits = '9'.repeat(100_000);
    expect(normalizeAnswer(digits)).toBe(digits);
  });
});

describe('extractBoxed', () => {
  it('takes the last balanced box', () => {
    expect(extractBoxed('\\boxed{1} then \\boxed{\\frac{1}{2}}')).toBe('\\frac{1}{2}');
    expect(extractBoxed('\\boxed{1} then \\boxed{\\frac{1')).toBe('1');
    expect(extractBoxed('none')).toBeNull();
  });
});

describe('extractFinalAnswer', () => {
  it.each([
    ['so \\boxed{12}. The answer is 13', '12'],
    ['4 + 5 = 9\n#### 9', '9'],
    ['The answer is 1,234.', '1234'],
    ['**Answer:** 42', '42'],
    ['answer: Paris\n', 'paris'],
    ['first 3, then 5-3', '3'],
    ['it is -3', '-3'],
    ['2+2=4', '4'],
    ['12+7=19', '19'],
    ['x1,2345', '2345'],
    ['nothing here', null],
    ['', null],
    ['\\boxed{}', null],
  ])('%j -> %j', (text, expected) => {
    expect(extractFinalAnswer(text)).toBe(expected);
  });
});
