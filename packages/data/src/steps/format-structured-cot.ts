import { custom, type Given, oneOf, options, text } from '@posttrain/interfaces';
import { formatTags } from '@posttrain/interfaces/verifiers';
import { DataOptionError } from '../errors.js';
import { ownValue, type Row } from '../rows.js';
import type { DataStep } from '../step.js';

const structuredOptions = options('formatStructuredCot', {
  /** Columns of a row by the tag that they go into, in the order of the tags. Default `{ think: 'reasoning', answer: 'answer' }`. */
  columns: custom<Readonly<Record<string, string>>>()(
    'an object of names of columns by tag, at least one',
    (value) =>
      typeof value === 'object' &&
      value !== null &&
      Object.keys(value).length > 0 &&
      Object.values(value).every((one) => typeof one === 'string'),
    { default: { think: 'reasoning', answer: 'answer' }, settings: (columns) => JSON.stringify(columns) },
  ),
  /** What a row without these columns is: one whose `completion` must have the form already, or one to be dropped. Default `'completion'`. */
  otherwise: oneOf(['completion', 'drop'], { default: 'completion' }),
  /** Between the end of one tag and the start of the next. Default a line break. */
  separator: text({ default: '\n' }),
});
/** Options of `formatStructuredCot`. */
export type FormatStructuredCotOptions = Given<typeof structuredOptions>;

/** A row whose completion has the form. */
export type StructuredRow<R> = R & { readonly completion: string };

/**
 * Data with a structured chain of thought (DeepSeek-R1's cold start, arXiv 2501.12948 §2.3.1; survey 2502.21321 §3.3.1): the completion is made of columns, each in a tag, or, where a row
 * has none, is the one it came with. Either way it must pass `formatTags`: what is malformed (a tag that is left out, twice, empty, in another's, or text around them) is dropped with the reason.
 *
 * @throws OptionError; DataOptionError for a separator that is not white space
 */
export function formatStructuredCot<R extends object = Row>(
  given: FormatStructuredCotOptions = {},
): DataStep<R, StructuredRow<R>> {
  const { columns, otherwise, separator } = structuredOptions.read(given);
  const tags = Object.keys(columns);
  if (separator.trim() !== '')
    throw new DataOptionError('formatStructuredCot', 'separator must be white space, or empty.');
  const checker = formatTags({ tags });
  return {
    name: 'format structured cot',
    version: JSON.stringify(structuredOptions.settings(given)),
    async *apply(rows, context) {
      for await (const row of rows) {
        const parts = tags.map((tag) => ownValue(row, columns[tag]!));
        const isWhole = parts.every((part) => typeof part === 'string');
        const own = ownValue(row, 'completion');
        const completion = isWhole
          ? tags.map((tag, i) => `<${tag}>${String(parts[i])}</${tag}>`).join(separator)
          : otherwise === 'completion' && typeof own === 'string'
            ? own
            : null;
        if (completion === null)
          context.drop(row, `it has not all of the columns ${Object.values(columns).join(', ')}`);
        else if ((await checker.verify([{ prompt: '', completion }]))[0]!.score !== 1) context.drop(row, 'malformed');
        else yield context.derive({ ...row, completion }, row);
      }
    },
  };
}
