import { range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

const TOKENS = ['A#', '#A', 'B#', '#B'];

/** Rewrites until nothing changes: equal letters that face each other vanish, others pass. The order of rewriting makes no difference. */
function normalForm(program: readonly string[]): string[] {
  const tokens = [...program];
  for (let i = 0; i + 1 < tokens.length; ) {
    const [left, right] = [tokens[i]!, tokens[i + 1]!];
    if (!left.endsWith('#') || !right.startsWith('#')) {
      i++;
      continue;
    }
    tokens.splice(i, 2, ...(left[0] === right[1] ? [] : [right, left]));
    i = Math.max(0, i - 1);
  }
  return tokens;
}

/** The A::B system of reasoning-gym: what a program of four tokens becomes. */
export const abRewriting = reasoningTask({
  name: 'ab',
  attributes: { length: [3, 6, 10, 16] },
  make: (random, { length }) => ({ program: range(length).map(() => random.pick(TOKENS)) }),
  question: ({ program }) =>
    `Wherever the # of two neighbours face each other, rewrite: A# #A and B# #B become nothing, A# #B becomes #B A#, B# #A becomes #A B#. Do so until nothing changes: ${program.join(' ')}. If nothing is left, answer: nothing.`,
  answer: ({ program }) => normalForm(program).join(' ') || 'nothing',
  score: ({ program }, answer) => answer.split(/\s+/).join(' ') === (normalForm(program).join(' ') || 'nothing'),
});
