import { answerShape } from '../answers/index.js';
import { text } from '../options/option.js';

/** Options of verifiers that compare the final answer of a completion with a column of the row. */
export const referenceShape = {
  /** Column with the reference: a text, a number, or a list of acceptable ones. Default `answer`. */
  column: text({ default: 'answer' }),
  ...answerShape,
};
