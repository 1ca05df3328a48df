import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  pipeline,
  type ReasoningTaskMaker,
  reasoningTask,
  reasoningTasks,
  taggedAnswer,
  taskCurriculum,
  taskRows,
  taskVerifier,
} from '../src/index.js';

const TASKS = Object.entries(reasoningTasks) as unknown as readonly (readonly [string, ReasoningTaskMaker])[];
const LEVELS = [0, 1, 2, 3];
const taskOf = (name: keyof typeof reasoningTasks, level = 0) =>
  (reasoningTasks[name] as unknown as ReasoningTaskMaker)({ level });
/** Problems of a task with its answer, at a level. */
const some = <P>(
  name: keyof typeof reasoningTasks,
  level = 1,
  count = 12,
): { p: P; answer: string; prompt: string }[] => {
  const task = taskOf(name, level);
  return Array.from({ length: count }, (_, i) => {
    const problem = task.generate(5, i);
    return { p: problem as P, answer: task.answer(problem), prompt: task.prompt(problem) };
  });
};
const evaluated = (expression: string): unknown => new Function(`return (${expression})`)();

interface Case {
  readonly problem: object;
  readonly answer: string;
  readonly score: number;
  readonly wrong: string;
  readonly wrongScore: number;
}
const golden = JSON.parse(
  readFileSync(new URL('../../../goldens/tasks/tasks.json', import.meta.url), 'utf8'),
) as Record<keyof typeof reasoningTasks, Case[]>;

describe('reasoning tasks', () => {
  it('are more than forty, with names of their own and four levels of each attribute', () => {
    expect(TASKS.length).toBeGreaterThan(60);
    expect(new Set(TASKS.map(([, maker]) => maker.taskName)).size).toBe(TASKS.length);
    for (const [, { attributes }] of TASKS)
      for (const levels of Object.values(attributes)) expect(levels).toHaveLength(4);
  });

  it.each(TASKS)(
    '%s: gold is right and mutants are not, problems depend on seed and index, levels grow',
    (_, maker) => {
      const sizes = LEVELS.map((level) => {
        const task = maker({ level });
        let size = 0;
        for (let i = 0; i < 6; i++) {
          const problem = task.generate(3, i);
          expect(JSON.parse(JSON.stringify(problem))).toEqual(problem);
          expect(maker({ level }).generate(3, i)).toEqual(problem);
          // A puzzle is larger with its size, and harder with its holes.
          size += JSON.stringify(problem).length + JSON.stringify(problem).split('0').length;
          const gold = task.answer(problem);
          expect(task.extractAnswer(`so <answer>no</answer> ${task.solution(problem)}`)).toBe(gold);
          expect(task.check(problem, task.solution(problem))).toEqual({ correct: true });
          expect(task.scoreAnswer(problem, ` ${gold}\n`)).toBe(1);
          for (const mutant of [`¤${gold.slice(1)}`, `${gold} 0`, '', '¤', '[', '-', '9'.repeat(400)]) {
            const score = task.scoreAnswer(problem, mutant);
            expect(score >= 0 && score < 1, `${mutant} of ${gold} scores ${score}`).toBe(true);
          }
          if (/^-?\d+$/.test(gold)) expect(task.scoreAnswer(problem, String(Number(gold) + 1))).toBeLessThan(1);
          expect(task.scoreAnswer(problem, null)).toBe(0);
        }
        return size;
      });
      expect(sizes[3]!).toBeGreaterThan(sizes[0]!);
    },
  );

  it.each(Object.entries(golden))(
    "%s: reasoning-gym's answers are right here, and what it does not accept is not",
    (name, cases) => {
      const task = taskOf(name as keyof typeof reasoningTasks);
      expect(cases.length).toBeGreaterThan(2);
      for (const { problem, answer, score, wrong, wrongScore } of cases) {
        expect([score, wrongScore < 1]).toEqual([1, true]);
        expect(task.scoreAnswer(problem, answer), `${answer} of ${JSON.stringify(problem)}`).toBe(1);
        expect(task.scoreAnswer(problem, wrong)).toBeLessThan(1);
      }
    },
  );
});

