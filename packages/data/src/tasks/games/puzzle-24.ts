import type { Random } from '@posttrain/interfaces/random';
import { evaluateExpression, numbersOf, parseExpression } from '../../text/expression.js';
import { reasoningTask } from '../reasoning-task.js';

/** An expression of all numbers, joined in random pairs. */
function combined(random: Random, numbers: readonly number[]): string {
  let parts = random.shuffled(numbers.map(String));
  while (parts.length > 1) {
    const [a, b, ...rest] = parts;
    parts = random.shuffled([`(${a}${random.pick(['+', '-', '*', '/'])}${b})`, ...rest]);
  }
  return parts[0]!;
}

/** The target from all numbers, each used once, with + - * / and brackets, in exact fractions (24 in the game of that name). */
export const puzzle24 = reasoningTask({
  name: 'puzzle24',
  attributes: { numbers: [2, 3, 4, 5], maxNumber: [6, 9, 10, 13] },
  make: (random, { numbers, maxNumber }) => {
    for (;;) {
      const drawn = Array.from({ length: numbers }, () => random.integer(1, maxNumber));
      const solution = combined(random, drawn);
      const parsed = parseExpression(solution);
      const value = parsed.ok ? evaluateExpression(parsed.expression) : null;
      const isWhole = value !== null && value.numerator % value.denominator === 0n;
      const target = isWhole ? Number(value.numerator / value.denominator) : 0;
      if (target > 0 && target <= 100) return { numbers: drawn, target, solution };
    }
  },
  question: ({ numbers, target }) =>
    `Make ${target} from the numbers ${numbers.join(', ')}, each used once, with +, -, *, / and brackets. Answer with the expression.`,
  answer: ({ solution }) => solution,
  score: ({ numbers, target }, answer) => {
    const parsed = parseExpression(answer.replaceAll(' ', ''));
    if (!parsed.ok) return 0;
    const value = evaluateExpression(parsed.expression);
    const used = numbersOf(parsed.expression).toSorted((a, b) => a - b);
    const isTarget = value !== null && value.numerator === BigInt(target) * value.denominator;
    return isTarget && used.join() === numbers.toSorted((a, b) => a - b).join();
  },
  key: ({ numbers, target }) => `${numbers.toSorted((a, b) => a - b)} ${target}`,
});
