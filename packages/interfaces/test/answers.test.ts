import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  answersEqual,
  extractBoxed,
  extractCode,
  extractFinalAnswer,
  gradeAnswer,
  markedAnswer,
  normalizeAnswer,
  parseRational,
  rationalToNumber,
  readDate,
  referenceAnswers,
} from '../src/answers/index.js';
import { isPosttrainError } from '../src/index.js';

interface Case {
  readonly kind: string;
  readonly completion: string;
  readonly gold: string;
  readonly math_verify: boolean;
}

const golden = new URL('../../../goldens/answers/expected.json', import.meta.url);
const { cases } = JSON.parse(readFileSync(golden, 'utf8')) as { cases: Case[] };

/** Where this project decides otherwise than Math-Verify, and why. */
const DIFFERENCES: Readonly<Record<string, readonly string[]>> = {
  'the last mark was begun and not closed: no answer (lm-evaluation-harness)': ['\\boxed{1} and \\boxed{2 | 1'],
  'marks that Math-Verify does not know': [
    '\\fbox{5} | 5',
    '<answer>42</answer> | 42',
    '<answer>1</answer> no, <answer>2</answer> | 2',
    '<think>\\boxed{3}</think>The answer is 4. | 4',
    '<think>\\boxed{3}</think>The answer is 4. | 3',
    '#### 42\nmore of 7 | 42',
  ],
  'a pair is not its last number': ['The roots are (1, 2). | 2'],
  'words of scale multiply': [
    'The answer is 2 million. | 2',
    'The answer is 2 million. | 2000000',
    'The answer is 3 dozen. | 36',
  ],
  'equality is transitive: 50% cannot be both 1/2 and 50': ['It is 50%. | 50', '\\boxed{50} | 50%'],
  'equality is transitive: a rounded number is another number': ['\\boxed{0.333333} | 1/3'],
  'spellings of numbers that Math-Verify does not read': [
    '\\boxed{1\\,234} | 1234',
    'The answer is 1 1/2. | 1.5',
    'The answer is 1.5e3. | 1500',
    'x = \u22125 | -5',
    '\\boxed{\u20135} | -5',
    'The answer is -.5. | -0.5',
  ],
  'a ratio is not read as a quotient': ['\\boxed{3:4} | 0.75'],
  'a number that is denied or bounded is not given': [
    '<answer>not 7</answer> | 7',
    'The answer is not 7. | 7',
    '<answer>at most 5</answer> | 5',
    '<answer>41 or 42</answer> | 42',
  ],
  'arithmetic is not computed: nobody is paid for writing down the question': [
    '\\boxed{2+3} | 5',
    '\\boxed{2\\cdot 3} | 6',
    '\\boxed{6 \\div 2} | 3',
    '\\boxed{\\sqrt{4}} | 2',
    '\\boxed{5!} | 120',
  ],
};
const differing = new Set(Object.values(DIFFERENCES).flat());
const keyOf = ({ completion, gold }: Case) => `${completion} | ${gold}`;

describe('against Math-Verify', () => {
  it.each(cases)('$kind: $completion against $gold', (entry) => {
    const { correct } = gradeAnswer(entry.completion, referenceAnswers('test', entry.gold));
    expect(correct).toBe(differing.has(keyOf(entry)) ? !entry.math_verify : entry.math_verify);
  });

  it('has every difference in the table', () => {
    expect(cases.length).toBeGreaterThan(150);
    expect(new Set(cases.map(keyOf)).size).toBe(cases.length);
    expect([...differing].filter((key) => !cases.some((entry) => keyOf(entry) === key))).toEqual([]);
  });
});

