import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  arithmetic,
  type ChainOperator,
  countdown,
  createRandom,
  evaluateExpression,
  modularChain,
  type ProceduralTask,
  parseExpression,
  readRows,
  reverseText,
  splitOfProblem,
  type TaskRow,
  taskRows,
  taskVerifier,
  writeRows,
} from '../src/index.js';
import { collect, useTemporaryFolder } from './temporary-folder.js';

const path = useTemporaryFolder();

const TASKS: readonly (readonly [string, ProceduralTask, RegExp])[] = [
  ['arithmetic', arithmetic(), /^[-+*=#0-9]+$/],
  ['arithmetic, no scratchpad', arithmetic({ scratchpad: 'none', digits: [1, 5] }), /^[-+*=#0-9]+$/],
  ['arithmetic, columns', arithmetic({ digits: [1, 4], terms: [2, 5], scratchpad: 'columns' }), /^[-+*=#[\],0-9]+$/],
  [
    'arithmetic, columns with products',
    arithmetic({ digits: 1, terms: [2, 6], operators: ['+', '-', '*'], scratchpad: 'columns' }),
    /^[-+*=#[\],0-9]+$/,
  ],
  ['countdown', countdown(), /^[-+*=#,>:()0-9]+$/],
  [
    'countdown, four operators',
    countdown({ numbers: [2, 5], operators: ['+', '-', '*', '/'], maxNumber: 25, maxTarget: 200 }),
    /^[-+*/=#,>:()0-9]+$/,
  ],
  ['reverse-text', reverseText(), /^[a-z >,#]+$/],
  ['reverse-text, other alphabet', reverseText({ alphabet: 'é🎉x', length: 6, scratchpad: 'none' }), /^[é🎉x>#]+$/u],
  ['modular-chain', modularChain(), /^[-+*=#,%:0-9]+$/],
  ['modular-chain, modulus 97', modularChain({ modulus: 97, steps: 5 }), /^[-+*=#,%:0-9]+$/],
];

/** The value by JavaScript's own arithmetic: an evaluator that shares no code with ours. */
const evaluateByJavaScript = (expression: string): number => {
  if (!/^[-+*/() 0-9]+$/.test(expression)) throw new Error(`not an expression: ${expression}`);
  return new Function(`return ${expression}`)() as number;
};

describe.each(TASKS)('%s', (_, task, characters) => {
  const problems = fc.tuple(fc.maxSafeInteger(), fc.nat(1_000_000)).map(([seed, index]) => task.generate(seed, index));

  test('a problem depends on seed and index only', () => {
    expect(task.generate(1, 5)).toEqual(task.generate(1, 5));
    const many = Array.from({ length: 50 }, (_, index) => task.key(task.generate(2, index)));
    expect(new Set(many).size).toBeGreaterThan(25);
    expect(task.key(task.generate(2, 0)) === task.key(task.generate(3, 0))).toBe(false);
  });

  test('accepts its own solution, also after JSON; uses only its characters', () => {
    fc.assert(
      fc.property(problems, (problem) => {
        const stored = JSON.parse(JSON.stringify(problem)) as object;
        expect(stored).toEqual(problem);
        expect(task.check(stored, task.solution(problem))).toEqual({ correct: true });
        expect(task.check(stored, ` ${task.solution(problem)} \n`)).toEqual({ correct: true });
        expect(task.extractAnswer(task.solution(problem))).toBe(task.answer(problem));
        expect(task.prompt(problem) + task.solution(problem)).toMatch(characters);
      }),
    );
  });

  test('rejects solutions without a single answer', () => {
    fc.assert(
      fc.property(problems, (problem) => {
        const solution = task.solution(problem);
        for (const bad of ['', '#', solution.replace('#', ''), `${solution}#`, `#1${solution}`, `${solution} x`]) {
          expect(task.check(problem, bad)).toMatchObject({ correct: false, reason: expect.stringMatching(/./) });
        }
      }),
    );
  });

  test('train and test share no problem, whatever the seeds', () => {
    const train = [...taskRows(task, { split: 'train', count: 40, seed: 1 })];
    const held = [...taskRows(task, { split: 'test', count: 10, seed: 2 })];
    const keys = (rows: readonly TaskRow[]) => rows.map((row) => task.key(row.problem));
    expect(keys(held).filter((key) => keys(train).includes(key))).toEqual([]);
    expect(new Set(keys(train)).size).toBe(40);
    for (const row of held) expect(splitOfProblem(task, row.problem)).toBe('test');
  });
});

describe.each(TASKS.filter(([, task]) => task.name !== 'countdown'))('%s: exact answer', (_, task) => {
  test('rejects every other answer', () => {
    const edit = fc.record({
      at: fc.nat(8),
      kind: fc.constantFrom('delete', 'insert', 'replace'),
      char: fc.constantFrom(...'0123456789-+.ax'),
    });
    fc.assert(
      fc.property(fc.maxSafeInteger(), edit, (seed, { at, kind, char }) => {
        const problem = task.generate(seed, 0);
        const answer = [...task.answer(problem)];
        const mutant = answer.toSpliced(
          at % answer.length,
          kind === 'insert' ? 0 : 1,
          ...(kind === 'delete' ? [] : [char]),
        );
        fc.pre(mutant.join('') !== answer.join(''));
        // `+7` and `07` are the number 7; a text must be the same letter by letter.
        const same = task.name !== 'reverse-text' && Number(mutant.join('') || 'none') === Number(answer.join(''));
        expect(task.check(problem, `#${mutant.join('')}`).correct).toBe(same);
      }),
    );
  });
});

describe('arithmetic', () => {
  test('the formats of its documentation', () => {
    const problem = { terms: [57, 68, 5], operators: ['+', '-'] } as const;
    expect(arithmetic().prompt(problem)).toBe('57+68-5=');
    expect(arithmetic().solution(problem)).toBe('125-5=120#120');
    expect(arithmetic({ scratchpad: 'columns' }).solution(problem)).toBe(
      '[7+8=15,5+6+1=12]125-5=[5-5=0,2=2,1=1]120#120',
    );
  });

  test.each(TASKS.filter(([, task]) => task.name === 'arithmetic'))(
    '%s: prompt, every step and every column are true by JavaScript arithmetic',
    (_, task) => {
      fc.assert(
        fc.property(fc.maxSafeInteger(), (seed) => {
          const problem = task.generate(seed, 1);
          const value = evaluateByJavaScript(task.prompt(problem).slice(0, -1));
          expect(task.answer(problem)).toBe(String(value));
          const [scratchpad, answer] = task.solution(problem).split('#');
          expect(answer).toBe(String(value));
          for (const column of scratchpad!.match(/\[[^\]]*\]/g) ?? []) {
            for (const equation of column.slice(1, -1).split(',')) {
              const [left, right] = equation.split('=');
              expect(evaluateByJavaScript(left!)).toBe(Number(right));
            }
          }
          const steps = scratchpad!.replaceAll(/\[[^\]]*\]/g, '').split('=');
          for (const step of steps) if (step !== '') expect(evaluateByJavaScript(step)).toBe(value);
        }),
      );
    },
  );

  test('the digits of the columns are the digits of the result', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -99_999, max: 99_999 }),
        fc.nat(99_999),
        fc.constantFrom('+', '-'),
        (a, b, operator) => {
          const task = arithmetic({ digits: 5, scratchpad: 'columns' });
          const solution = task.solution({ terms: [a, b], operators: [operator as '+'] });
          const results = solution
            .slice(1, solution.indexOf(']'))
            .split(',')
            .map((equation) => equation.split('=')[1]!);
          const digits = results.map((result, i) => (i === results.length - 1 ? result : result.at(-1)!));
          expect(Number(digits.reverse().join(''))).toBe(Math.abs(operator === '+' ? a + b : a - b));
        },
      ),
    );
  });

  test('the key ignores the order of sums and products, and nothing else', () => {
    const key = (terms: number[], operators: string) => arithmetic().key({ terms, operators: [...operators] as '+'[] });
    expect(key([1, 2, 3], '+*')).toBe(key([3, 2, 1], '*+'));
    expect(key([5, 1, 2], '-+')).toBe(key([2, 5, 1], '+-'));
    expect(key([5, 1], '-')).not.toBe(key([1, 5], '-'));
    expect(key([12, 3], '+')).not.toBe(key([1, 23], '+'));
  });

  test('terms have the digits asked for', () => {
    for (const row of taskRows(arithmetic({ digits: [2, 3], terms: 4 }), { split: 'train', count: 50, seed: 0 })) {
      expect(row.problem.terms).toHaveLength(4);
      for (const term of row.problem.terms) expect(term >= 10 && term <= 999).toBe(true);
    }
  });
});

describe('countdown', () => {
  const task = countdown({ operators: ['+', '-', '*', '/'] });
  const problem = { numbers: [3, 5, 7], target: 22, expression: '3*5+7' };

  test('the formats of its documentation', () => {
    expect(task.prompt(problem)).toBe('3,5,7>22:');
    expect(task.solution(problem)).toBe('3*5=15,15+7=22#3*5+7');
  });

  test.each([
    ['#7+5*3', true],
    ['thinking ...#(3*5)+7', true],
    ['#22', false],
    ['#3*5+7=22', false],
    ['#3*5+7+3-3', false],
    ['#3+5+7', false],
    ['#35-7', false],
    ['#3*5+(7', false],
    ['#3*5+7/(3-3)', false],
    ['#-3*-5+7', false],
    ['#3*5+07', false],
    ['#process.exit(1)', false],
    [`#${'('.repeat(1000)}`, false],
  ])('%s is %s', (completion, correct) => {
    expect(task.check(problem, completion).correct).toBe(correct);
  });

  test('exact where floating point is not: 8/(3-8/3) = 24, and 49*(1/49) = 1', () => {
    expect(task.check({ numbers: [3, 3, 8, 8], target: 24, expression: '' }, '#8/(3-8/3)')).toEqual({ correct: true });
    expect(49 * (1 / 49)).not.toBe(1);
    expect(task.check({ numbers: [1, 49, 49], target: 1, expression: '' }, '#49*(1/49)')).toEqual({ correct: true });
  });

  test('only the allowed operators count', () => {
    const sums = countdown({ operators: ['+'] });
    expect(sums.check(problem, '#3*5+7')).toEqual({ correct: false, reason: 'the operator * is not allowed' });
  });

  test('agrees with JavaScript on mutants of right answers', () => {
    const edit = fc.record({
      at: fc.nat(20),
      kind: fc.constantFrom('delete', 'insert', 'replace'),
      char: fc.constantFrom(...'123456789+-*/()'),
    });
    let rejected = 0;
    fc.assert(
      fc.property(fc.maxSafeInteger(), fc.array(edit, { minLength: 1, maxLength: 2 }), (seed, edits) => {
        const made = task.generate(seed, 0);
        let text = [...made.expression];
        for (const { at, kind, char } of edits) {
          text = text.toSpliced(
            at % (text.length + 1),
            kind === 'insert' ? 0 : 1,
            ...(kind === 'delete' ? [] : [char]),
          );
        }
        const mutant = text.join('');
        // JavaScript also takes signs and comments, which the task does not; leave those mutants to the table above.
        fc.pre(mutant !== '' && !/(^|[-+*/(])[-+]|\/[/*]|\*\*/.test(mutant));
        let value = Number.NaN;
        try {
          value = evaluateByJavaScript(mutant);
        } catch {}
        const numbers = (mutant.match(/\d+/g) ?? []).map(Number).sort((a, b) => a - b);
        const same = numbers.join() === [...made.numbers].sort((a, b) => a - b).join();
        const expected = same && Math.abs(value - made.target) < 1e-9;
        expect(task.check(made, `#${mutant}`).correct).toBe(expected);
        if (!expected) rejected++;
      }),
      { numRuns: 500 },
    );
    expect(rejected).toBeGreaterThan(100);
  });

  test('every step of the solution is true and made of what is at hand', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (seed) => {
        const made = task.generate(seed, 0);
        const hand = [...made.numbers];
        for (const step of task.solution(made).split('#')[0]!.split(',')) {
          const [, a, operator, b, value] = /^(\d+)([-+*/])(\d+)=(\d+)$/.exec(step)!;
          for (const used of [a, b]) {
            const at = hand.indexOf(Number(used));
            expect(at).toBeGreaterThanOrEqual(0);
            hand.splice(at, 1);
          }
          expect(evaluateByJavaScript(`${a}${operator}${b}`)).toBe(Number(value));
          hand.push(Number(value));
        }
        expect(hand).toEqual([made.target]);
      }),
    );
  });

  test('impossible options are errors, not endless loops', () => {
    expect(() => countdown({ operators: ['*'], numbers: 8, maxTarget: 1, maxNumber: 1000 }).generate(1, 0)).toThrow(
      /1000 attempts/,
    );
  });
});

describe('expressions', () => {
  test('parsing agrees with JavaScript, and rendering parses back to the same value', () => {
    const { expression } = fc.letrec<{ expression: string }>((tie) => ({
      expression: fc.oneof(
        { maxDepth: 4 },
        fc.nat(99).map(String),
        fc.tuple(tie('expression'), fc.constantFrom(...'+-*'), tie('expression')).map((parts) => parts.join('')),
        tie('expression').map((inner) => `( ${inner})`),
      ),
    }));
    fc.assert(
      fc.property(expression, (text) => {
        fc.pre(text.length <= 200);
        const parsed = parseExpression(text);
        if (!parsed.ok) throw new Error(parsed.reason);
        expect(evaluateExpression(parsed.expression)).toEqual({
          numerator: BigInt(evaluateByJavaScript(text)),
          denominator: 1n,
        });
      }),
    );
  });

  test.each(['', '1+', '+1', '1 2', '(1', '1)', '()', '1.5', '1e3', '2(3)', '01', '１', 'x', '1/*2'])(
    '%j does not parse',
    (text) => {
      expect(parseExpression(text)).toMatchObject({ ok: false, reason: expect.stringMatching(/position \d+/) });
    },
  );
});

describe('reverseText and modularChain', () => {
  test('the formats of their documentation', () => {
    expect(reverseText().prompt({ text: 'cat' })).toBe('cat>');
    expect(reverseText().solution({ text: 'cat' })).toBe('c a t,t a c#tac');
    const steps = [
      { operator: '+', operand: 4 },
      { operator: '*', operand: 2 },
      { operator: '-', operand: 5 },
    ] as const;
    expect(modularChain().prompt({ modulus: 7, start: 3, steps })).toBe('%7:3+4*2-5=');
    expect(modularChain().solution({ modulus: 7, start: 3, steps })).toBe('3+4=0,0*2=0,0-5=2#2');
  });

  test('reversing twice gives the text', () => {
    const task = reverseText();
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (text) => {
        expect(task.answer({ text: task.answer({ text }) })).toBe(text);
      }),
    );
  });

  test('a chain is congruent to the same chain worked out without the modulus', () => {
    const task = modularChain({ modulus: 13, steps: [1, 8] });
    fc.assert(
      fc.property(fc.maxSafeInteger(), (seed) => {
        const { start, steps } = task.generate(seed, 0);
        let value = BigInt(start);
        for (const { operator, operand } of steps) {
          if (operator === '+') value += BigInt(operand);
          else if (operator === '-') value -= BigInt(operand);
          else value *= BigInt(operand);
        }
        expect(BigInt(task.answer(task.generate(seed, 0)))).toBe(((value % 13n) + 13n) % 13n);
      }),
    );
  });
});

test('reorderings of a problem have its key, so that none of them is in the other split', () => {
  const swap = <T>(random: ReturnType<typeof createRandom>, items: readonly T[]) => random.shuffled([...items]);
  fc.assert(
    fc.property(fc.maxSafeInteger(), (seed) => {
      const random = createRandom(seed, 'reorder');
      const chain = modularChain({ modulus: 7, steps: [1, 6] });
      const problem = chain.generate(seed, 0);
      // One run of operators that commute with each other, the start among its operands where it is the first.
      const product = problem.steps[0]!.operator === '*';
      const other = problem.steps.findIndex((step) => (step.operator === '*') !== product);
      const run = problem.steps.slice(0, other === -1 ? undefined : other);
      const parts = swap(random, [{ operator: product ? '*' : '+', operand: problem.start } as const, ...run]);
      // A chain cannot begin with a minus.
      parts.sort((a, b) => Number(a.operator === '-') - Number(b.operator === '-'));
      const [first, ...rest] = parts;
      const reordered = { ...problem, start: first!.operand, steps: [...rest, ...problem.steps.slice(run.length)] };
      expect(chain.answer(reordered)).toBe(chain.answer(problem));
      expect(chain.key(reordered)).toBe(chain.key(problem));
      expect(splitOfProblem(chain, reordered)).toBe(splitOfProblem(chain, problem));

      const given = countdown({ numbers: 4 }).generate(seed, 0);
      expect(countdown().key({ ...given, numbers: swap(random, given.numbers) })).toBe(countdown().key(given));
      const sum = arithmetic({ terms: 4, operators: ['+'] });
      const terms = sum.generate(seed, 0);
      expect(sum.key({ ...terms, terms: swap(random, terms.terms) })).toBe(sum.key(terms));
      const text = reverseText().generate(seed, 0);
      expect(reverseText().key({ text: reverseText().answer(text) })).toBe(reverseText().key(text));
    }),
  );
});

test('chains that are other problems have other keys', () => {
  const chain = modularChain();
  const problem = (start: number, ...steps: readonly (readonly [ChainOperator, number])[]) => ({
    modulus: 10,
    start,
    steps: steps.map(([operator, operand]) => ({ operator, operand })),
  });
  const keys = [
    problem(3, ['+', 4], ['*', 2]),
    problem(3, ['*', 4], ['+', 2]),
    problem(3, ['*', 2], ['+', 4]),
    problem(3, ['-', 4], ['*', 2]),
    problem(4, ['-', 3], ['*', 2]),
    problem(3, ['+', 4], ['+', 2]),
    problem(3, ['+', 4], ['*', 2], ['+', 1]),
    problem(3, ['+', 1], ['*', 2], ['+', 4]),
  ].map(chain.key);
  expect(new Set(keys).size).toBe(keys.length);
});

describe('taskRows', () => {
  test('rows of one seed never change', () => {
    const first = (task: ProceduralTask) => [...taskRows(task, { split: 'train', count: 1, seed: 0 })][0];
    expect(TASKS.map(([, task]) => `${first(task)?.prompt}${first(task)?.completion}`)).toMatchInlineSnapshot(`
      [
        "44-37=7#7",
        "8-68265=#-68257",
        "418+5265-7733=[8+5=13,1+6+1=8,4+2=6,5=5]5683-7733=[3-3=0,13-8=5,7-6-1=0,7-5=2]-2050#-2050",
        "2-5=[5-2=3]-3#-3",
        "2,3,1>6:1+2=3,3+3=6#1+2+3",
        "8,12>20:12+8=20#12+8",
        "gptwn>g p t w n,n w t p g#nwtpg",
        "é🎉éééé>#éééé🎉é",
        "%10:8+1*5+6=8+1=9,9*5=5,5+6=1#1",
        "%97:17+15*65+21+41*76=17+15=32,32*65=43,43+21=64,64+41=8,8*76=26#26",
      ]
    `);
  });

  test('a task with too few problems is an error; unique: false repeats them', () => {
    const small = arithmetic({ digits: 1, operators: ['+'] });
    expect(() => [...taskRows(small, { split: 'train', count: 100, seed: 0 })]).toThrow(
      expect.objectContaining({
        code: 'TASK_EXHAUSTED',
        message: expect.stringMatching(/only \d+ different problems/),
      }),
    );
    expect([...taskRows(small, { split: 'train', count: 100, seed: 0, unique: false })]).toHaveLength(100);
    const train = new Set(
      [...taskRows(small, { split: 'train', count: 500, seed: 0, unique: false })].map((r) => small.key(r.problem)),
    );
    const held = new Set(
      [...taskRows(small, { split: 'test', count: 500, seed: 0, unique: false })].map((r) => small.key(r.problem)),
    );
    expect(train.size + held.size).toBe(55);
  });

  test('rows survive JSONL and Parquet, and the verifier scores them from the row alone', async () => {
    const tasks: readonly ProceduralTask[] = [arithmetic(), countdown(), reverseText(), modularChain()];
    const rows = tasks.flatMap((task) => [...taskRows(task, { split: 'test', count: 5, seed: 3 })]);
    const verifier = taskVerifier(tasks);
    for (const name of ['rows.jsonl', 'rows.parquet']) {
      await writeRows(path(name), rows);
      const read = (await collect(readRows(path(name)))) as TaskRow[];
      const right = read.map((row) => ({ prompt: row.prompt, completion: row.completion, row }));
      expect(await verifier.verify(right)).toEqual(rows.map(() => ({ score: 1 })));
      const wrong = read.map((row) => ({ prompt: row.prompt, completion: '#oops', row }));
      for (const verdict of await verifier.verify(wrong)) {
        expect(verdict).toMatchObject({ score: 0, explanation: expect.stringMatching(/./) });
      }
    }
  });

  test('the verifier refuses rows it cannot judge', async () => {
    const verifier = taskVerifier([arithmetic()]);
    await expect(verifier.verify([{ prompt: 'p', completion: '#1', row: { task: 'chess' } }])).rejects.toThrow(
      /"chess"/,
    );
    await expect(verifier.verify([{ prompt: 'p', completion: '#1' }])).rejects.toThrow(/must be one of arithmetic/);
    await expect(verifier.verify([{ prompt: 'p', completion: '#1', row: { task: 'arithmetic' } }])).rejects.toThrow(
      /"problem": must be an object/,
    );
  });

  test('options are checked', () => {
    expect(() => arithmetic({ digit: 2 } as object)).toThrow(/Did you mean "digits"/);
    expect(() => arithmetic({ digits: [3, 2] })).toThrow(/digits/);
    expect(() => arithmetic({ operators: [] })).toThrow(/operators/);
    expect(() => arithmetic({ operators: ['*'], digits: 8 })).toThrow(/at most 15/);
    expect(() => arithmetic({ operators: ['*'], scratchpad: 'columns' })).toThrow(/digits to 1/);
    expect(() => reverseText({ alphabet: 'a b' })).toThrow(/alphabet/);
    expect(() => modularChain({ modulus: 1 })).toThrow(/modulus/);
    expect(() => [...taskRows(arithmetic(), { split: 'dev' as 'test', count: 1, seed: 0 })]).toThrow(
      /one of "train", "test"/,
    );
  });
});
