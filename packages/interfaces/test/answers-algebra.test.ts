import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AnswerOptions,
  answersEqual,
  equalAnswer,
  extractCode,
  extractFinalAnswer,
  gradeAnswer,
  normalizeAnswer,
  referenceAnswers,
} from '../src/answers/index.js';
import type { Verifier } from '../src/index.js';
import { exactMatch, numericMatch } from '../src/verifiers/index.js';

interface PublicCase {
  readonly test: string;
  readonly gold: string;
  readonly completion: string;
  readonly types: string;
}

const read = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../../goldens/answers/${name}.json`, import.meta.url), 'utf8')) as T;
const { cases } = read<{ cases: PublicCase[] }>('math-verify-cases');
const { public: verdicts } = read<{ public: boolean[] }>('expected');

/** Where this project decides otherwise than Math-Verify on its own tests, by their place in the file; argued in docs/eval/answers.md. */
const DIFFERENCES: Readonly<Record<string, readonly number[]>> = {
  'a line break inside of inline LaTeX is no reason to see none': [31, 32],
  'a working that is wrong is not its last number': [98, 100, 109],
  'a point is no set': [162],
  'equality is symmetric': [187],
  'a sum of boxes is no list': [191],
  'a box that is never closed holds nothing': [218],
  'f(x) is not f(y)': [254],
  '1 − 1/e is not 1 + 1/e': [264],
};
const differing = new Set(Object.values(DIFFERENCES).flat());
/** References that are an answer as a whole; the others are texts with an answer in them. */
const IS_ANSWER = /^\$[^$]*\$$|^\${2}[^$]*\${2}$|^[^ ]*$|^\$1\$ and|^\$21/;

describe('Math-Verify’s own cases', () => {
  it.each(cases.map((entry, i) => [i, entry.test, entry] as const))('%i %s', (i, _, { gold, completion, types }) => {
    // What Math-Verify does by default: six decimals, and a decimal comma where it is not told to look for LaTeX.
    const options = { arithmetic: 'computed', decimals: 6, decimal: types === 'expr' ? 'either' : 'point' } as const;
    const reference = IS_ANSWER.test(gold)
      ? referenceAnswers('test', gold, options)[0]!
      : extractFinalAnswer(gold, options);
    const correct = reference !== null && gradeAnswer(completion, [reference], options).correct;
    expect(correct, `${gold.slice(-120)} | ${completion.slice(-120)}`).toBe(
      differing.has(i) ? !verdicts[i] : verdicts[i],
    );
  });

  it('are decided alike but for 11 of 269', () => {
    expect([cases.length, verdicts.length, differing.size]).toEqual([269, 269, 11]);
  });
});

describe('answersEqual', () => {
  it.each([
    ['x+1', '1 + x'],
    ['(x+1)^2', 'x^2+2x+1'],
    ['\\frac{x^2-1}{x-1}', 'x+1'],
    ['\\sqrt{8}', '2\\sqrt{2}'],
    ['\\frac{1}{\\sqrt2}', '\\frac{\\sqrt{2}}{2}'],
    ['\\frac{1}{1+\\sqrt2}', '\\sqrt{2}-1'],
    ['\\sqrt{3+2\\sqrt2}', '1+\\sqrt2'],
    ['\\sqrt[3]{16}', '2\\sqrt[3]{2}'],
    ['2^{n+1}', '2 \\cdot 2^n'],
    ['e^{2x}', '(e^x)^2'],
    ['\\sin 2x', '2 \\sin x \\cos x'],
    ['\\sin^2 x + \\cos^2 x + x', '1 + x'],
    ['\\log_2 x', '\\frac{\\ln x}{\\ln 2}'],
    ['(a+b)(a-b)', 'a^2-b^2'],
    ['\\frac{\\pi}{4} + \\frac{\\pi}{4}', '\\frac{\\pi}{2}'],
    ['2i \\cdot 3i + x', 'x - 6'],
    ['n!/(n-1)!', 'n!/(n-1)!'],
    ['\\{1, 2, 3\\}', '3, 1, 2'],
    ['1 \\pm \\sqrt{5}', '\\{1-\\sqrt5, 1+\\sqrt5\\}'],
    ['x = 1 \\text{ or } x = -2', '\\{-2, 1\\}'],
    ['(\\frac12, \\sqrt{8})', '(0.5, 2\\sqrt2)'],
    ['x > 5', '(5, \\infty)'],
    ['-2 \\le x < 7', 'x \\in [-2, 7)'],
    ['-x > -1', 'x < 1'],
    ['(0,1) \\cup [1, 2]', '(0, 2]'],
    ['(-\\infty, 0) \\cup (3, \\infty)', '(3, \\infty) \\cup (-\\infty, 0)'],
    ['x^2 + y^2 = 1', '2x^2 + 2y^2 - 2 = 0'],
    ['y < 2x', '2x - y > 0'],
    [
      '\\begin{pmatrix} 1 & \\frac12 \\\\ 0 & x+1 \\end{pmatrix}',
      '\\begin{bmatrix} 1 & 0.5 \\\\ 0 & 1+x \\end{bmatrix}',
    ],
    ['|2 - x|', '|x - 2|'],
    ['a_1 + a_2', 'a_2+a_1'],
    ['\\alpha\\beta', '\\beta \\alpha'],
    ['x = 2, y = 3', '(2, 3)'],
    ['AB = 4, CD = 5', '4, 5'],
    ['x = 2, y = 3', 'y = 3, x = 2'],
    ['p=5,q=2;p=7,q=2', '(7, 2), (5, 2)'],
    ['W(n) = 1 \\text{ and } W(n) = -1', 'W(x) = -1, W(x) = 1'],
    ['|x| < 3', '(-3, 3)'],
    ['1 \\le |x| \\le 2', '[-2, -1] \\cup [1, 2]'],
    ['2x+4y-3=0', 'y = -\\frac{1}{2}x + \\frac{3}{4}'],
    ['\\frac{NO}{BO} = 2', '2'],
    ['\\sum_{k=1}^{n} a_k b_{k+1}', '\\sum_{j=1}^{n} b_{j+1} a_j'],
    ['\\sum_{i=1}^{n} \\sum_{j=1}^{m} (i + 2j)', '\\sum_{j=1}^{n} \\sum_{i=1}^{m} (j + 2i)'],
    ['x^{n} y', 'y x^n'],
    ['\\sum_{k=1}^{3} x^k', 'x + x^2 + x^3'],
    [
      '2\\begin{pmatrix} x & 1 \\end{pmatrix}',
      '\\begin{pmatrix} x & 1 \\end{pmatrix} + \\begin{pmatrix} x & 1 \\end{pmatrix}',
    ],
  ])('%s is %s', (a, b) => {
    expect(answersEqual(a, b)).toBe(true);
    expect(answersEqual(b, a)).toBe(true);
  });

  it.each([
    ['x+1', 'x-1'],
    ['x+1', 'y+1'],
    ['\\sqrt{x^2}', 'x'],
    ['|x|', 'x'],
    ['\\ln x^2', '2 \\ln x'],
    ['\\sqrt{2}', '\\sqrt{3}'],
    ['10^{100} + x', '10^{100} + 1 + x'],
    ['10^{30}\\sqrt{2} + \\sqrt{3}', '10^{30}\\sqrt{2} + \\sqrt{5}'],
    ['2^{100}x', '2^{100}x + 1'],
    ['f(x)', 'f(y)'],
    ['f(x)', 'g(x)'],
    ['(1, 2)', '(2, 1)'],
    ['(1, 2)', '[1, 2]'],
    ['(1, 2)', '\\{1, 2\\}'],
    ['\\{1, 2\\}', '\\{1, 2, 3\\}'],
    ['x \\ge 5', '(5, \\infty)'],
    ['x > 5', 'x < 5'],
    ['x = 2, y = 3', 'x = 3, y = 2'],
    ['x^2 = 4', 'x = 2'],
    ['x < y', 'y < x'],
    ['(0,1) \\cup (1, 2]', '(0, 2]'],
    ['\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}', '\\begin{pmatrix} 1 & 2 \\end{pmatrix}'],
    ['2 + 3', '5'],
    ['\\sqrt{4}', '2'],
    ['\\binom{5}{2}', '10'],
    ['(2 + 3, 1)', '(5, 1)'],
    ['1.41421356237', '\\sqrt{2}'],
    ['0.3333333333333333', '1/3'],
    ['204_5', '204'],
    ['abc', 'cba'],
    ['1/0', '2/0'],
    ['x = 2, y = 3', '3, 2'],
    ['x = 2, y = 3', '[2, 3]'],
    ['x = 2, y = 3', 'x = 2, z = 3'],
    ['p=5,q=2;p=7,q=2', '(2, 5), (7, 2)'],
    ['|x| < 3', '(0, 3)'],
    ['|x| > -1', 'x > -1'],
    ['2x+4y-3=0', 'y = -\\frac{1}{2}x + 1'],
    ['2x+4y+z=3', '3 - 2x - 4y + z'],
    ['x = 5 + y - y', 'x'],
    ['\\sum_{k=1}^{n} a_k', '\\sum_{k=0}^{n} a_k'],
    ['\\sum_{i=1}^{n} \\sum_{j=1}^{m} (i + 2j)', '\\sum_{i=1}^{n} \\sum_{j=1}^{m} (2i + j)'],
    ['\\sum_{k=1}^{3} k', '6'],
    [
      '\\begin{pmatrix} 1 & 2 \\end{pmatrix} + \\begin{pmatrix} 1 & 0 \\end{pmatrix}',
      '\\begin{pmatrix} 2 & 2 \\end{pmatrix}',
    ],
    ['2021-03-05', '2013'],
  ])('%s is not %s', (a, b) => {
    expect(answersEqual(a, b)).toBe(false);
    expect(answersEqual(b, a)).toBe(false);
  });

  it('computes arithmetic when it is asked to', () => {
    for (const [a, b] of [
      ['2 + 3', '5'],
      ['\\sqrt{4}', '2'],
      ['5!', '120'],
      ['\\binom{5}{2}', '10'],
      ['(2+3, 1)', '(5, 1)'],
      ['6 \\cdot 7', '42'],
      ['\\sum_{k=1}^{3} k', '6'],
      ['\\prod_{k=1}^{4} 2', '16'],
      ['\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}^2', '\\begin{pmatrix} 7 & 10 \\\\ 15 & 22 \\end{pmatrix}'],
      [
        '\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}^T \\cdot \\begin{pmatrix} 3 \\\\ 4 \\end{pmatrix}',
        '\\begin{pmatrix} 11 \\end{pmatrix}',
      ],
      [
        '2(\\begin{pmatrix} 1 & 2 \\end{pmatrix} - \\begin{pmatrix} 0 & 5 \\end{pmatrix})',
        '\\begin{pmatrix} 2 & -6 \\end{pmatrix}',
      ],
      ['-3\\begin{bmatrix} 1 & 2 \\end{bmatrix}', '\\begin{pmatrix} -3 & -6 \\end{pmatrix}'],
    ] as const) {
      expect(answersEqual(a, b, { arithmetic: 'computed' })).toBe(true);
    }
    expect(answersEqual('2 + 3', '6', { arithmetic: 'computed' })).toBe(false);
    expect(() => answersEqual('1', '1', { arithmetic: 'done' as never })).toThrow('arithmetic');
  });

  it('rounds and reads a decimal comma when it is asked to', () => {
    const rounded = { decimals: 6 } as const;
    expect(answersEqual('0.333333', '1/3', rounded)).toBe(true);
    expect(answersEqual('0.33333', '1/3', rounded)).toBe(false);
    expect(answersEqual('-0.6666667', '-\\frac23', rounded)).toBe(true);
    expect(answersEqual('10^{30}+1', '10^{30}', { ...rounded, arithmetic: 'computed' })).toBe(false);
    expect(answersEqual('1.414214', '\\sqrt{2}', { ...rounded, arithmetic: 'computed' })).toBe(true);
    expect(() => answersEqual('1', '1', { decimals: -1 })).toThrow('decimals');
    const either = { decimal: 'either' } as const;
    for (const [a, b] of [
      ['1,22', '1.22'],
      ['0,111', '.111'],
      ['1000,99', '1000.99'],
      ['1.234,5', '1234.5'],
      ['-2,5 kg', '-2.5'],
      ['1,234', '1234'],
    ] as const) {
      expect(answersEqual(a, b, either), a).toBe(true);
    }
    expect(answersEqual('1,22', '1.22')).toBe(false);
    expect(answersEqual('1,22', '1, 22')).toBe(true);
    expect(answersEqual('1,22', '1, 22', either)).toBe(false);
  });

  it('finds what rewriting leaves equal, and what a change of a coefficient does not', () => {
    const leaf = fc.oneof(
      fc.integer({ min: 1, max: 9 }).map((n): [string, string] => [String(n), String(n)]),
      fc.constantFrom('x', 'y', '\\pi', '\\sqrt{2}').map((name): [string, string] => [name, name]),
    );
    const { tree } = fc.letrec<{ tree: [string, string] }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 3 },
        leaf,
        fc.tuple(tie('tree'), tie('tree')).map(([[a, c], [b, d]]): [string, string] => [`(${a}+${b})`, `(${d}+${c})`]),
        fc
          .tuple(tie('tree'), tie('tree'))
          .map(([[a, c], [b, d]]): [string, string] => [`(${a})(${b})`, `(${d}) \\cdot (${c})`]),
        fc
          .tuple(tie('tree'), tie('tree'), leaf)
          .map(([[a, c], [b, d], [e, f]]): [string, string] => [`(${a}+${b})(${e})`, `(${f})(${c})+(${f})(${d})`]),
        tie('tree').map(([a, c]): [string, string] => [`(${a})^2`, `(${c}) \\cdot (${c})`]),
        tie('tree').map(([a, c]): [string, string] => [`\\frac{1}{${a}}`, `(${c})^{-1}`]),
      ),
    }));
    fc.assert(
      fc.property(tree, ([one, other]) => {
        fc.pre(one.length < 150 && other.length < 150);
        // A name beside them: formulas of numbers only may come to a number that is written.
        expect(answersEqual(`${one}+z`, `z+${other}`)).toBe(true);
        expect(answersEqual(`${one}+z`, `2z+${other}`)).toBe(false);
        expect(answersEqual(`${one}+z`, `z+${other}+1`)).toBe(false);
      }),
      { numRuns: 150, seed: 3 },
    );
  });

  it('ends soon on what it was not written for', () => {
    const odd = [
      '('.repeat(300),
      '2^{'.repeat(60),
      `${'(x+1)'.repeat(60)}`,
      '(x+y+z+w)^{64}',
      '9^{9^{9}}',
      '((a+b)^{8}+c)^{8}',
      '100000000000000000039!',
      '\\frac{'.repeat(50),
      '170!^{60}',
      'x^{64}'.repeat(60),
      '1,'.repeat(300),
      '\\pm'.repeat(40),
    ];
    const start = performance.now();
    for (const a of odd) for (const b of odd) answersEqual(a, `${b}+x`);
    expect(performance.now() - start).toBeLessThan(10_000);
    fc.assert(
      fc.property(
        fc.array(
          fc.constantFrom(
            ...'0123456789xyπ()[]{}^_+-*/|,;=<≤≠ !'.split(''),
            '\\frac',
            '\\sqrt',
            '\\sin',
            '\\cup',
            '\\pm',
            '∞',
          ),
          { maxLength: 20 },
        ),
        (parts) => {
          const text = parts.join('');
          expect(answersEqual(text, text)).toBe(true);
          expect(answersEqual(text, `${text}+x`)).toBe(answersEqual(`${text}+x`, text));
        },
      ),
      { numRuns: 1000, seed: 1 },
    );
  });

  it('is reflexive and symmetric, and reads anything, under every option', () => {
    const piece = fc.constantFrom(
      ...'0123456789xyABπ()[]{}^_+-*/|,;=<≤ !.%$&⏎\\'.split(''),
      ...[
        '\\frac{',
        '\\sqrt',
        '\\sum_{k=1}^{3}',
        '\\begin{pmatrix}',
        '\\end{pmatrix}',
        '\\\\',
        '\\boxed{',
        ' and ',
        ' or ',
      ],
      ...['x=', 'y=1', '1,22', '3/5/2021', 'March 5', '∞', '|x|', '±', '<answer>', '####', 'the answer is ', '```\n'],
    );
    const answer = fc.array(piece, { maxLength: 14 }).map((parts) => parts.join(''));
    const options = fc.constantFrom<AnswerOptions>(
      {},
      { arithmetic: 'computed' },
      { decimals: 3, percent: 'unit' },
      { arithmetic: 'computed', decimals: 3, decimal: 'either', dates: 'day first' },
    );
    fc.assert(
      fc.property(answer, answer, options, (a, b, how) => {
        expect(answersEqual(a, a, how)).toBe(true);
        expect(answersEqual(a, b, how)).toBe(answersEqual(b, a, how));
        const spelling = normalizeAnswer(a, how);
        expect(normalizeAnswer(spelling, how)).toBe(spelling);
        extractFinalAnswer(`${a} ${b}`, how);
      }),
      { numRuns: 2000, seed: 7 },
    );
  });

  it('reads 100 kB of what is hostile in less than 2 seconds: what is quadratic takes minutes', () => {
    const pieces = [
      '\\boxed{1} and ',
      'the answer is 1, ',
      '5 March 2021 ',
      '####',
      '1,22',
      '```\n',
      '$x=1$ ',
      '(((',
      'x=1,',
    ];
    for (const piece of [...pieces, '\\frac{1}{', '\\sum_{k=0}^n', '\\begin{pmatrix}', 'a1b', '\\text{']) {
      const text = piece.repeat(100_000 / piece.length);
      const start = performance.now();
      extractFinalAnswer(text);
      gradeAnswer(text, ['1']);
      answersEqual(text, `${text}+x`);
      extractCode(text, 'python', 'f');
      expect(performance.now() - start, piece).toBeLessThan(2000);
    }
  });

  it('is what votes count by', () => {
    expect(equalAnswer(['3', '2\\sqrt{2}', '\\sqrt{8}'], '\\sqrt{8}')).toBe('\\sqrt{8}');
    expect(equalAnswer(['3', '2\\sqrt{2}'], '\\sqrt{8}')).toBe('2\\sqrt{2}');
    expect(equalAnswer(['3'], '\\sqrt{8}')).toBeUndefined();
  });
});