describe('extractFinalAnswer', () => {
  it.each([
    ['so \\boxed{12}. The answer is 13', '12'],
    ['\\boxed{\\dfrac12}', '1/2'],
    ['4 + 5 = 9\n#### 9', '9'],
    ['#### Final Answer\n\nThe total is 9.', '9'],
    ['#### 1. Add\n7 and 8\n#### 15', '15'],
    ['<answer>It is 42.</answer>', '42'],
    ['<answer>The answer is 42 apples.</answer>', '42'],
    ['<ANSWER>7</ANSWER>', '7'],
    ['<answer> </answer> 7', null],
    ['<think>so 7', null],
    ['<think>7</think>', null],
    ['answer: Paris\n', 'paris'],
    ['The answer is Paris because 7 is odd.', 'paris'],
    ['The answer is (B).', 'b'],
    ['The answer cannot be 7.', 'not 7'],
    ['The answer is 7. I hope the answer is correct.', '7'],
    ['The answer to the second of 2 questions is 12, as shown.', '12'],
    ['Ans: 5', '5'],
    ['The answer is 41, 42 or 43.', '41, 42 or 43'],
    ['first 3, then 5-3', '3'],
    ['on 12,345 of 7-8', '8'],
    ['it is -3', '-3'],
    ['it is 3/4 of \u22122', '-2'],
    ['2+2=4', '4'],
    ['12+7=19', '19'],
    ['Thus x = 5.', '5'],
    ['3x+2', '3x+2'],
    ['b 2', '2'],
    ['C', 'c'],
    ['The correct option is B.', 'b'],
    ['Q: 2+2? A: 4', '4'],
    ['C. 42', '42'],
    ['\\[ x = \\frac{-b}{2a} = 3 \\]', '3'],
    ['There are 20 - 8 = <<20-8=12>>12 apples.', '12'],
    ['So 6 x 7 = 42.', '42'],
    ['3 boxes + 4 = 7', '7'],
    ['The answer is 3 boxes + 4 = 7.', '7'],
    ['{"answer": 42}', '42'],
    ['The answer is 3/4 or 0.75.', '3/4'],
    ['The answer is 3/4 or 0.7.', '3/4 or 0.7'],
    ["<answer>7 isn't it</answer>", "7 isn't it"],
    ['#### 1.5 x 10^3', '1500'],
    ['It is 50pct.', '1/2'],
    ['\\boxed{5\\\\}', '5'],
    ['It took 5 hours 30 minutes.', '30'],
    ['<answer>5 hours 30 minutes</answer>', '5 hours 30 minutes'],
    ['It is not 7.', 'not 7'],
    ['It is at least 7.', 'least 7'],
    ['The area is 4\\pi.', '4π'],
    ['We get $\\frac{1}{2}$.', '1/2'],
    ['It is $ \\begin{pmatrix} 1 & 0 \\\\ 0 & 1 \\end{pmatrix} $.', '\\begin{pmatrix}1&0⏎0&1\\end{pmatrix}'],
    ['The set costs $3, $4 and $5', '5'],
    ['It is 2!.', '2!'],
    ['It is 3 or 4.', '3 or 4'],
    ['The answer is x = 2, y = 3.', 'x=2, y=3'],
    ['It costs 1,000.99€', '100099/100'],
    ['The answer is that Jane sold 12.', '12'],
    ['The answer is the square root of 5.', 'the square root of 5'],
    ['It is the square root of 5.', 'root of 5'],
    ['It is negative 5.', '-5'],
    ['It is minus \\frac12.', '-1/2'],
    ['The answer is negative 5.', '-5'],
    ['The solution is x != 5', 'x≠5'],
    ['The answer is Room 12.', 'room 12'],
    ['x = 1/3 \\approx 0.333', '1/3'],
    ['x \\approx 0.5', '1/2'],
    ['It costs $3.50 and she pays $4.', '4'],
    ['x2 and v1.0 count not', null],
    ['nothing here', null],
    ['', null],
    ['\\boxed{}', null],
  ])('%j -> %j', (text, expected) => {
    expect(extractFinalAnswer(text)).toBe(expected);
  });

  it('takes a text of megabytes, and marks without an end', () => {
    for (const piece of [
      '\\boxed{',
      '<answer>',
      '####',
      '$',
      '\\[',
      'answer is ',
      '((',
      ', as ',
      '1,234 ',
      'the answer\n',
      '5 March 2021 ',
      '\\sum_{k=0}',
      '\\begin{pmatrix}',
      '```\n',
    ]) {
      const text = piece.repeat(1_000_000 / piece.length);
      expect(extractFinalAnswer(`${text} \\boxed{7}`)).toBe(piece === '<answer>' ? null : '7');
      extractFinalAnswer(text);
      extractFinalAnswer(`<answer>${text}</answer>`);
      extractFinalAnswer(`#### ${text}`);
    }
  });
});

