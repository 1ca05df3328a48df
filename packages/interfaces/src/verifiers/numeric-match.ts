import {
  type AnswerOptions,
  answerSettings,
  gradeAnswer,
  parseRational,
  rationalToNumber,
  referenceAnswers,
} from '../answers/index.js';
import { number } from '../options/option.js';
import { showValue } from '../options/option-error.js';
import { type Given, options } from '../options/options.js';
import { type DecisiveSettings, type HasSettings, settingsOf } from '../settings.js';
import type { Verdict, Verifier, VerifyRequest } from '../verify.js';
import { columnOf } from './reference.js';
import { referenceShape } from './reference-shape.js';
import { type ChecksRows, ruleVerifier } from './rule-verifier.js';

const numericMatchOptions = options(
  'numericMatch',
  {
    ...referenceShape,
    /**
     * Largest difference that counts as equal, relative to the larger of 1 and the reference. Default 0: numbers are compared
     * exactly, as votes and grades do (0.333 is not 1/3). With more, a policy is paid for what a vote counts apart.
     */
    tolerance: number({ default: 0, min: 0 }),
  },
  { bare: 'column' },
);
/** Options of `numericMatch`: `column` holds the reference number, as a number or as text, or a list of acceptable ones. */
export type NumericMatchOptions = Given<typeof numericMatchOptions>;

/**
 * 1 when the completion's final answer (`extractFinalAnswer`) is the reference number, else 0; null when the reference is no
 * number; rows that all have none are refused before a run begins. An answer that is no number (`2\pi`, `3 or 4`, `not 7`)
 * scores 0.
 *
 * @throws OptionError
 */
export function numericMatch(given: NumericMatchOptions = {}): Verifier & HasSettings & Partial<ChecksRows> {
  const { column, tolerance, ...answers } = numericMatchOptions.read(given);
  const settings = settingsOf({
    column,
    tolerance,
    ...answerSettings(answers),
  }) as DecisiveSettings;
  const cannotScore = (row: object): string | undefined => {
    const value = (row as Readonly<Record<string, unknown>>)[column];
    if (value === undefined || numbersOf(value, answers).length > 0) return undefined;
    return `its column "${column}" is ${showValue(value)}, which is no number; exactMatch() compares texts`;
  };
  const judge = ({ completion, row }: VerifyRequest): Verdict | null => {
    const references = numbersOf(columnOf('numericMatch', column, row), answers);
    if (references.length === 0) return null;
    const { correct, answer } = gradeAnswer(completion, references, answers);
    if (correct || tolerance === 0 || answer === null) return { score: Number(correct), answer };
    const value = parseRational(answer);
    if (value === null) return { score: 0, answer };
    const near = (reference: string) => {
      const wanted = rationalToNumber(parseRational(reference)!);
      return Math.abs(rationalToNumber(value) - wanted) <= tolerance * Math.max(1, Math.abs(wanted));
    };
    return { score: Number(references.some(near)), answer };
  };
  return ruleVerifier('numericMatch', settings, judge, { cannotScore });
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
