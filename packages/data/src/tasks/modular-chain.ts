import { type Given, integer, oneOf, options } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { INTEGER_OPERATORS, type IntegerOperator, operate } from './integer-operators.js';
import {
  answerAfterMark,
  checkNumber,
  drawFrom,
  integerRange,
  type ProceduralTask,
  someOf,
} from './procedural-task.js';

/** An operator of `modularChain`. */
export type ChainOperator = IntegerOperator;

const modularChainOptions = options('modularChain', {
  /** Numbers are taken modulo this. Default 10. */
  modulus: integer({ default: 10, min: 2, max: 1_000_000 }),
  /** Number of operations. Default 2 to 4. */
  steps: integerRange([2, 4], 1, 100),
  /** Default `['+', '-', '*']`. */
  operators: someOf(INTEGER_OPERATORS, INTEGER_OPERATORS),
  /** `'steps'`: each operation with its residue before the answer. `'none'`: the answer only. Default `'steps'`. */
  scratchpad: oneOf(['none', 'steps'], { default: 'steps' }),
});
/** Options of `modularChain`. */
export type ModularChainOptions = Given<typeof modularChainOptions>;

/** A problem of `modularChain`. */
export type ModularChainProblem = {
  readonly modulus: number;
  readonly start: number;
  readonly steps: readonly { readonly operator: ChainOperator; readonly operand: number }[];
};

/**
 * A chain of operations modulo a number, strictly from left to right: the prompt `%7:3+4*2-5=`, the solution
 * `3+4=0,0*2=0,0-5=2#2`. Characters: digits `% : + - * = , #`. Each step is one entry of a small table, so the
 * difficulty lies in carrying the state along; the number of steps sets it.
 */
export function modularChain(given: ModularChainOptions = {}): ProceduralTask<ModularChainProblem> {
  const { modulus, steps: count, operators, scratchpad } = modularChainOptions.read(given);

  const answer = (problem: ModularChainProblem): string => String(states(problem).at(-1));

  return {
    name: 'modular-chain',
    generate(seed, index) {
      const random = createRandom(seed, 'modular-chain', index);
      const draw = () => random.integer(0, modulus - 1);
      const start = draw();
      const length = drawFrom(random, count);
      const steps = Array.from({ length }, () => ({ operator: random.pick(operators), operand: draw() }));
      return { modulus, start, steps };
    },
    key: reordered,
    prompt,
    solution(problem) {
      if (scratchpad === 'none') return `#${answer(problem)}`;
      const residues = states(problem);
      const lines = problem.steps.map(
        ({ operator, operand }, i) => `${residues[i]}${operator}${operand}=${residues[i + 1]}`,
      );
      return `${lines.join(',')}#${answer(problem)}`;
    },
    answer,
    extractAnswer: answerAfterMark,
    check: (problem, completion) => checkNumber(answer(problem), completion),
  };
}

/**
 * The problem with its operands in order, where order does not matter: within each run of sums and differences, and within each
 * run of products. The start belongs to the first run.
 */
function reordered({ modulus, start, steps }: ModularChainProblem): string {
  const isProduct = (operator: ChainOperator) => operator === '*';
  const runs: string[][] = [];
  let product = steps[0] !== undefined && isProduct(steps[0].operator);
  let run = [`${product ? '*' : '+'}${start}`];
  for (const { operator, operand } of steps) {
    if (isProduct(operator) !== product) {
      runs.push(run);
      run = [];
      product = !product;
    }
    run.push(`${operator}${operand}`);
  }
  return `%${modulus}:${[...runs, run].map((one) => one.sort().join('')).join(' ')}`;
}

function prompt({ modulus, start, steps }: ModularChainProblem): string {
  return `%${modulus}:${start}${steps.map(({ operator, operand }) => operator + operand).join('')}=`;
}

/** The start and the residue after each step, all in [0, modulus). */
function states({ modulus, start, steps }: ModularChainProblem): number[] {
  const residues = [start];
  for (const { operator, operand } of steps) {
    const value = operate(residues.at(-1)!, operator, operand);
    residues.push(((value % modulus) + modulus) % modulus);
  }
  return residues;
}