/** Ways in which a completion gives an answer; null where one cannot hold it. */
const inMath = (answer: string) => /\\|\^/.test(answer) || /^[\dx=+\-./, *]+$/.test(answer);
const TEMPLATES: Readonly<Record<string, (answer: string) => string | null>> = {
  boxed: (a) => `First 9. So we get $\\boxed{${a}}$.`,
  tag: (a) => `<think>1 or 9</think>\n<answer>\n${a}\n</answer>`,
  'box in a tag': (a) => `<answer>\\boxed{${a}}</answer>`,
  hashes: (a) => `9 is not it.\n#### ${a}\n\nIs there anything else?`,
  phrase: (a) => `We try 9. The answer is ${a}.`,
  bold: (a) => `The answer is therefore **${a}**.`,
  heading: (a) => `## Final Answer\n\n${a}\n`,
  dollars: (a) => (inMath(a) ? `The final answer is $${a}$. I hope it is correct.` : null),
  display: (a) => (inMath(a) ? `The answer is:\n\\[\n${a}\n\\]` : null),
  'last of a text': (a) => `First 3, then 9. It is ${a}.`,
  'formula in a text': (a) => (inMath(a) ? `Hence we obtain $${a}$.` : null),
  alone: (a) => a,
};

describe.each(Object.entries(TEMPLATES))('an answer given as %s', (_, template) => {
  const graded = (answers: readonly string[], gold: string, correct: boolean) =>
    answers.filter((answer) => {
      const completion = template(answer);
      return completion !== null && gradeAnswer(completion, [gold]).correct !== correct;
    });

  it.each<[string, string]>([
    [
      '5',
      '5|+5|5.0|5.|005|$5|\\$5|€5|5€|5 dollars|5kg|5 kg|5 apples|5\\text{ cm}|5\\,\\text{cm}^2|5^\\circ|5°|5 m/s|x = 5|x=5|\\left(5\\right)|\\mathbf{5}|\\text{5}|10/2|2 + 3 = 5|500%|500\\%',
    ],
    ['-7', '-7|\u22127|-$7|$-7|-7 m|-\\frac{14}{2}'],
    ['1234', '1,234|1{,}234|1,\\!234|1 234|1234|1.234e3|1.234\\times10^3|1.234 \\times 10^{3}|$1,234.00'],
    ['1/2', '0.5|.5|1/2|\\frac12|\\frac{1}{2}|\\dfrac{2}{4}|50%|50\\%|2^{-1}'],
    ['3/2', '1.5|1 1/2|1\\frac{1}{2}|3/2 cups|150%'],
    ['3000000', '3 million|3,000,000|3\\times10^6'],
  ])('is %s in all its spellings', (gold, spellings) => {
    expect(graded(spellings.split('|'), gold, true)).toEqual([]);
  });

  it('is not 2 when it is something else with a 2', () => {
    const others =
      '\\sqrt{2}|2\\pi|\\frac{\\pi}{2}|x^2|2x|\\log 2|\\sin 2|2i|2+3i|x \\le 2|x > 2|x \\neq 2|\\pm 2|(1, 2)|[1, 2]|' +
      '\\{1, 2\\}|1 or 2|2 or 3|not 2|at most 2|less than 2|between 1 and 2|2 thirds|two|2 + 2|2 \\cdot 2|2^n|a_2|2.3.2|' +
      '2:30|2-2-2|e^2|\\sqrt[3]{2}|2\\%|2 million|negative 2|-2|2/3|\\frac{2}{3}|22|0.2|2,5|2:3|\\binom{2}{1}|2e5|2k|' +
      '2\\sqrt{3}|x = 2, y = 3|2 < x < 3|x \\in [2, 3]|f(2)|2ab|2^2|2 squared|twice 2|2 and a half|2\\frac12';
    expect(graded(others.split('|'), '2', false)).toEqual([]);
  });
});

describe('marks', () => {
  it.each([
    ['<think>1</think><answer> 42 </answer>', '42'],
    ['<answer>1</answer> and <answer>2', ''],
    ['so \\boxed{\\frac{1}{2}}', '\\frac{1}{2}'],
    ['\\boxed{1} \\boxed{2', ''],
    ['6 * 7 = 42\n#### 42\nmore', '42'],
    ['125-5=120#120', '120'],
    ['c a t,t a c#tac', 'tac'],
    ['We are #1 in C#.', null],
    ['no marker', null],
  ])('markedAnswer(%j) is %j', (text, answer) => {
    expect(markedAnswer(text)).toBe(answer);
  });

  it('extractBoxed takes the last box', () => {
    expect(extractBoxed('\\boxed{1} then \\boxed{\\frac{1}{2}}')).toBe('\\frac{1}{2}');
    expect(extractBoxed('\\boxed{\\{1\\}}')).toBe('\\{1\\}');
    expect(extractBoxed('$\\boxed 5$')).toBe('5');
    expect(extractBoxed('\\boxed{1} then \\boxed{\\frac{1')).toBeNull();
    expect(extractBoxed('none')).toBeNull();
  });
});

