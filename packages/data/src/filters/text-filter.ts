import { custom, text } from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { kindOf, ownValue, type Row } from '../rows.js';
import type { DataStep } from '../step.js';

/** A number that a filter holds a text to; `null` leaves that check out. */
export const threshold = (value: number) =>
  custom<number | null>()('a number, or null for no such check', (given) => given === null || Number.isFinite(given), {
    default: value,
  });

/** Where the text is, of steps that may write it again. */
export const columnOption = text({ default: 'text' });

/** How a text becomes words. */
export const wordsOption = custom<(text: string) => readonly string[]>()(
  'a function of a text that gives its words',
  (value) => typeof value === 'function',
  { optional: true },
);

/** The text of a row's column. @throws RowError where it is none */
export function columnOf(row: object, column: string, rowNumber: number): string {
  const value = ownValue(row, column);
  if (typeof value === 'string') return value;
  throw new RowError(rowNumber, column, `must be a text, got ${kindOf(value)}; name its column with "text".`);
}

/** What becomes of a text: it is kept, dropped for a reason, or kept with another text. */
export type TextVerdict = true | { readonly drop: string } | { readonly text: string };

/** A step that looks at one text at a time and keeps or drops the row. */
export function textFilter<R extends object = Row>(
  name: string,
  version: string,
  column: string,
  judge: (text: string) => true | { readonly drop: string },
): DataStep<R> & { readonly passes: true } {
  return { ...textEditor<R>(name, version, column, judge), passes: true };
}

/** A step that looks at one text at a time and may change it. A row whose text is changed is a new row, made of the old one (lineage). */
export function textEditor<R extends object = Row>(
  name: string,
  version: string,
  column: string,
  judge: (text: string) => TextVerdict,
): DataStep<R> {
  return {
    name,
    version,
    async *apply(rows, context) {
      let rowNumber = 0;
      for await (const row of rows) {
        const text = columnOf(row, column, ++rowNumber);
        const verdict = judge(text);
        if (verdict === true) yield row;
        else if ('drop' in verdict) context.drop(row, verdict.drop);
        else yield verdict.text === text ? row : context.derive({ ...row, [column]: verdict.text }, row);
      }
    },
  };
}
