import { assertKnownOptions } from '@posttrain/interfaces';
import { finalAnswer } from './final-answer.js';
import { numbersIn, parseNumber } from './parse-number.js';
import { columnOf, type RewardFunction } from './reward.js';

export interface NumericMatchOptions {
  /** Column with the reference number, as a number or as text. Default `answer`. */
  readonly column?: string;
  /** Largest difference that counts as equal, relative to the larger of 1 and the reference. Default 1e-9. */
  readonly tolerance?: number;
}

/**
 * 1 when the completion's number equals the reference, else 0; null when the reference is not a number. The number is
 * that of `finalAnswer`, which must hold exactly one (listing guesses scores 0); without a marked answer, the last of the
 * text.
 */
export function numericMatch(options: NumericMatchOptions = {}): RewardFunction {
  assertKnownOptions('numericMatch', options, ['column', 'tolerance']);
  const { column = 'answer', tolerance = 1e-9 } = options;
  return (completion, context) => {
    const reference = parseNumber(String(columnOf('numericMatch', column, context)));
    if (reference === null) return null;
    const value = numberOf(completion);
    return value !== undefined && Math.abs(value - reference) <= tolerance * Math.max(1, Math.abs(reference)) ? 1 : 0;
  };
}

function numberOf(completion: string): number | undefined {
  const marked = finalAnswer(completion);
  if (marked === null) return numbersIn(completion).at(-1);
  const whole = parseNumber(marked);
  if (whole !== null) return whole;
  const numbers = numbersIn(marked);
  return numbers.length === 1 ? numbers[0] : undefined;
}