describe('parseRational', () => {
  it.each([
    ['42', 42],
    [' -7 ', -7],
    ['\u22127', -7],
    ['1,234.5', 1234.5],
    ['12,345,678', 12345678],
    ['1 234', 1234],
    ['5.', 5],
    ['.5', 0.5],
    ['2.5E-2', 0.025],
    ['50\\%', 0.5],
    ['$1,200', 1200],
    ['-3/4', -0.75],
    ['\\frac{\\frac12}{3}', 1 / 6],
    ['2^{-1}', 0.5],
    ['-2^2', -4],
    ['1½', 1.5],
    ['10³', 1000],
    ['4 2', null],
    ['1,5', null],
    ['12,34', null],
    ['1,23', null],
    ['0,123', null],
    ['1.2.3', null],
    ['forty-two', null],
    ['42 apples', null],
    ['1/0', null],
    ['1/2/3', null],
    ['0x10', null],
    ['Infinity', null],
    ['--5', null],
    ['5-3', null],
    ['2+3', null],
    ['(1,234)', null],
    ['1 3/2', null],
    ['0^{-1}', null],
    ['9^{99999}', null],
    [`${'('.repeat(500)}1`, null],
    ['', null],
  ])('%j is %s', (text, value) => {
    const found = parseRational(text);
    expect(found && rationalToNumber(found)).toBe(value);
  });

  it('reads what a double prints, exactly', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e300, max: 1e300 }), (value) => {
        fc.pre(value === 0 || Math.abs(value) > 1e-290);
        expect(rationalToNumber(parseRational(String(value))!)).toBeCloseTo(value, 10);
        expect(Math.abs(rationalToNumber(parseRational(String(value))!) - value)).toBeLessThanOrEqual(
          Math.abs(value) * 2 ** -51,
        );
      }),
    );
  });
});

describe('dates', () => {
  it.each([
    ['March 5, 2021', '2021-03-05'],
    ['5th of March 2021', '2021-03-05'],
    ['Fri, 5 Mar 2021', '2021-03-05'],
    ['Monday, March 5, 2021', null],
    ['2021/3/5', '2021-03-05'],
    ['13/5/2021', '2021-05-13'],
    ['5/5/2021', '2021-05-05'],
    ['3/5/2021', null],
    ['3.5.2021', '2021-05-03'],
    ['29 February', '--02-29'],
    ['Feb 29, 2023', null],
    ['Feb 29, 2024', '2024-02-29'],
    ['2000-12-1', null],
    ['2021-13-01', null],
    ['12 months', null],
    ['May', null],
  ])('%s is %s', (text, day) => {
    expect(readDate(text)).toBe(day);
    if (day === null) return;
    expect(extractFinalAnswer(`The answer is ${text}.`)).toBe(day);
    expect(answersEqual(text, day)).toBe(true);
    expect(normalizeAnswer(day)).toBe(day);
  });

  it('say which is the month when an option does', () => {
    expect(normalizeAnswer('3/5/2021', { dates: 'day first' })).toBe('2021-05-03');
    expect(normalizeAnswer('3/5/2021', { dates: 'month first' })).toBe('2021-03-05');
    expect(readDate('13/5/2021', { dates: 'month first' })).toBeNull();
    expect(answersEqual('3/5/2021', '2021-03-05')).toBe(false);
    expect(gradeAnswer('He left on March 5, 2021.', ['2021-03-05']).correct).toBe(true);
  });
});

describe('code', () => {
  it('is the last block that defines what is asked', () => {
    const two = '```python\ndef f(): return 1\n```\ntext\n~~~py\ndef g(): pass\n~~~';
    expect(extractCode(two, 'python')).toBe('def g(): pass');
    expect(extractCode(two, 'python', 'f')).toBe('def f(): return 1');
    expect(extractCode('return 1', 'python')).toBe('return 1');
  });
});