describe('several boxes', () => {
  it.each([
    ['$\\boxed{1}$ and $\\boxed{2}$', '1, 2'],
    ['\\boxed{x}, \\boxed{y+1}', 'x, y+1'],
    ['First \\boxed{1}. But no: \\boxed{2}', '2'],
    ['\\boxed{1} and \\boxed{2', null],
    ['so $\\boxed{28}$ percent', '7/25'],
    ['\\boxed{1} papers and \\boxed{2} bins', '1, 2'],
    ['$x = \\boxed{1}$ and $y = \\boxed{2}$', '1, 2'],
    ['\\boxed{1} and so \\boxed{2}', '2'],
    ['\\boxed{1} + \\boxed{2}', '2'],
    ['\\boxed{200}, then \\boxed{255}. Final Answer: The final answer is $455$. I hope it is correct.', '455'],
    ['\\boxed{200}. I hope the final answer is correct.', '200'],
    ['The final answer is $3$, so \\boxed{4}', '4'],
    ['Final Answer: Jane started growing Sphere 3 hours ago.', '3'],
    [
      'Final Answer: Jane started growing half of Sphere 3 hours ago.',
      'jane started growing half of sphere 3 hours ago',
    ],
  ])('%s: %s', (text, answer) => {
    expect(extractFinalAnswer(text)).toBe(answer);
  });

  it('do not pay for one of two', () => {
    expect(gradeAnswer('\\boxed{1} or \\boxed{2}', ['2']).correct).toBe(false);
    expect(gradeAnswer('\\boxed{2} and \\boxed{1}', ['1, 2']).correct).toBe(true);
  });
});

describe('verifiers', () => {
  const ask = async (verifier: { verify: Verifier['verify'] }, completion: string, answer: string) =>
    (await verifier.verify([{ prompt: '', completion, row: { answer } }]))[0]!.score;

  it('grade by the same equality, whoever finds the answer, and are told what arithmetic is', async () => {
    expect(await ask(exactMatch(), 'So \\boxed{2\\sqrt2}', '\\sqrt{8}')).toBe(1);
    expect(await ask(exactMatch({ filters: [(text) => text.slice(3)] }), 'so x+1', '1+x')).toBe(1);
    expect(await ask(exactMatch({ normalize: [] }), 'x+1', '1+x')).toBe(0);
    for (const verifier of [exactMatch, numericMatch]) {
      expect(await ask(verifier(), '\\boxed{2 + 3}', '5')).toBe(0);
      expect(await ask(verifier({ arithmetic: 'computed' }), '\\boxed{2 + 3}', '5')).toBe(1);
      // A run that is resumed with the other is another run.
      expect(verifier({ arithmetic: 'computed' }).settings).not.toEqual(verifier().settings);
    }
  });
});
