import { describe, expect, it } from 'vitest';
import {
  answersEqual,
  extractFinalAnswer,
  gradeAnswer,
  normalizeAnswer,
  referenceAnswers,
} from '../src/answers/index.js';

const grade = (completion: string, reference: string) =>
  gradeAnswer(completion, referenceAnswers('test', reference)).correct;

describe('what is not paid', () => {
  it.each([
    // Several answers, of which one is right.
    ['\\boxed{x=5\\\\x=6}', '6'],
    ['\\boxed{x = 5 | x = 6}', '6'],
    ['\\boxed{x=5 \\lor x=6}', '6'],
    ['\\boxed{a=5 b=6}', '6'],
    ['\\boxed{x_1=5\\ x_2=6}', '6'],
    ['\\boxed{x_1 = 5 \\text{ and } x_2 = 6}', '6'],
    ['\\boxed{x = 5 \\implies y = 6}', '6'],
    ['\\boxed{x = 5 / x = 6}', '6'],
    ['\\boxed{x = 5 & x = 6}', '6'],
    ['\\boxed{x = 5. x = 6}', '6'],
    ['\\boxed{length=5 width=6}', '6'],
    ['#### 5 = 6', '6'],
    ['#### 5 | x = 6', '6'],
    ['The answer is 5 (or 6)', '5'],
    ['The answer is 5; alternatively 6', '5'],
    ['The answer is 5 - or 6', '5'],
    ['The answer is 5 if x > 0, 6 otherwise', '5'],
    ['The answer is 5 for odd n and 6 for even n', '5'],
    // Another number than the one that is read.
    ['The answer is 5 by 6', '5'],
    ['The answer is 5 with remainder 6', '5'],
    ['\\boxed{5 per cent}', '5'],
    ['\\boxed{5 bps}', '5'],
    ['\\boxed{5 M}', '5'],
    ['\\boxed{5 millions}', '5'],
    ['\\boxed{5 mio}', '5'],
    ['\\boxed{5 lakh}', '5'],
    ['\\boxed{5 dozens}', '5'],
    ['\\boxed{5 eighths}', '5'],
    ['\\boxed{5 sixteenths of an inch}', '5'],
    ['\\boxed{5 thousandths}', '5'],
    ['\\boxed{5 twenty}', '5'],
    ['\\boxed{log x = 6}', '6'],
    ['\\boxed{half of x = 6}', '6'],
    ['\\boxed{It used to be 5}', '5'],
    ['6 is wrong', '6'],
    // A ratio is neither of its numbers, and the factor of a function is not what it gives.
    ['5 : 6', '6'],
    ['The ratio is 5 : 6.', '6'],
    ['The answer is 5 : 6', '5'],
    ['#### 5 : 6', '5'],
    ['6 log', '6'],
    ['So we get 6 ln x', '6'],
    ['It is 6 sin(x)', '6'],
    ['6 square roots', '6'],
    // What may be chosen.
    ['options: 1, 2, 3, 4, 5, 6', '6'],
    ['The options are 1, 2, … 6', '6'],
    ['Candidates: 5 and 6.', '6'],
    ["It can't be 6.", '6'],
    ['I do not think it is 6', '6'],
  ])('%s against %s', (completion, reference) => {
    expect(grade(completion, reference)).toBe(false);
  });

  it.each([
    ['\\boxed{x = 2a = 6}', '6'],
    ['\\boxed{P = 2 l + 2 w = 6}', '6'],
    ['The total is 3 boxes * 2 eggs = 6', '6'],
    ['\\boxed{5 feet = 60 inches}', '60'],
    ['#### 5 apples + 6 apples = 11 apples', '11'],
    ['The answer is 5 for x = 1', '5'],
    ['The answer is 11 - that is all.', '11'],
    ['The answer is 12 months', '12'],
    ['\\boxed{5 per cent}', '0.05'],
    ['\\boxed{area of square = 6}', '6'],
    ['Bob does not stop there, so he has 6', '6'],
    ['5 : 6', '5:6'],
    ['Score 5:6', '5 : 6'],
    ['Total : 6', '6'],
    ['The answer is 12: 4 + 8 = 12', '12'],
    ['He cut 6 log cabins', '6'],
    ['Of the options, option 6', '6'],
    ['The set costs $3, $4 and $6', '6'],
  ])('but %s is %s', (completion, reference) => {
    expect(grade(completion, reference)).toBe(true);
  });
});

it('what is lower-cased is not read again: 5 M is not 5 m', () => {
  expect(normalizeAnswer('5 M')).toBe('5 M');
  expect(normalizeAnswer('Room 5')).toBe(normalizeAnswer('room 5'));
});

it('the text behind each of many marks is read only so far', () => {
  // 40 seconds when each mark read to the end of the text.
  for (const mark of ['the answer is correct ', 'The answer is your \\[ ']) {
    expect(extractFinalAnswer(`${mark.repeat(25_000)}\nThe answer is 7.`)).toBe('7');
    expect(grade(mark.repeat(25_000), '7')).toBe(false);
  }
}, 30_000);

describe('formulas that are made to be right or to break the reader', () => {
  // Worth 0, by terms in which doubles lose every reference.
  const NOTHING = ['10^{20}\\sin^2(1)+10^{20}\\cos^2(1)-10^{20}', '10^{30}e-10^{30}\\cdot 2.718281828459045'];
  const REFERENCES = ['\\sqrt{2}', 'x+1', '\\frac{\\pi}{3}', 'e^2', 'x = 3y', 'y = 2x+3'];
  it.each(NOTHING)('terms that cancel are not every answer: %s', (formula) => {
    for (const reference of REFERENCES) expect(grade(`\\boxed{${formula}}`, reference)).toBe(false);
    const computed = { arithmetic: 'computed' } as const;
    expect(gradeAnswer(`\\boxed{${formula}}`, ['7'], computed).correct).toBe(false);
    expect(grade(`\\boxed{y = 2x + 3 + ${formula}}`, 'y = 5x')).toBe(false);
  });

  it('names that every object of JavaScript has are no functions', () => {
    for (const name of ['valueOf', 'hasOwnProperty', 'toString']) {
      expect(grade(`\\boxed{\\${name}{x}}`, 'x+1')).toBe(false);
    }
    expect(answersEqual('\\constructor{\\sqrt{2}}', '\\sqrt{2}')).toBe(false);
  });

  it('a formula that is too large only together with the reference is another answer', () => {
    const product = '(a+b+c+d+f+g+h+j+k+l)(m+n+o+p+q+r+s+t+u+v+w+x+y+z+A+B+C+D+E+F)';
    expect(grade(`\\boxed{${product}}`, 'x+1')).toBe(false);
  });

  it('ends soon on powers within powers, and on white space behind a mark', () => {
    const start = performance.now();
    let nested = 'x';
    // Every level has the one within it nine times.
    for (let level = 0; level < 12; level++) nested = `1/((1+${nested})^8+2)`;
    expect(grade(`\\boxed{${nested}}`, 'x+1')).toBe(false);
    expect(extractFinalAnswer(`answer${' '.repeat(200_000)}x`)).toBeNull();
    expect(performance.now() - start).toBeLessThan(5000);
  });
});
