/** The task of the main job: sums and differences of three or four numbers, worked out step by step. */

export type Random = () => number;
export type Operator = '+' | '-';

export interface Problem {
  readonly first: number;
  readonly rest: readonly { readonly operator: Operator; readonly operand: number }[];
}

/** Running totals stay in 0..MAX_TOTAL, so no result has more than three digits or a sign. */
export const MAX_TOTAL = 199;
/** Operands after the first are 1..MAX_OPERAND. */
export const MAX_OPERAND = 99;
/** One problem in this many is held out of pretraining, SFT and GRPO, by a hash of its expression. */
export const HELD_OUT_MODULUS = 8;

/** mulberry32: a 32-bit generator of uniform numbers in [0, 1), equal on every platform. */
export function mulberry32(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export const applyStep = (total: number, operator: Operator, operand: number): number =>
  operator === '+' ? total + operand : total - operand;

/** `47+38-19`: what the user asks. */
export const renderExpression = (problem: Problem): string =>
  problem.first + problem.rest.map(({ operator, operand }) => operator + operand).join('');

export const answerOf = (problem: Problem): number =>
  problem.rest.reduce((total, { operator, operand }) => applyStep(total, operator, operand), problem.first);

/** `47+38=85, 85-19=66 #### 66`: the wanted completion. */
export function renderSolution(problem: Problem): string {
  let total = problem.first;
  const steps = problem.rest.map(({ operator, operand }) => {
    const next = applyStep(total, operator, operand);
    const step = `${total}${operator}${operand}=${next}`;
    total = next;
    return step;
  });
  return `${steps.join(', ')} #### ${total}`;
}

/** FNV-1a over the expression's UTF-16 code units (ASCII), 32 bit. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}

/** Held-out problems are asked in evaluations only. */
export const isHeldOut = (problem: Problem): boolean => fnv1a(renderExpression(problem)) % HELD_OUT_MODULUS === 0;

/** Numbers whose running totals all lie in 0..`maxTotal`: the first is 1..`maxFirst`, the others 1..`maxOperand`. */
export function drawTerms(
  random: Random,
  terms: number,
  {
    maxFirst,
    maxOperand,
    maxTotal,
  }: { readonly maxFirst: number; readonly maxOperand: number; readonly maxTotal: number },
) {
  const first = 1 + Math.floor(random() * maxFirst);
  const rest: { operator: Operator; operand: number }[] = [];
  let total = first;
  while (rest.length < terms - 1) {
    const operator: Operator = random() < 0.5 ? '+' : '-';
    const operand = 1 + Math.floor(random() * maxOperand);
    const next = applyStep(total, operator, operand);
    if (next < 0 || next > maxTotal) continue;
    rest.push({ operator, operand });
    total = next;
  }
  return { first, rest };
}

/**
 * A problem of `terms` numbers whose running totals all lie in 0..MAX_TOTAL. The first number is 1..`maxFirst`.
 * With `split`, only problems of that side of the held-out rule.
 */
export function randomProblem(random: Random, terms: number, maxFirst: number, split?: 'train' | 'heldOut'): Problem {
  for (;;) {
    const problem = drawTerms(random, terms, { maxFirst, maxOperand: MAX_OPERAND, maxTotal: MAX_TOTAL });
    if (split === undefined || isHeldOut(problem) === (split === 'heldOut')) return problem;
  }
}

/** A problem as a row: `prompt` for the user turn, `completion` for SFT, `answer` for rewards and evaluation. */
export interface ProblemRow {
  readonly prompt: string;
  readonly completion: string;
  readonly answer: number;
}

/** `count` different problems of one side of the held-out rule, half of three terms and half of four. */
export function problemRows(options: {
  readonly split: 'train' | 'heldOut';
  readonly count: number;
  readonly seed: number;
}): ProblemRow[] {
  const random = mulberry32(options.seed);
  const rows = new Map<string, ProblemRow>();
  while (rows.size < options.count) {
    const problem = randomProblem(random, random() < 0.5 ? 3 : 4, 99, options.split);
    const prompt = renderExpression(problem);
    rows.set(prompt, { prompt, completion: renderSolution(problem), answer: answerOf(problem) });
  }
  return [...rows.values()];
}
