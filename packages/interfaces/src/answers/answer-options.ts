import { integer, oneOf } from '../options/option.js';
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
  /**
   * What a comma in a number may be. `point`: it parts thousands, and `1,22` is no number. `either`: it is the decimal mark where it can part no thousands (`1,22`, `0,111`,
   * `1000,99`, `1.234,5`), so that `1,22` is no list of two either. Default `point`.
   */
  decimal: oneOf(['point', 'either'], { optional: true }),
  /** Numbers are one when they agree after rounding to so many decimals, halves away from 0: 6 in Math-Verify, where 0.333333 is 1/3. Default: numbers are compared exactly. */
  decimals: integer({ min: 0, max: 100, optional: true }),
  /**
   * How `3/4/2021` is read: the fourth of March (`month first`) or the third of April (`day first`). Without it, it is no date, and `13/4/2021`, which can be one day only, is.
   * Default: neither.
   */
  dates: oneOf(['day first', 'month first'], { optional: true }),
};

const answerOptions = options('answers', answerShape);
/** How answers are read. */
export type AnswerOptions = Given<typeof answerOptions>;

/** @throws OptionError for an answer or a completion that is no text */
export const assertAnswerText = (where: string, name: string, value: unknown): void =>
  assertArgument(where, name, value, typeof value === 'string', 'a text');

/** Refuses options of answers that are unknown or cannot be right. @throws OptionError */
export const assertAnswerOptions = (given: AnswerOptions): void => void answerOptions.read(given);

/** The options as settings of a run: those that came later only where they are given, so that runs of before stay the same. */
export const answerSettings = ({ percent, ...others }: AnswerOptions): Readonly<Record<string, unknown>> => ({
  percent,
  ...Object.fromEntries(Object.entries(others).filter(([, value]) => value !== undefined)),
});
