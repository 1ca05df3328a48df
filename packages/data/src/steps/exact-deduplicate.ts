import { hash } from 'node:crypto';
import { custom, type Given, oneOf, options } from '@posttrain/interfaces';
import { strip } from '@posttrain/interfaces/python';
import { columnOf, columnOption } from '../filters/text-filter.js';
import type { Row } from '../rows.js';
import type { DataStep, StepContext } from '../step.js';
import { type RepeatedParts, repeatedOf, repeatedParts, spillMemory } from './repeated-parts.js';

/** What texts are compared by. */
export const byOption = oneOf(['document', 'paragraph', 'line'], { default: 'document' });

/** What a text is compared as. */
export const normalizeOption = custom<(text: string) => string>()(
  'a function of a text',
  (value) => typeof value === 'function',
  { default: strip },
);

const exactDeduplicateOptions = options('exactDeduplicate', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
  /** What is compared: whole texts, their paragraphs (apart by empty lines), or their lines. Default `document`. */
  by: byOption,
  /** What a text or a part of it is compared as; an empty one is compared with nothing. Default: without the white space around it. */
  normalize: normalizeOption,
  ...spillMemory,
});
/** Options of `exactDeduplicate`. */
export type ExactDeduplicateOptions = Given<typeof exactDeduplicateOptions>;

const SEPARATORS = { document: undefined, paragraph: /(\n{2,})/u, line: /(\n)/u } as const;

/**
 * Exact deduplication: of equal texts the first is kept; with `by`, paragraphs or lines that were there before, in this row or one before it, are cut out
 * of their texts (CCNet, arXiv 1911.00359 §3.1, for lines of web pages). Parts are compared by 128 bits of SHA-256, sorted in `memoryBytes` and beyond
 * it on disk. A row of which nothing is left is dropped.
 *
 * @throws OptionError; RowError where the text is none
 */
export function exactDeduplicate<R extends object = Row>(
  given: ExactDeduplicateOptions = {},
): DataStep<R, R, RepeatedParts> {
  const { text: column, by, normalize, memoryBytes } = exactDeduplicateOptions.read(given);
  return {
    name: 'exact deduplicate',
    version: JSON.stringify(exactDeduplicateOptions.settings(given)),
    plan: (rows, context) =>
      repeatedParts(rows, context, memoryBytes, (row, rowNumber) =>
        partsOf(columnOf(row, column, rowNumber), by).map((part) => {
          const compared = normalize(part);
          return compared === '' ? undefined : hash('sha256', compared, 'buffer');
        }),
      ),
    apply: (rows, context, plan) => withoutRepeated(rows, context, plan, column, by),
  };
}

/** The texts that are compared: a text itself, or its parts. */
export function partsOf(text: string, by: keyof typeof SEPARATORS): readonly string[] {
  const separator = SEPARATORS[by];
  return separator === undefined ? [text] : text.split(separator).filter((_, i) => i % 2 === 0);
}

/** Rows without the parts that were there before; those of which nothing is left are dropped. */
export async function* withoutRepeated<R extends object>(
  rows: AsyncIterable<R>,
  context: StepContext<R>,
  plan: RepeatedParts,
  column: string,
  by: keyof typeof SEPARATORS,
): AsyncGenerator<R> {
  const separator = SEPARATORS[by];
  const repeated = repeatedOf(plan, context.shard);
  let rowNumber = 0;
  for await (const row of rows) {
    const text = columnOf(row, column, ++rowNumber);
    const pieces = separator === undefined ? [text] : text.split(separator);
    const again = repeated((pieces.length + 1) / 2);
    if (again.length === 0) {
      yield row;
      continue;
    }
    const left = separator === undefined ? '' : withoutParts(pieces, new Set(again));
    if (strip(left) === '') context.drop(row, by === 'document' ? 'duplicate' : `every ${by} was there before`);
    else yield context.derive({ ...row, [column]: left }, row);
  }
}

/** Parts and separators in turn, without some parts; a part takes the separator before it along, the first one the separator behind it. */
function withoutParts(pieces: readonly string[], without: ReadonlySet<number>): string {
  let text = '';
  for (let part = 0; 2 * part < pieces.length; part++) {
    if (!without.has(part)) text += (text === '' ? '' : pieces[2 * part - 1]!) + pieces[2 * part]!;
  }
  return text;
}
