import { type Given, type HasSettings, options, text, type Verifier } from '@posttrain/interfaces';
import { columnOf, ruleVerifier } from '@posttrain/interfaces/verifiers';

const myMethodOptions = options('myMethod', {
  /** Column of the row that has the text to compare with. Default `answer`. */
  column: text({ default: 'answer' }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * How many words completion and reference have in common (arXiv 0000.00000): |A ∩ B| / |A ∪ B| of their sets of words in lower case,
 * from 0 to 1; `null`, not scorable, where neither has a word.
 *
 * @throws OptionError; VerifierInputError for a row without the column
 */
export function myMethod(given: MyMethodOptions = {}): Verifier & HasSettings {
  const { column } = myMethodOptions.read(given);
  return ruleVerifier('myMethod', myMethodOptions.settings(given), ({ completion, row }) => {
    const [a, b] = [wordsOf(completion), wordsOf(String(columnOf('myMethod', column, row)))];
    const either = new Set([...a, ...b]).size;
    return either === 0 ? null : (a.size + b.size - either) / either;
  });
}

const wordsOf = (of: string): Set<string> => new Set(of.toLowerCase().match(/[\p{L}\p{N}]+/gu));