describe('answers by another way', () => {
  it('programs: by JavaScript', () => {
    for (const { p, answer } of some<{
      start: { a: number; b: number };
      times: number;
      body: Record<string, string>[];
    }>('loopProgram', 3)) {
      const lines = p.body
        .map((l) => `${l.target} = ((${l.target} ${l.operator} ${l.operand}) % 1000 + 1000) % 1000;`)
        .join('');
      expect(answer).toBe(
        String(
          evaluated(
            `(() => { let a = ${p.start.a}, b = ${p.start.b}; for (let i = 0; i < ${p.times}; i++) { ${lines} } return a; })()`,
          ),
        ),
      );
    }
    for (const { p, answer } of some<{ program: { op: string; value: number }[] }>('stackMachine', 3)) {
      // As expressions, from the inside out.
      const stack: string[] = [];
      for (const { op, value } of p.program) {
        if (op === 'push') stack.push(String(value));
        else if (op === 'dup') stack.push(stack.at(-1)!);
        else {
          const [b, a] = [stack.pop()!, stack.pop()!];
          if (op === 'swap') stack.push(b, a);
          else stack.push(op === 'add' ? `(${a} + ${b})` : op === 'sub' ? `(${a} - ${b})` : `((${a} * ${b}) % 1000)`);
        }
      }
      expect(Number(answer)).toBe(Number(evaluated(stack.at(-1)!)) + 0);
    }
    for (const { p, answer } of some<{ text: string }>('brackets', 2)) {
      let whole = p.text + answer;
      for (let before = ''; before !== whole; ) {
        before = whole;
        whole = whole.replace(/\(\)|\[\]|\{\}|<>/g, '');
      }
      expect(whole).toBe('');
    }
  });

  it('formulas: as JavaScript has them', () => {
    const js = (text: string) =>
      text
        .replaceAll('not ', '!')
        .replaceAll('and', '&&')
        .replaceAll(' or ', ' || ')
        .replaceAll('xor', '!==')
        .replaceAll('implies', '<=');
    for (const { prompt, answer } of some('circuitLogic', 2)) {
      const [, values, formula] = /^(.*?)\. What is (.*), 0 or 1/.exec(prompt)!;
      const named = values!.replaceAll(/ = (\d)/g, ' = $1 === 1');
      expect(answer).toBe(String(Number(evaluated(`(() => { const ${named}; return ${js(formula!)}; })()`))));
    }
    for (const { p, prompt, answer } of some<{ variables: number }>('countModels', 2)) {
      const formula = js(/ is (.*) true\?/.exec(prompt)![1]!);
      const names = ['A', 'B', 'C', 'D', 'E'].slice(0, p.variables);
      let count = 0;
      for (let bits = 0; bits < 2 ** p.variables; bits++) {
        const values = names.map((name, i) => `${name} = ${(bits & (1 << i)) !== 0}`).join(', ');
        count += Number(evaluated(`(() => { const ${values}; return ${formula}; })()`));
      }
      expect(answer).toBe(String(count));
    }
  });

  it('syllogisms: of the 256 forms 24 are valid where no term is empty', () => {
    const task = taskOf('syllogism');
    const kinds = ['all', 'no', 'some', 'some not'];
    let valid = 0;
    for (const [first, second] of [
      [
        [1, 2],
        [0, 1],
      ],
      [
        [2, 1],
        [0, 1],
      ],
      [
        [1, 2],
        [1, 0],
      ],
      [
        [2, 1],
        [1, 0],
      ],
    ] as const)
      for (const a of kinds)
        for (const b of kinds)
          for (const c of kinds) {
            const of = (kind: string, [subject, object]: readonly [number, number]) => ({ kind, subject, object });
            const problem = { premises: [of(a, first), of(b, second)], conclusion: of(c, [0, 2]), isNegated: false };
            valid += Number(task.answer(problem) === 'Yes');
          }
    expect(valid).toBe(24);
  });

  it('numbers and algebra: by definition', () => {
    for (const { p, answer } of some<{ base: number; exponent: number; modulus: number }>('modularPower', 1)) {
      let value = 1 % p.modulus;
      for (let i = 0; i < p.exponent; i++) value = (value * p.base) % p.modulus;
      expect(answer).toBe(String(value));
    }
    for (const { p, answer } of some<{ a: number; b: number; c: number; d: number }>('simpleEquations', 3))
      expect(p.a * Number(answer) + p.b).toBe(p.c * Number(answer) + p.d);
    for (const { p, answer } of some<{ rows: number[][]; right: number[] }>('linearSystem', 3)) {
      const x = answer.split(', ').map(Number);
      expect(p.rows.map((row) => row.reduce((sum, one, j) => sum + one * x[j]!, 0))).toEqual(p.right);
    }
    for (const { prompt, answer } of some('polynomialMultiplication', 2)) {
      const product = /out: (.*)\. Write/.exec(prompt)![1]!;
      for (const x of [-2, 1, 3])
        expect(Number(evaluated(answer.replaceAll('x', `(${x})`))) + 0).toBe(
          Number(evaluated(product.replaceAll('x', `(${x})`))) + 0,
        );
    }
    for (const { prompt, answer } of some('polynomialDerivative', 1)) {
      const at = (x: number) => Number(evaluated(/of (.*) with/.exec(prompt)![1]!.replaceAll('x', `(${x})`)));
      expect(Number(evaluated(answer.replaceAll('x', '(2)')))).toBeCloseTo((at(2 + 1e-4) - at(2 - 1e-4)) / 2e-4, 2);
    }
    for (const { p, answer } of some<{ degree: number; terms: number[] }>('numberSequence', 2)) {
      let differences = [...p.terms, Number(answer)];
      for (let d = 0; d < p.degree + 1; d++) differences = differences.slice(1).map((one, i) => one - differences[i]!);
      expect(differences.every((one) => one === 0)).toBe(true);
    }
    for (const { p, answer } of some<{ date: string; shift: number }>('calendar', 3)) {
      // Zeller's congruence, on the day that is `shift` later by counting days.
      const later = new Date(`${p.date}T12:00:00Z`);
      later.setUTCDate(later.getUTCDate() + p.shift);
      let [y, m, d] = [later.getUTCFullYear(), later.getUTCMonth() + 1, later.getUTCDate()];
      if (m < 3) [y, m] = [y - 1, m + 12];
      const h =
        (d + Math.floor((13 * (m + 1)) / 5) + y + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400)) % 7;
      expect(answer).toBe(['Saturday', 'Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday'][h]);
    }
  });

  it('texts, grids and graphs: by enumeration', () => {
    const distance = (a: string, b: string): number =>
      a === '' || b === ''
        ? a.length + b.length
        : Math.min(
            distance(a.slice(1), b) + 1,
            distance(a, b.slice(1)) + 1,
            distance(a.slice(1), b.slice(1)) + Number(a[0] !== b[0]),
          );
    for (const { p, answer } of some<{ first: string; second: string }>('editDistance', 1))
      expect(answer).toBe(String(distance(p.first, p.second)));
    const least = (grid: number[][], r: number, c: number): number =>
      grid[r]?.[c] === undefined
        ? Number.POSITIVE_INFINITY
        : grid[r]![c]! +
          (r === grid.length - 1 && c === r ? 0 : Math.min(least(grid, r + 1, c), least(grid, r, c + 1)));
    for (const { p, answer } of some<{ grid: number[][] }>('minPathSum', 2))
      expect(answer).toBe(String(least(p.grid, 0, 0)));
    const ways = (edges: number[][], at: number, goal: number, seen: number[]): number =>
      at === goal
        ? 0
        : Math.min(
            Number.POSITIVE_INFINITY,
            ...edges.flatMap(([a, b, d = 1]) => {
              const next = a === at ? b! : b === at ? a! : -1;
              return next < 0 || seen.includes(next) ? [] : [d + ways(edges, next, goal, [...seen, next])];
            }),
          );
    for (const { p, answer } of some<{ vertices: number; edges: number[][] }>('weightedPath', 2)) {
      const far = ways(p.edges, 0, p.vertices - 1, [0]);
      expect(answer).toBe(Number.isFinite(far) ? String(far) : 'none');
    }
    for (const { p, answer } of some<{ vertices: number; edges: number[][] }>('components', 1)) {
      const joined = (a: number, b: number) => Number.isFinite(ways(p.edges, a, b, [a]));
      const first = Array.from({ length: p.vertices }, (_, b) => b).filter(
        (b) => !Array.from({ length: b }, (_, a) => a).some((a) => joined(a, b)),
      );
      expect(answer).toBe(String(first.length));
    }
  });
});

