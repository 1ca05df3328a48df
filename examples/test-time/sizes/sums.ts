/** Sums and differences of two numbers, answered at once: a task with answers of three digits at most, so that search is many short draws. */
import type { Verifier } from '@posttrain/interfaces';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { MISCONCEPTION_RATE, SLIP_RATE, slipped, smallerFromLarger } from '../../pretrain-tiny/corpus.js';
import {
  answerOf,
  mulberry32,
  type Problem,
  type Random,
  randomProblem,
  renderExpression,
} from '../../pretrain-tiny/problem.js';
import type { Said } from '../formats/author.js';

/** What an author of ../../pretrain-tiny's corpus answers: wrong in subtractions that borrow by the misconception, else by slips. */
export function authored(random: Random, problem: Problem): number {
  const [{ operator, operand }] = problem.rest as [Problem['rest'][0]];
  if (operator === '-' && random() < MISCONCEPTION_RATE) return smallerFromLarger(problem.first, operand);
  return random() < SLIP_RATE ? slipped(random, answerOf(problem)) : answerOf(problem);
}

/** Rows of training, never of a held-out problem. */
export function sumRows(count: number, seed: number): Said[] {
  const random = mulberry32(seed);
  return Array.from({ length: count }, () => {
    const problem = randomProblem(random, 2, 99, 'train');
    const completion = String(authored(random, problem));
    return { prompt: renderExpression(problem), prefix: '', completion, ended: true };
  });
}

/** Held-out problems, each once. */
export function heldOutPairs(count: number, seed: number): Problem[] {
  const random = mulberry32(seed);
  const found = new Map<string, Problem>();
  while (found.size < count) {
    const problem = randomProblem(random, 2, 99, 'heldOut');
    found.set(renderExpression(problem), problem);
  }
  return [...found.values()];
}

/** The number that a text begins with. */
export const answered = (text: string): string | null => /^\d+/.exec(text)?.[0] ?? null;

const residue = (x: number): number => ((x % 9) + 9) % 9;

/**
 * Casting out nines: whether an answer has the digit sum, modulo 9, that the question's has. It needs no reference answer and no model; one wrong
 * answer in nine passes.
 */
export const castingOutNines: Verifier = ruleVerifier('casting out nines', {}, ({ completion, row }) => {
  const { first, rest } = row!.problem as Problem;
  const digits = rest.reduce(
    (sum, { operator, operand }) => sum + ((operator === '+' ? operand : -operand) % 9),
    first % 9,
  );
  const answer = answered(completion);
  return Number(answer !== null && residue(Number(answer)) === residue(digits));
});
