import { type Given, oneOf, options, text, type Verifier } from '@posttrain/interfaces';
import { functionVerifier } from '@posttrain/interfaces/verifiers';
import { EvaluationError } from '../errors.js';

const matchOptions = options('stringMatch', {
  /** Column of the texts that are looked for. Default `outputs`. */
  column: text({ default: 'outputs' }),
  /** The share of them that the completion has (`all`), or 1 where it has any of them (`part`). Default `all`. */
  mode: oneOf(['all', 'part'], { default: 'all' }),
});
/** Options of `stringMatch`. */
export type StringMatchOptions = Given<typeof matchOptions>;

/**
 * RULER's metrics (arXiv 2404.06654; `string_match_all`, `string_match_part`): which of the wanted texts are in the completion, whatever
 * their case. In percent there, from 0 to 1 here.
 *
 * @throws OptionError; EvaluationError `BAD_ROW` where the column is no list of texts
 */
export function stringMatch(given: StringMatchOptions = {}): Verifier {
  const { column, mode } = matchOptions.read(given);
  return functionVerifier(`stringMatch ${mode}`, ({ completion, row }) => {
    const wanted = row?.[column];
    if (!Array.isArray(wanted) || wanted.length === 0 || wanted.some((one) => typeof one !== 'string'))
      throw new EvaluationError('BAD_ROW', `stringMatch: the column "${column}" must be a list of texts.`);
    const said = completion.toLowerCase();
    const found = (wanted as string[]).filter((one) => said.includes(one.toLowerCase())).length;
    return mode === 'part' ? Number(found > 0) : found / wanted.length;
  });
}
