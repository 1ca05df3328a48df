import { Key } from '@posttrain/core-tensor';
import { type Given, integer, options } from '@posttrain/interfaces';
import { gradeAnswer, referenceAnswers } from '@posttrain/interfaces/answers';
import { toolEnvironment } from '../rollout/tool-environment.js';
import { below, callOf, say, type TaskEnvironment } from './task-environment.js';

const calculatorOptions = options('calculator', {
  /** Numbers in an expression. Default 2. */
  operands: integer({ default: 2, min: 2, max: 8 }),
  /** The largest number. Default 99. */
  largest: integer({ default: 99, min: 1, max: 9999 }),
});
/** Options of `calculator`. */
export type CalculatorOptions = Given<typeof calculatorOptions>;

/** A sum, difference or product to be found. */
export interface CalculatorRow {
  readonly prompt: string;
  readonly expression: string;
  readonly answer: number;
}

const EXPRESSION = /^\s*-?\d+(?:\s*[-+*]\s*-?\d+)*\s*$/;

/** The value of numbers joined by +, − and *, products first. @throws Error for anything else */
export function calculate(expression: string): number {
  if (!EXPRESSION.test(expression) || expression.length > 200) {
    throw new Error(`"${expression.slice(0, 40)}" is no expression of whole numbers and + - *`);
  }
  // A sign belongs to the number behind it where an operator, or nothing, stands before it.
  const parts = expression.replace(/\s+/g, '').match(/(?:(?<=^|[-+*])-)?\d+|[-+*]/g)!;
  const terms = [Number(parts[0])];
  for (let i = 1; i < parts.length; i += 2) {
    const value = Number(parts[i + 1]);
    if (parts[i] === '*') terms.push(terms.pop()! * value);
    else terms.push(parts[i] === '+' ? value : -value);
  }
  return terms.reduce((a, b) => a + b, 0);
}

/**
 * A task with a tool: an expression whose value a calculator knows. A reply that calls `calculate` is answered with the value; one without a call is the
 * answer, and worth 1 where it is right. The oracle calls it once: 1.
 *
 * @throws OptionError
 */
export function calculator(given: CalculatorOptions = {}): TaskEnvironment<CalculatorRow> {
  const { operands, largest } = calculatorOptions.read(given);
  const settings = calculatorOptions.settings(given);
  const tools = toolEnvironment<CalculatorRow>(
    'calculator',
    {
      calculate: {
        description: 'The value of an expression of whole numbers with + - *.',
        parameters: { type: 'object', properties: { expression: { type: 'string' } }, required: ['expression'] },
        call: ({ expression }) => String(calculate(String(expression))),
      },
    },
    settings,
  );
  return {
    ...tools,
    async start(row, context) {
      const episode = await tools.start(row, context);
      return {
        ...episode,
        async step(reply) {
          const answer = await episode.step(reply);
          if (!answer.done) return answer;
          return {
            ...answer,
            reward: Number(gradeAnswer(reply.content, referenceAnswers('calculator', row.answer)).correct),
          };
        },
      };
    },
    rows: (count, seed) =>
      Array.from({ length: count }, (_, i) => {
        const draws = Array.from(
          Key.fromSeed(seed)
            .child(i)
            .uniformHost(2 * operands),
        );
        const expression = Array.from({ length: operands }, (_, k) => {
          const operator = k === 0 ? '' : ` ${'+-*'[below(draws[operands + k]!, 3)]} `;
          return `${operator}${below(draws[k]!, largest + 1)}`;
        }).join('');
        return { prompt: `What is ${expression}?`, expression, answer: calculate(expression) };
      }),
    oracle: ({ expression }, messages) => {
      const last = messages.at(-1)!;
      return last.role === 'tool' ? say(`The answer is ${last.content}.`) : callOf('calculate', { expression });
    },
    best: () => 1,
  };
}
