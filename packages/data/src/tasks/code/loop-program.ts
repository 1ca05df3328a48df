import { isNumber, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

type Line = { readonly target: string; readonly operator: string; readonly operand: string };

function run(start: Readonly<Record<string, number>>, times: number, body: readonly Line[]): number {
  const values: Record<string, number> = { ...start };
  for (let i = 0; i < times; i++) {
    values.i = i;
    for (const { target, operator, operand } of body) {
      const by = values[operand] ?? Number(operand);
      const now = values[target]!;
      const next = operator === '+' ? now + by : operator === '-' ? now - by : now * by;
      values[target] = ((next % 1000) + 1000) % 1000;
    }
  }
  return values.a!;
}

/** What a loop over two variables, in Python, leaves in the first of them. */
export const loopProgram = reasoningTask({
  name: 'loop_program',
  attributes: { times: [2, 3, 5, 9], lines: [1, 2, 3, 5] },
  make: (random, { times, lines }) => ({
    start: { a: random.integer(0, 20), b: random.integer(0, 20) },
    times,
    body: range(lines).map(() => ({
      target: random.pick(['a', 'b']),
      operator: random.pick(['+', '-', '*']),
      operand: random.pick(['a', 'b', 'i', String(random.integer(2, 9))]),
    })),
  }),
  question: ({ start, times, body }) =>
    `What does this Python program print?\na, b = ${start.a}, ${start.b}\nfor i in range(${times}):\n${body.map(({ target, operator, operand }) => `    ${target} = (${target} ${operator} ${operand}) % 1000`).join('\n')}\nprint(a)`,
  answer: ({ start, times, body }) => String(run(start, times, body)),
  score: ({ start, times, body }, answer) => isNumber(answer, run(start, times, body)),
});
