/** Sums that a small model can learn to work out in many formats: totals of at most two digits, operands of one, three or four terms. */
import { smallerFromLarger } from '../../pretrain-tiny/corpus.js';
import {
  applyStep,
  drawTerms,
  isHeldOut,
  type Operator,
  type Problem,
  type Random,
  renderExpression,
} from '../../pretrain-tiny/problem.js';

/** Running totals stay in 0..MAX_TOTAL. */
export const MAX_TOTAL = 19;
const MAX_OPERAND = 9;
const LIMITS = { maxFirst: MAX_OPERAND, maxOperand: MAX_OPERAND, maxTotal: MAX_TOTAL };
/** Share of the problems that have a pair of terms which says nothing, as `+5-5`. */
const DISTRACTED = 0.4;

/** One step of a worked solution. */
export interface Step {
  readonly total: number;
  readonly operator: Operator;
  readonly operand: number;
}

export const renderStep = ({ total, operator, operand }: Step, result: number): string =>
  `${total}${operator}${operand}=${result}`;
export const resultOf = ({ total, operator, operand }: Step): number => applyStep(total, operator, operand);

/** Whether the misconception of the author (`smallerFromLarger`) gives another result. */
export const isBorrow = (step: Step): boolean =>
  step.operator === '-' && smallerFromLarger(step.total, step.operand) !== resultOf(step);

/** A problem of three or four terms of one side of the held-out rule; two of five have a pair that cancels as well. */
export function randomSum(random: Random, split: 'train' | 'heldOut'): Problem {
  for (;;) {
    const terms = 3 + Math.floor(random() * 2);
    const { first, rest } = drawTerms(random, terms, LIMITS);
    if (random() < DISTRACTED) {
      const operand = 1 + Math.floor(random() * MAX_OPERAND);
      const at = Math.floor(random() * (rest.length + 1));
      rest.splice(at, 0, { operator: '+', operand }, { operator: '-', operand });
    }
    const problem = { first, rest };
    if (isHeldOut(problem) === (split === 'heldOut')) return problem;
  }
}

/** The problem in an expression. */
export function parseExpression(text: string): Problem {
  const [first, ...rest] = text.match(/[+-]?\d+/g) ?? [];
  return {
    first: Number(first),
    rest: rest.map((term) => ({ operator: term[0] as Operator, operand: Number(term.slice(1)) })),
  };
}

/** The problem without pairs of terms that cancel; one term beside the first always stays. */
export function polished({ first, rest }: Problem): Problem {
  const kept = [...rest];
  for (let i = 0; i + 1 < kept.length && kept.length > 2; i++) {
    const [a, b] = [kept[i]!, kept[i + 1]!];
    if (a.operator === '+' && b.operator === '-' && a.operand === b.operand)
      return polished({ first, rest: [...kept.slice(0, i), ...kept.slice(i + 2)] });
  }
  return { first, rest: kept };
}

/** Held-out problems, the same for all seeds, each once. */
export function heldOutSums(random: Random, count: number): Problem[] {
  const found = new Map<string, Problem>();
  while (found.size < count) {
    const problem = randomSum(random, 'heldOut');
    found.set(renderExpression(problem), problem);
  }
  return [...found.values()];
}

const STEP = /(\d+)([+-])(\d+)=(\d+)/g;

/** The steps that a text has written, and what it says of each. */
export const writtenSteps = (text: string): { readonly step: Step; readonly result: number }[] =>
  [...text.matchAll(STEP)].map(([, total, operator, operand, result]) => ({
    step: { total: Number(total), operator: operator as Operator, operand: Number(operand) },
    result: Number(result),
  }));
