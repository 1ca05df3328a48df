import { type Given, oneOf, options } from '@posttrain/interfaces';
import { DataFileError, RowError } from '../errors.js';
import { eachRow, kindOf, notUtf8, ownValue, type RowSource } from '../rows.js';
import { type WriteSummary, writeFileAtomically } from './atomic-file.js';
import { maxRowBytesShape, readText, tooLong } from './byte-source.js';

const readTextOptions = options('readTextFile', {
  /** What is a row: each line, what stands between empty lines, or the file. Default `line`. */
  sampleBy: oneOf(['line', 'paragraph', 'document'], { default: 'line' }),
  ...maxRowBytesShape,
});
/** Options of `readTextFile`. */
export type ReadTextOptions = Given<typeof readTextOptions>;

/** What ends a line, and a paragraph. */
const ENDS = { line: /\r\n|\r|\n/g, paragraph: /(?:\r\n|\r(?!\n)|\n){2}/g, document: undefined } as const;

/**
 * Rows `{ text }` of a text file in UTF-8 (`.txt`, also with `.gz` or `.zst`), as the loader `text` of `datasets` gives them: each line, empty ones
 * too; with `sampleBy` each paragraph that is not empty (between two line ends), or the whole. A row of more than `maxRowBytes` characters is a `DataFileError`.
 */
export async function* readTextFile(
  path: string,
  given: ReadTextOptions = {},
): AsyncGenerator<{ readonly text: string }> {
  const { sampleBy, maxRowBytes } = readTextOptions.read(given);
  const end = ENDS[sampleBy];
  let rest = '';
  let number = 1;
  const checked = (text: string): { readonly text: string } => {
    if (text.length > maxRowBytes) throw new DataFileError({ path, line: number }, tooLong(maxRowBytes));
    return { text };
  };
  for await (const piece of readText(path, () => number)) {
    rest += piece;
    checked(end === undefined ? rest : '');
    if (end === undefined) continue;
    // A line end may go on in the next piece.
    let start = 0;
    for (const found of rest.matchAll(end)) {
      if (found.index + found[0].length === rest.length && piece !== '') break;
      const text = rest.slice(start, found.index);
      if (text !== '' || sampleBy === 'line') yield checked(text);
      number++;
      start = found.index + found[0].length;
    }
    rest = rest.slice(start);
    checked(rest);
  }
  if (rest !== '') yield checked(rest);
}

/** Writes the column `text` of rows as lines, whole or not at all. A text with a line end in it, or other columns, is a `RowError`. */
export async function writeTextFile(path: string, rows: RowSource<object>): Promise<WriteSummary> {
  let count = 0;
  async function* lines(): AsyncGenerator<string> {
    for await (const row of eachRow('writeTextFile', rows)) {
      const text = ownValue(row, 'text');
      count++;
      const other = Object.keys(row).find((column) => column !== 'text');
      if (other !== undefined) throw new RowError(count, other, 'a text file has the column "text" only; write JSONL.');
      if (typeof text !== 'string') throw new RowError(count, 'text', `must be a text, got ${kindOf(text)}.`);
      if (/[\r\n]/.test(text))
        throw new RowError(count, 'text', 'has a line end, which would make it two; write JSONL.');
      const problem = notUtf8(text);
      if (problem !== undefined) throw new RowError(count, 'text', problem);
      yield `${text}\n`;
    }
  }
  const bytes = await writeFileAtomically(path, lines());
  return { rows: count, bytes };
}
