import { PosttrainError } from '../errors.js';
import type { AnswerOptions } from './answer-options.js';
import { extractFinalAnswer, markedAnswer } from './extract.js';
import { normalizeAnswer, spellingsEqual } from './normalize.js';

/** What comparing a completion with reference answers found. */
export interface AnswerVerdict {
  readonly correct: boolean;
  /** The completion's answer, spelled by `normalizeAnswer`; `null` when there is none. */
  readonly answer: string | null;
}

/**
 * The reference answers of a dataset's column, spelled by `normalizeAnswer`: a text, a number, or a list of these of
 * which any is right. A text that marks its answer (GSM8K's `… #### 18`, MATH's `… \boxed{2}`) stands for that answer.
 * A number counts by its 15 significant digits, which is what a double holds: 0.1 + 0.2 is 0.3.
 * @throws PosttrainError `NO_REFERENCE` naming `where` when there is none.
 */
export function referenceAnswers(where: string, value: unknown, options: AnswerOptions = {}): string[] {
  const values = Array.isArray(value) ? value : [value];
  const answers = values.map((entry) => referenceAnswer(entry, options));
  if (answers.length > 0 && answers.every((answer) => answer !== null)) return answers;
  throw new PosttrainError(
    'NO_REFERENCE',
    `${where}: the reference answer is ${JSON.stringify(value)}; it must be a text that is not empty, a finite number, or a list of these.`,
  );
}

function referenceAnswer(value: unknown, options: AnswerOptions): string | null {
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return null;
    return normalizeAnswer(Number.isSafeInteger(value) ? String(value) : value.toPrecision(15), options);
  }
  if (typeof value !== 'string' || value.trim() === '') return null;
  // Only marks that no bare answer holds: "answer: 5" may be a reference as it is, and says 5 all the same.
  return markedAnswer(value) ? extractFinalAnswer(value, options) : normalizeAnswer(value, options);
}

/**
 * Whether a completion's final answer is one of `references` (of `referenceAnswers`). The answer is what
 * `extractFinalAnswer` finds; a completion that marks none is also right when all of it is the reference (`Paris`).
 */
export function gradeAnswer(
  completion: string,
  references: readonly string[],
  options: AnswerOptions = {},
): AnswerVerdict {
  if (markedAnswer(completion) === null) {
    const whole = normalizeAnswer(completion, options);
    if (references.includes(whole)) return { correct: true, answer: whole };
  }
  const answer = extractFinalAnswer(completion, options);
  const correct = answer !== null && references.some((reference) => spellingsEqual(reference, answer, options));
  return { correct, answer };
}
