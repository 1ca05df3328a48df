import { type DecisiveSettings, type Given, number, options, settingsOf, showValue } from '@posttrain/interfaces';
import {
  type AnswerOptions,
  gradeAnswer,
  parseRational,
  rationalToNumber,
  referenceAnswers,
} from '@posttrain/interfaces/answers';
import { referenceShape } from './reference-shape.js';
import { columnOf, namedReward, type RewardFunction } from './reward.js';

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
/** `column` holds the reference number, as a number or as text, or a list of acceptable ones. */
export type NumericMatchOptions = Given<typeof numericMatchOptions>;

/**
 * 1 when the completion's final answer (`extractFinalAnswer`) is the reference number, else 0; null when the reference is no
 * number; rows that all have none are refused before a run begins. An answer that is no number (`2\pi`, `3 or 4`, `not 7`)
 * scores 0.
 *
 * @throws OptionError
 */
export function numericMatch(given: NumericMatchOptions = {}): RewardFunction {
  const { column, tolerance, ...answers } = numericMatchOptions.read(given);
  const settings = settingsOf({ column, tolerance, percent: given.percent }) as DecisiveSettings;
  const reward: RewardFunction = (completion, context) => {
    const references = numbersOf(columnOf('numericMatch', column, context), answers);
    if (references.length === 0) return null;
    const { correct, answer } = gradeAnswer(completion, references, answers);
    if (correct || tolerance === 0 || answer === null) return Number(correct);
    const value = parseRational(answer);
    if (value === null) return 0;
    const near = (reference: string) => {
      const wanted = rationalToNumber(parseRational(reference)!);
      return Math.abs(rationalToNumber(value) - wanted) <= tolerance * Math.max(1, Math.abs(wanted));
    };
    return Number(references.some(near));
  };
  const cannotScore = (row: object): string | undefined => {
    const value = (row as Readonly<Record<string, unknown>>)[column];
    if (value === undefined || numbersOf(value, answers).length > 0) return undefined;
    return `its column "${column}" is ${showValue(value)}, which is no number; exactMatch() compares texts`;
  };
  return namedReward('numericMatch', settings, reward, { cannotScore });
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
