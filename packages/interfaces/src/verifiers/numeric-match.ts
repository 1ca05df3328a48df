import {
  type AnswerOptions,
  gradeAnswer,
  parseRational,
  rationalToNumber,
  referenceAnswers,
} from '../answers/index.js';
import { assertKnownOptions, PosttrainError } from '../errors.js';
import { type DecisiveSettings, type HasSettings, settingsOf } from '../settings.js';
import type { Verifier } from '../verify.js';
import { columnOf } from './reference.js';
import { ruleVerifier } from './rule-verifier.js';

/** Options of `numericMatch`. */
export interface NumericMatchOptions extends AnswerOptions {
  /** Column with the reference number, as a number or as text, or a list of acceptable ones. Default `answer`. */
  readonly column?: string;
  /**
   * Largest difference that counts as equal, relative to the larger of 1 and the reference. Default 0: numbers are compared
   * exactly, as votes and grades do (0.333 is not 1/3). With more, a policy is paid for what a vote counts apart.
   */
  readonly tolerance?: number;
}

/**
 * 1 when the completion's final answer (`extractFinalAnswer`) is the reference number, else 0; null when the reference is no
 * number. An answer that is no number (`2\pi`, `3 or 4`, `not 7`) scores 0.
 */
export function numericMatch(options: NumericMatchOptions = {}): Verifier & HasSettings {
  assertKnownOptions('numericMatch', options, ['column', 'tolerance', 'percent']);
  const { column = 'answer', tolerance = 0 } = options;
  if (!(tolerance >= 0 && tolerance < Number.POSITIVE_INFINITY)) {
    throw new PosttrainError('OPTION', `numericMatch: tolerance must be a number of at least 0, not ${tolerance}`);
  }
  const settings = settingsOf({ column, tolerance, percent: options.percent }) as DecisiveSettings;
  return ruleVerifier('numericMatch', settings, ({ completion, row }) => {
    const references = numbersOf(columnOf('numericMatch', column, row), options);
    if (references.length === 0) return null;
    const { correct, answer } = gradeAnswer(completion, references, options);
    if (correct || tolerance === 0 || answer === null) return { score: Number(correct), answer };
    const value = parseRational(answer);
    if (value === null) return { score: 0, answer };
    const near = (reference: string) => {
      const wanted = rationalToNumber(parseRational(reference)!);
      return Math.abs(rationalToNumber(value) - wanted) <= tolerance * Math.max(1, Math.abs(wanted));
    };
    return { score: Number(references.some(near)), answer };
  });
}

/** The references that are numbers, spelled. */
function numbersOf(column: unknown, options: AnswerOptions): string[] {
  const given = (Array.isArray(column) ? column : [column]).filter(
    (value) => typeof value === 'string' || typeof value === 'bigint' || Number.isFinite(value),
  );
  return given.flatMap((value) =>
    typeof value === 'string' && value.trim() === ''
      ? []
      : referenceAnswers('numericMatch', value, options).filter((text) => parseRational(text) !== null),
  );
}
