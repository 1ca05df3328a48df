import { evaluateExpression, parseExpression } from '../text/expression.js';
import { levenshtein } from '../text/levenshtein.js';

/** What GSM8K marks as a calculation. */
const CALCULATION = /<<([^>]*)>>/g;

/**
 * RFT's choice among the right solutions of a question (arXiv 2308.01825 §3.3, and its authors' code): one of each list of equations, as they stand in `<<3+4=7>>` in the order of the text. A solution with an equation that
 * does not hold (within 1e-3) goes. Of those with the same list the one stays that is furthest from those of other lists, by the sum of Levenshtein's distances, as far as they have come. Solutions without any equation have the same list.
 *
 * @returns places of those that stay, a list of equations each, in the order in which the lists first came
 */
export function differentEquations(solutions: readonly string[]): number[] {
  const kept: number[] = [];
  const lists: string[] = [];
  for (const [at, solution] of solutions.entries()) {
    const equations = [...solution.matchAll(CALCULATION)].map(([, inner]) => inner!);
    if (!equations.every(holds)) continue;
    const list = equations.join('|').replaceAll(' ', '');
    const known = lists.indexOf(list);
    if (known < 0) {
      lists.push(list);
      kept.push(at);
      continue;
    }
    const own = solutions[kept[known]!]!;
    const others = kept.map((one) => solutions[one]!).filter((one) => one !== own);
    const apart = (text: string) => others.reduce((sum, one) => sum + levenshtein(text, one), 0);
    if (apart(solution) > apart(own)) kept[known] = at;
  }
  return kept;
}

/** Whether an equation holds within 1e-3. What is no arithmetic of numbers does not. */
function holds(equation: string): boolean {
  const [left, right] = equation.split('=');
  if (right === undefined || !/^\s*-?(?:\d+\.?\d*|\.\d+)\s*$/.test(right)) return false;
  // Numbers are made whole, and signs differences, which is what the parser reads.
  const whole = left!
    .replaceAll(/(^|\()\s*-/g, '$10-')
    .replaceAll(
      /(?<!\d)(\d*)\.(\d+)/g,
      (_, before: string, behind: string) => `(${Number(before + behind)}/${10 ** behind.length})`,
    );
  const parsed = parseExpression(whole);
  const value = parsed.ok ? evaluateExpression(parsed.expression) : null;
  return value !== null && Math.abs(Number(value.numerator) / Number(value.denominator) - Number(right)) < 1e-3;
}
