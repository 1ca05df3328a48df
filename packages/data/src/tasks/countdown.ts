import { type Given, integer, oneOf, options } from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { TaskExhaustedError } from '../errors.js';
import {
  type Expression,
  evaluateExpression,
  numbersOf,
  OPERATORS,
  type Operator,
  operatorsOf,
  parseExpression,
  renderExpression,
} from '../text/expression.js';
import {
  answerAfterMark,
  drawFrom,
  integerRange,
  noAnswer,
  type ProceduralTask,
  someOf,
  type TaskVerdict,
} from './procedural-task.js';

const countdownOptions = options('countdown', {
  /** How many numbers are given. Default 3. */
  numbers: integerRange(3, 2, 8),
  /** The largest given number; the smallest is 1. Default 9. */
  maxNumber: integer({ default: 9, min: 1, max: 1000 }),
  /** The largest target; the smallest is 1. Default 99. */
  maxTarget: integer({ default: 99, min: 1, max: 1_000_000 }),
  /** Default `['+', '-', '*']`. */
  operators: someOf(OPERATORS, ['+', '-', '*']),
  /** `'steps'`: each operation with its value before the answer. `'none'`: the answer only. Default `'steps'`. */
  scratchpad: oneOf(['none', 'steps'], { default: 'steps' }),
});
/** Options of `countdown`. */
export type CountdownOptions = Given<typeof countdownOptions>;

/** `expression` is one solution, the one the problem was made from; a checker accepts every other as well. */
export type CountdownProblem = {
  readonly numbers: readonly number[];
  readonly target: number;
  readonly expression: string;
};

type Made = { readonly value: number; readonly expression: Expression };

/**
 * Countdown, as in TinyZero: reach the target with every given number used exactly once. The prompt is `3,5,7>22:`,
 * the solution `3*5=15,15+7=22#3*5+7`. Characters: digits `, > : + - * / ( ) = #`. Every problem has a solution whose
 * intermediate values are positive integers; answers are checked in exact fractions.
 */
export function countdown(given: CountdownOptions = {}): ProceduralTask<CountdownProblem> {
  const { numbers, maxNumber, maxTarget, operators, scratchpad } = countdownOptions.read(given);

  return {
    name: 'countdown',
    generate(seed, index) {
      const random = createRandom(seed, 'countdown', index);
      for (let attempt = 0; attempt < 1000; attempt++) {
        const count = drawFrom(random, numbers);
        const drawn = Array.from({ length: count }, () => random.integer(1, maxNumber));
        const made = combine(random, drawn, operators);
        if (made === undefined || made.value > maxTarget) continue;
        return { numbers: drawn, target: made.value, expression: renderExpression(made.expression) };
      }
      throw new TaskExhaustedError('countdown', 'found no problem in 1000 attempts; raise maxTarget or add operators.');
    },
    key: ({ numbers, target }) => `${numbers.toSorted((a, b) => a - b).join(',')}>${target}`,
    prompt: ({ numbers, target }) => `${numbers.join(',')}>${target}:`,
    solution({ expression }) {
      if (scratchpad === 'none') return `#${expression}`;
      const parsed = parseExpression(expression);
      return `${parsed.ok ? steps(parsed.expression).lines.join(',') : ''}#${expression}`;
    },
    answer: ({ expression }) => expression,
    extractAnswer: answerAfterMark,
    check(problem, completion) {
      const answer = answerAfterMark(completion);
      return answer === null ? noAnswer(completion) : checkExpression(problem, answer, operators);
    },
  };
}

/** Combines numbers in random order until one is left; `undefined` when it runs into a step no operator can do. */
function combine(random: Random, given: readonly number[], operators: readonly Operator[]): Made | undefined {
  let pool = random.shuffled(given.map((value): Made => ({ value, expression: { kind: 'number', value } })));
  while (pool.length > 1) {
    const [first, second, ...rest] = pool as [Made, Made, ...Made[]];
    const operator = random.pick(operators);
    const value = apply(operator, first.value, second.value);
    if (value === undefined) return undefined;
    const expression: Expression = { kind: 'operation', operator, left: first.expression, right: second.expression };
    pool = random.shuffled([{ value, expression }, ...rest]);
  }
  return pool[0];
}

/** The value when it is a positive integer. */
function apply(operator: Operator, a: number, b: number): number | undefined {
  if (operator === '+') return a + b;
  if (operator === '-') return a > b ? a - b : undefined;
  if (operator === '*') return a * b;
  return a % b === 0 ? a / b : undefined;
}

function steps(expression: Expression): { readonly value: number; readonly lines: readonly string[] } {
  if (expression.kind === 'number') return { value: expression.value, lines: [] };
  const left = steps(expression.left);
  const right = steps(expression.right);
  const value = apply(expression.operator, left.value, right.value)!;
  const line = `${left.value}${expression.operator}${right.value}=${value}`;
  return { value, lines: [...left.lines, ...right.lines, line] };
}

function checkExpression(problem: CountdownProblem, answer: string, operators: readonly Operator[]): TaskVerdict {
  const wrong = (reason: string): TaskVerdict => ({ correct: false, reason });
  const parsed = parseExpression(answer);
  if (!parsed.ok) return wrong(parsed.reason);
  const other = operatorsOf(parsed.expression).find((operator) => !operators.includes(operator));
  if (other !== undefined) return wrong(`the operator ${other} is not allowed`);
  const used = numbersOf(parsed.expression).sort((a, b) => a - b);
  const given = problem.numbers.toSorted((a, b) => a - b);
  if (used.join() !== given.join()) return wrong(`used the numbers ${used.join()}, given were ${given.join()}`);
  const value = evaluateExpression(parsed.expression);
  if (value === null) return wrong('division by zero');
  if (value.numerator !== BigInt(problem.target) * value.denominator) {
    return wrong(`the value is ${value.numerator}/${value.denominator}, the target ${problem.target}`);
  }
  return { correct: true };
}
