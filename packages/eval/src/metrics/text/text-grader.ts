import { custom, type Given, options, text, type Verifier } from '@posttrain/interfaces';
import { columnOf, ruleVerifier, VerifierInputError } from '@posttrain/interfaces/verifiers';

const textGraderOptions = options('textGrader', {
  /** Name in logs and tables. */
  name: text({}),
  /** The score of a text against its references. */
  score: custom<(completion: string, references: readonly string[]) => number>()(
    'a function of a text and its references',
    (value) => typeof value === 'function',
    {},
  ),
  /** Column with the reference, or a list of them. Default `answer`. */
  column: text({ default: 'answer' }),
});
/** Options of `textGrader`. */
export type TextGraderOptions = Given<typeof textGraderOptions>;

/**
 * A grader (and a reward) of a text metric: `textGrader({ name: 'rougeL', score: (text, references) => rouge(text, references, { type: 'rougeL' }).f1 })`. What is no mean
 * over texts (`bleu`, `chrf`, `ter` and `cider` of a corpus) is computed of the logged texts instead.
 *
 * @throws OptionError; VerifierInputError when a row has no reference
 */
export function textGrader(given: TextGraderOptions): Verifier {
  const { name, score, column } = textGraderOptions.read(given);
  return ruleVerifier(name, textGraderOptions.settings(given), ({ completion, row }) => {
    const value = [columnOf(name, column, row, '; name another with "column"')].flat();
    if (value.length > 0 && value.every((entry) => typeof entry === 'string')) return score(completion, value);
    throw new VerifierInputError(`${name}: the column "${column}" of a row must be a text, or a list of texts.`);
  });
}
