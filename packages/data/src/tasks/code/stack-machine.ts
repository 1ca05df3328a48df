import { isNumber, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

type Instruction = { readonly op: string; readonly value: number };

function run(program: readonly Instruction[]): number {
  const stack: number[] = [];
  for (const { op, value } of program) {
    if (op === 'push') stack.push(value);
    else if (op === 'dup') stack.push(stack.at(-1)!);
    else {
      const [b, a] = [stack.pop()!, stack.pop()!];
      if (op === 'swap') stack.push(b, a);
      else stack.push(op === 'add' ? a + b : op === 'sub' ? a - b : (a * b) % 1000);
    }
  }
  return stack.at(-1)!;
}

/** What lies on top of the stack of a small machine after its program. */
export const stackMachine = reasoningTask({
  name: 'stack_machine',
  attributes: { steps: [3, 6, 12, 24] },
  make: (random, { steps }) => {
    const program: Instruction[] = [];
    let height = 0;
    for (const _ of range(steps)) {
      const op =
        height === 0 ? 'push' : random.pick(['push', 'dup', ...(height > 1 ? ['swap', 'add', 'sub', 'mul'] : [])]);
      program.push({ op, value: op === 'push' ? random.integer(0, 99) : 0 });
      height += op === 'push' || op === 'dup' ? 1 : op === 'swap' ? 0 : -1;
    }
    return { program };
  },
  question: ({ program }) =>
    `A stack machine runs these instructions (b is the top, a below it; sub is a - b, mul is a * b modulo 1000 with the sign of the product): ${program.map(({ op, value }) => (op === 'push' ? `push ${value}` : op)).join('; ')}. What is on top at the end?`,
  answer: ({ program }) => String(run(program) + 0),
  score: ({ program }, answer) => isNumber(answer, run(program) + 0),
});
