import { assertArgument, custom, type Given, options, text } from '@posttrain/interfaces';
import { cellText, columnsOf, type TableColumn, type TableRow } from '../table.js';
import { displayWidth } from './width.js';

const renderTableOptions = options('renderTable', {
  /** Which columns, in which order. Default: every key of the rows, in order of appearance. */
  columns: custom<readonly (string | TableColumn)[]>()('a list of keys or columns', Array.isArray, { optional: true }),
  title: text({ optional: true }),
});
/** Options of `renderTable`. */
export type RenderTableOptions = Given<typeof renderTableOptions>;

/** A table for the terminal: text to the left, numbers to the right, standard errors aligned at their ±. No line feed at the end. */
export function renderTable(rows: readonly TableRow[], given: RenderTableOptions = {}): string {
  const isRows = Array.isArray(rows) && rows.every((row) => typeof row === 'object' && row !== null);
  assertArgument('renderTable', 'rows', rows, isRows, 'a list of objects of columns');
  const { columns: wanted, title } = renderTableOptions.read(given);
  const columns = columnsOf(rows, wanted).map(({ key, title, format }) => {
    const cells = rows.map((row) => cellText(row[key], format));
    const errorWidth = Math.max(0, ...cells.map(({ error }) => displayWidth(error)));
    const texts = cells.map(({ value, error }) => (errorWidth > 0 ? `${value} ${padError(error, errorWidth)}` : value));
    const numeric = cells.length > 0 && cells.every((cell) => cell.numeric);
    const width = Math.max(displayWidth(title), ...texts.map(displayWidth));
    const pad = numeric ? padStart : padEnd;
    return { rule: '─'.repeat(width), head: pad(title, width), body: texts.map((text) => pad(text, width)) };
  });
  const line = (cells: readonly string[]): string => cells.join('   ').trimEnd();
  return [
    ...(title ? [title, ''] : []),
    line(columns.map(({ head }) => head)),
    columns.map(({ rule }) => rule).join('───'),
    ...rows.map((_, i) => line(columns.map(({ body }) => body[i]!))),
  ].join('\n');
}

/** Pads between the ± and the number, so that the ± stand below each other. */
function padError(error: string, width: number): string {
  return error === '' ? ' '.repeat(width) : `± ${padStart(error.slice(2), width - 2)}`;
}

function padStart(text: string, width: number): string {
  return ' '.repeat(Math.max(0, width - displayWidth(text))) + text;
}

function padEnd(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - displayWidth(text)));
}