describe('normalizeAnswer', () => {
  it.each([
    ['1,000.0', '1000'],
    ['2/4', '1/2'],
    ['-\\dfrac{3}{6}', '-1/2'],
    ['50%', '1/2'],
    ['-0', '0'],
    ['$42.$', '42'],
    ['**42**.', '42'],
    ['  Paris. ', 'paris'],
    ['New   York', 'new york'],
    ['Room 12', 'room 12'],
    ['1/0', '1/0'],
    ['1,00', '1,00'],
    ['(1, 2)', '(1, 2)'],
    ['(0.5,2/4]', '(1/2, 1/2]'],
    ['x = y = 5', '5'],
    ['x = 5, y = 6', 'x=5, y=6'],
    ['6 * 7 = 42', '42'],
    ['0.5 = 1/2', '1/2'],
    ['5 = 6', '5=6'],
    ['2x + 1 = 5', '2x+1=5'],
    ['(p, q) = (3, 2)', '(3, 2)'],
    ['x \\in [0, 1]', '[0, 1]'],
    ['x >= 5', 'x≥5'],
    ['1, 2, and 3', '1, 2, 3'],
    ['\\\\frac{1}{2}', '1/2'],
    ['11,\\! 111', '11111'],
    ['X', 'x'],
    ['2X', '2X'],
    ['\\frac{a}{b}^2', '(a/b)^2'],
    ['2\\frac{1}{x}', '2(1/x)'],
    ['12 \\left(n\\right)', '12(n)'],
    ['12/0.5\\,y/y', '12/0.5y/y'],
    ['123456789012345678901234567890', '123456789012345678901234567890'],
    ['', ''],
  ])('%j is spelled %j', (answer, expected) => {
    expect(normalizeAnswer(answer)).toBe(expected);
  });

  it('is idempotent', () => {
    const piece = fc.constantFrom(
      ...'0123456789.,/%$ \\{}()[]^_=-+"\'`*xyπ°'.split(''),
      '\\frac',
      '\\text{',
      'is ',
      'cm',
    );
    for (const texts of [fc.string(), fc.array(piece, { maxLength: 14 }).map((parts) => parts.join(''))]) {
      fc.assert(
        fc.property(texts, (text) => {
          const once = normalizeAnswer(text);
          expect(normalizeAnswer(once)).toBe(once);
        }),
        { numRuns: 2000, seed: 1 },
      );
    }
  });

  it('gives two fractions one spelling exactly when they are equal', () => {
    const part = fc.integer({ min: 1, max: 30 });
    fc.assert(
      fc.property(part, part, part, part, (a, b, c, d) => {
        expect(answersEqual(`${a}/${b}`, `\\frac{${c}}{${d}}`)).toBe(a * d === b * c);
      }),
    );
  });

  it('takes the percent sign for a unit when asked to, as GSM8K does', () => {
    expect(answersEqual('50%', '50', { percent: 'unit' })).toBe(true);
    expect(answersEqual('50%', '0.5', { percent: 'unit' })).toBe(false);
  });

  it('leaves absurdly long texts alone', () => {
    const digits = '9'.repeat(100_000);
    expect(normalizeAnswer(digits)).toBe(digits);
  });
});

describe('referenceAnswers', () => {
  it('reads texts, numbers, lists and worked solutions', () => {
    expect(referenceAnswers('test', 0.1 + 0.2)).toEqual(['3/10']);
    expect(referenceAnswers('test', Number.MAX_SAFE_INTEGER)).toEqual(['9007199254740991']);
    expect(referenceAnswers('test', ['Rome', 7])).toEqual(['rome', '7']);
    expect(referenceAnswers('test', 'He has 9 - 3 = 6 and 12 more.\n#### 1,018')).toEqual(['1018']);
    expect(referenceAnswers('test', 'so $x = \\boxed{\\frac12}$')).toEqual(['1/2']);
  });

  it.each([null, undefined, '', ' ', Number.NaN, [], [null], {}])('refuses %j', (value) => {
    try {
      referenceAnswers('exactMatch', value);
      expect.unreachable();
    } catch (error) {
      expect(isPosttrainError(error) && [error.code, error.message.startsWith('exactMatch: ')]).toEqual([
        'NO_REFERENCE',
        true,
      ]);
    }
  });
});