describe('their protocol', () => {
  it('rows, verifier and splits are those of all procedural tasks; the score is between 0 and 1', async () => {
    const tasks = [reasoningTasks.rotateMatrix(), reasoningTasks.primeFactorization({ digits: [3, 4] })];
    const rows = tasks.flatMap((task) => [...taskRows(task as never, { split: 'train', count: 3, seed: 2 })]);
    const verifier = taskVerifier(tasks as never);
    const verdicts = await verifier.verify(
      rows.map((row) => ({ prompt: row.prompt, completion: row.completion, row })),
    );
    expect(verdicts.map(({ score }) => score)).toEqual([1, 1, 1, 1, 1, 1]);
    const [partly] = await verifier.verify([
      { prompt: '', completion: '<answer>1 4 </answer>', row: { task: 'prime_factorization', problem: { number: 4 } } },
    ]);
    expect(partly).toMatchObject({ score: 0, explanation: expect.stringContaining('score') });
    const [square] = await verifier.verify([
      {
        prompt: '',
        completion: '<answer>1 2\n3 9</answer>',
        row: {
          task: 'rotate_matrix',
          problem: {
            matrix: [
              [2, 4],
              [1, 3],
            ],
            turns: 1,
          },
        },
      },
    ]);
    expect(square!.score).toBe(0.75);
    expect(await pipeline(rows, []).collect()).toHaveLength(6);
    expect(taggedAnswer('<answer>1</answer> or <answer> 2 </answer>')).toBe('2');
    expect([taggedAnswer('2'), taggedAnswer('<answer> </answer>'), taggedAnswer('</answer>')]).toEqual([
      null,
      null,
      null,
    ]);
  });

  it.each(TASKS)('%s: no answer throws or takes long, and what is asked can be met at any levels', (_, maker) => {
    const lists = `${'['.repeat(2e4)}${']'.repeat(2e4)}`;
    const odd = [
      lists,
      `["fill A",${lists}]`,
      '{"a":'.repeat(2e4),
      'a'.repeat(5e4),
      '9'.repeat(5e4),
      ' \n'.repeat(2e4),
      '__proto__',
    ];
    const attributes = Object.keys(maker.attributes);
    for (const [i, hardest] of attributes.entries()) {
      const task = taskCurriculum(maker, { levels: { [hardest]: 3 } }).task();
      const problem = task.generate(4, i);
      const started = performance.now();
      for (const answer of odd) expect(task.scoreAnswer(problem, answer)).toBeLessThan(1);
      expect(performance.now() - started).toBeLessThan(5000);
      // A score that is not by the words of the answer alone.
      if (maker === (reasoningTasks.keywordText as unknown)) {
        for (let index = 0; index < 20; index++) {
          const one = task.generate(4, index);
          expect(task.scoreAnswer(one, `${task.answer(one)}.`)).toBe(1);
        }
      }
    }
  });

  it('a curriculum moves attribute by attribute, and stands in a checkpoint', () => {
    const start = taskCurriculum(reasoningTasks.chainSum);
    expect(start.task().settings).toEqual({ terms: [2, 2], digits: [1, 1] });
    const raised = start.raise('terms').raise('terms').raise('digits');
    expect(raised.task().settings).toEqual({ terms: [2, 8], digits: [1, 2] });
    expect(start.levels).toEqual({ terms: 0, digits: 0 });
    const again = (mode: 'upper-bound' | { last: number }) =>
      taskCurriculum(reasoningTasks.chainSum, { levels: raised.state(), mode }).task().settings;
    expect(again('upper-bound')).toEqual({ terms: [8, 8], digits: [2, 2] });
    expect(again({ last: 2 })).toEqual({ terms: [4, 8], digits: [1, 2] });
    expect(start.lower().raise().raise().raise().raise().raise().levels).toEqual({ terms: 3, digits: 3 });
    expect(() => start.raise('sign' as never)).toThrow(/no attribute "sign"; there are terms, digits/);
    expect(() => taskCurriculum(reasoningTasks.chainSum, { levels: { terms: 4 } })).toThrow(/from 0 to 3, got 4/);
  });

  it('refuses what it does not have', () => {
    expect(() => reasoningTasks.gcd({ terms: 3 } as never)).toThrow(/terms/);
    expect(() => reasoningTasks.gcd({ level: 4 })).toThrow(/level/);
    expect(() => reasoningTasks.gcd({ digits: 99 })).toThrow(/digits/);
    const own = reasoningTask({
      name: 'own',
      attributes: { size: [1, 2] },
      make: (random, { size }) => ({ value: random.integer(1, size) }),
      question: ({ value }) => `${value}?`,
      answer: ({ value }) => String(value),
    });
    expect(own({ size: 2 }).check({ value: 2 }, '<answer>3</answer>')).toMatchObject({ correct: false });
  });
});
