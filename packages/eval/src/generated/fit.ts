import { EvaluationError } from '../errors.js';

/** Tokens of a text, in the model's own tokenizer: `(text) => tokenizer.encode(text).length`. */
export type CountTokens = (text: string) => number;

/**
 * The largest size for which `build` is no longer than a number of tokens, by doubling and bisection.
 * @throws EvaluationError `TOO_SHORT` where even the smallest is longer
 */
export function fitSize(where: string, length: number, smallest: number, count: (size: number) => number): number {
  const least = count(smallest);
  if (least > length) {
    throw new EvaluationError(
      'TOO_SHORT',
      `${where}: the shortest problem has ${least} tokens, and "length" is ${length}.`,
    );
  }
  let fits = smallest;
  let over = smallest * 2;
  while (count(over) <= length) {
    fits = over;
    over *= 2;
  }
  while (over - fits > 1) {
    const middle = Math.floor((fits + over) / 2);
    if (count(middle) <= length) fits = middle;
    else over = middle;
  }
  return fits;
}
