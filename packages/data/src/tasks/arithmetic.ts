import { type Given, oneOf, options } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { DataOptionError } from '../errors.js';
import { columnWork } from './column-arithmetic.js';
import { INTEGER_OPERATORS, type IntegerOperator, operate } from './integer-operators.js';
import {
  answerAfterMark,
  checkNumber,
  drawFrom,
  endsOf,
  integerRange,
  type ProceduralTask,
  someOf,
} from './procedural-task.js';

/** An operator of `arithmetic`. */
export type ArithmeticOperator = IntegerOperator;

const arithmeticOptions = options('arithmetic', {
  /** Digits of each term. Default 2. */
  digits: integerRange(2, 1, 14),
  /** Number of terms. Default 2. */
  terms: integerRange(2, 2, 20),
  /** Default `['+', '-']`. */
  operators: someOf(INTEGER_OPERATORS, ['+', '-']),
  /**
   * What the solution writes before the answer. `'none'`: nothing. `'steps'`: the expression after each operation.
   * `'columns'`: also the digit columns of each operation with carries, lowest first, as in "Show Your Work"
   * (arXiv 2112.00114); products then need one-digit terms. Default `'steps'`.
   */
  scratchpad: oneOf(['none', 'steps', 'columns'], { default: 'steps' }),
});
/** Options of `arithmetic`. */
export type ArithmeticOptions = Given<typeof arithmeticOptions>;

/** `terms[0] operators[0] terms[1] ...` with the usual precedence. */
export type ArithmeticProblem = {
  readonly terms: readonly number[];
  readonly operators: readonly ArithmeticOperator[];
};

/**
 * Sums, differences and products: the prompt `57+68-5=`, the solution `125-5=120#120`, with columns
 * `[7+8=15,5+6+1=12]125-5=[5-5=0,2=2,1=1]120#120`. Characters: digits `+ - * = # [ ] ,`. Answers may be negative.
 */
export function arithmetic(given: ArithmeticOptions = {}): ProceduralTask<ArithmeticProblem> {
  const { operators, scratchpad, ...ranges } = arithmeticOptions.read(given);
  const [digits, terms] = [endsOf(ranges.digits), endsOf(ranges.terms)];
  if (operators.includes('*') && digits[1] * terms[1] > 15) {
    throw new DataOptionError('arithmetic', 'products may pass 2^53: digits times terms must be at most 15.');
  }
  if (operators.includes('*') && scratchpad === 'columns' && digits[1] > 1) {
    throw new DataOptionError('arithmetic', 'the "columns" scratchpad multiplies by one digit only: set digits to 1.');
  }

  const answer = ({ terms, operators }: ArithmeticProblem): string => {
    let state: ArithmeticProblem = { terms, operators };
    while (state.operators.length > 0) state = reduce(state).next;
    return String(state.terms[0]);
  };

  return {
    name: 'arithmetic',
    generate(seed, index) {
      const random = createRandom(seed, 'arithmetic', index);
      const count = drawFrom(random, terms);
      const draw = (): number => {
        const length = drawFrom(random, digits);
        return random.integer(length === 1 ? 0 : 10 ** (length - 1), 10 ** length - 1);
      };
      const drawn = Array.from({ length: count }, draw);
      return { terms: drawn, operators: drawn.slice(1).map(() => random.pick(operators)) };
    },
    key: sortedSum,
    prompt: (problem) => `${render(problem)}=`,
    solution(problem) {
      if (scratchpad === 'none') return `#${answer(problem)}`;
      const steps: string[] = [];
      for (let state = problem; state.operators.length > 0; ) {
        const { left, operator, right, next } = reduce(state);
        steps.push((scratchpad === 'columns' ? `[${columnWork(left, operator, right)}]` : '') + render(next));
        state = next;
      }
      return `${steps.join('=')}#${answer(problem)}`;
    },
    answer,
    extractAnswer: answerAfterMark,
    check: (problem, completion) => checkNumber(answer(problem), completion),
  };
}

/** Carries out one operation: the first product, or else the first operation. */
function reduce({ terms, operators }: ArithmeticProblem) {
  const at = Math.max(0, operators.indexOf('*'));
  const left = terms[at]!;
  const right = terms[at + 1]!;
  const operator = operators[at]!;
  const next: ArithmeticProblem = {
    terms: terms.toSpliced(at, 2, operate(left, operator, right)),
    operators: operators.toSpliced(at, 1),
  };
  return { left, operator, right, next };
}

function render({ terms, operators }: ArithmeticProblem): string {
  return terms.map((term, i) => (i === 0 ? '' : operators[i - 1]!) + term).join('');
}

/** The problem with the factors of each product and the signed products of the sum in sorted order. */
function sortedSum({ terms, operators }: ArithmeticProblem): string {
  const products: { sign: string; factors: number[] }[] = [];
  for (const [i, term] of terms.entries()) {
    const operator = i === 0 ? '+' : operators[i - 1]!;
    if (operator === '*') products.at(-1)!.factors.push(term);
    else products.push({ sign: operator, factors: [term] });
  }
  const sorted = products.map(({ sign, factors }) => sign + factors.sort((a, b) => a - b).join('*'));
  return sorted.sort().join('');
}
