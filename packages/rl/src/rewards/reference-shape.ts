import { text } from '@posttrain/interfaces';
import { answerShape } from '@posttrain/interfaces/answers';

/** Options of rewards that compare the final answer of a completion with a column of the row. */
export const referenceShape = {
  /** Column with the reference: a text, a number, or a list of acceptable ones. Default `answer`. */
  column: text({ default: 'answer' }),
  ...answerShape,
};
