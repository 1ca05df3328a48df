import type { Verifier } from '@posttrain/interfaces';
import { strip } from '@posttrain/interfaces/python';
import { exactMatch, functionVerifier } from '@posttrain/interfaces/verifiers';
import { EvaluationError } from '../errors.js';
import { type BenchmarkRow, textIn } from './benchmark.js';

/** The last `\boxed{…}` of a solution, braces balanced. @throws EvaluationError `BAD_ROW` where there is none */
export function boxedIn(solution: string): string {
  const start = Math.max(solution.lastIndexOf('\\boxed{'), solution.lastIndexOf('\\fbox{'));
  let depth = 0;
  for (let i = solution.indexOf('{', start); start >= 0 && i < solution.length; i++) {
    if (solution[i] === '{') depth++;
    if (solution[i] === '}' && --depth === 0) return solution.slice(solution.indexOf('{', start) + 1, i);
  }
  throw new EvaluationError('BAD_ROW', 'a solution has no \\boxed answer.');
}

/** The final answer, as rewards and votes find it, against a text of the row. */
export const finalAnswerIs = (target: (row: BenchmarkRow) => string): Verifier => exactMatch({ target });

/**
 * The letter behind `Answer:`, in brackets or by itself on a line, against a letter of the row. A small letter counts where it stands alone (a mark or
 * the end of the line behind it): "the answer is a bit unclear" names none.
 */
export const letterIs = (target: (row: BenchmarkRow) => string): Verifier =>
  functionVerifier('letter', ({ completion, row }) => {
    const marked = [
      ...completion.matchAll(
        /[Aa][Nn][Ss][Ww][Ee][Rr]\s*(?:[Ii][Ss]\s*)?(?::\s*)?(?:\*+\s*)?(?:[([{]\s*)?(?:([A-Z])\b|([a-z])(?=[^\S\n]*(?:$|[\n)\]}*]|[.,;:!](?:\s|$))))/g,
      ),
    ]
      .at(-1)
      ?.slice(1)
      .find((letter) => letter !== undefined);
    const alone = /^[^\S\n]*[([]?([A-Z])[)\].]?\s*(?:$|[.\n])/m.exec(completion)?.[1];
    const answer = (marked ?? alone)?.toUpperCase() ?? null;
    return { score: Number(answer === target(row as BenchmarkRow)), answer };
  });

/** One of a few words that the completion says first, against one of the row: `yes` or `no`, `safe` or `unsafe`. */
export const wordIs = (words: readonly string[], target: (row: BenchmarkRow) => string): Verifier =>
  functionVerifier(words.join(' or '), ({ completion, row }) => {
    const answer = new RegExp(`\\b(?:${words.join('|')})\\b`, 'i').exec(completion)?.[0].toLowerCase() ?? null;
    return { score: Number(answer === target(row as BenchmarkRow)), answer };
  });

/** The whole completion, or what stands behind its last "answer is", without marks around it, against a text of the row, whatever the case. */
export const textIs = (column: string): Verifier =>
  functionVerifier('text', ({ completion, row }) => {
    const said = completion.split(/answer is:?/i).at(-1)!;
    const plain = (text: string) =>
      strip(
        strip(text)
          .replace(/^[*"'`]+/, '')
          .replace(/(?<![*"'`.])[*"'`.]+$/, ''),
      ).toLowerCase();
    const answer = plain(said);
    return { score: Number(answer === plain(textIn(row as BenchmarkRow, column))), answer };
  });
