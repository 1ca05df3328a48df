import { oneOf } from '../options/option.js';
import { assertArgument } from '../options/option-error.js';
import { type Given, options } from '../options/options.js';

/** Options of everything that reads answers, to be spread into the declarations of others. */
export const answerShape = {
  /**
   * What a percent sign means. `fraction`: 50% is 1/2 and not 50. `unit`: it is left out as other units are, so that
   * 50% is 50 and not 1/2, as in GSM8K. (Math-Verify takes 50% for both, which no vote can: 50 and 1/2 would be one answer.)
   * Default `fraction`.
   */
  percent: oneOf(['fraction', 'unit'], { optional: true }),
  /**
   * Whether arithmetic that is left undone is its result. `written`: `2 + 3` is not 5, as it may only repeat the question; formulas that are no numbers are compared by
   * their values all the same (`1 + x` is `x + 1`, `\\sqrt{8}` is `2\\sqrt{2}`). `computed`: it is, as in Math-Verify. Default `written`.
   */
  arithmetic: oneOf(['written', 'computed'], { optional: true }),
};

const answerOptions = options('answers', answerShape);
/** How answers are read. */
export type AnswerOptions = Given<typeof answerOptions>;

/** @throws OptionError for an answer or a completion that is no text */
export const assertAnswerText = (where: string, name: string, value: unknown): void =>
  assertArgument(where, name, value, typeof value === 'string', 'a text');

/** Refuses options of answers that are unknown or cannot be right. @throws OptionError */
export const assertAnswerOptions = (given: AnswerOptions): void => void answerOptions.read(given);
