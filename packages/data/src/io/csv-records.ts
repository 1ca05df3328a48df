import { DataFileError } from '../errors.js';
import { readText, tooLong } from './byte-source.js';

export interface CsvRecord {
  readonly fields: readonly string[];
  /** Where the record begins; counts from 1. */
  readonly line: number;
}

const MAX_FIELDS = 100_000;

/**
 * The records of a CSV file (RFC 4180), streaming. A record ends at LF, CRLF or CR outside quotes, in any mixture; inside
 * quotes they are part of the value. Blank lines are no records. A quote inside an unquoted field, text behind a closing
 * quote, an unclosed quote, a record of more than `maxLength` characters or 100 000 fields: `DataFileError` with the line.
 */
export async function* readCsvRecords(path: string, delimiter: string, maxLength: number): AsyncGenerator<CsvRecord> {
  const escaped = delimiter.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&');
  const special = new RegExp(`${escaped}|["\\r\\n]`, 'gu');
  let line = 1;
  let recordLine = 1;
  let quoteLine = 1;
  let fields: string[] = [];
  let pieces: string[] = [];
  let length = 0;
  /** `start` of a field, within one without quotes, within quotes, or behind a quote that may be the closing one. */
  let state: 'start' | 'bare' | 'quoted' | 'closing' = 'start';
  let afterCr = false;

  const fail = (problem: string, at = line) => new DataFileError({ path, line: at }, problem);
  const take = (piece: string): void => {
    length += piece.length;
    if (length > maxLength) throw fail(tooLong(maxLength), recordLine);
    if (piece !== '') pieces.push(piece);
  };
  const endField = (): void => {
    if (fields.length === MAX_FIELDS) throw fail(`the record has more than ${MAX_FIELDS} fields.`, recordLine);
    fields.push(pieces.length === 1 ? pieces[0]! : pieces.join(''));
    pieces = [];
    length++;
    state = 'start';
  };
  const endRecord = (): CsvRecord | undefined => {
    const blank = state === 'start' && fields.length === 0;
    endField();
    const record = blank ? undefined : { fields, line: recordLine };
    fields = [];
    length = 0;
    return record;
  };

  for await (const text of readText(path, () => line)) {
    if (text === '') continue;
    let i = 0;
    if (afterCr && text[0] === '\n') {
      // The second half of a CRLF: part of the value within quotes, of the line's end without.
      if (state === 'quoted') take('\n');
      i = 1;
    }
    afterCr = false;
    while (i < text.length) {
      if (state === 'quoted') {
        const quote = text.indexOf('"', i);
        const end = quote === -1 ? text.length : quote;
        const piece = text.slice(i, end);
        take(piece);
        line += countLines(piece);
        afterCr = end === text.length && piece.endsWith('\r');
        if (quote !== -1) state = 'closing';
        i = end + 1;
        continue;
      }
      if (state === 'closing' && text[i] === '"') {
        take('"');
        state = 'quoted';
        i++;
        continue;
      }
      if (state === 'start' && text[i] === '"') {
        state = 'quoted';
        quoteLine = line;
        if (fields.length === 0) recordLine = line;
        i++;
        continue;
      }
      special.lastIndex = i;
      const found = special.exec(text);
      const end = found?.index ?? text.length;
      if (state === 'closing' && end > i) {
        throw fail(`field ${fields.length + 1} has text behind its closing quote; a quote within a field is doubled.`);
      }
      if (state === 'start' && fields.length === 0) recordLine = line;
      if (end > i) {
        state = 'bare';
        take(text.slice(i, end));
      }
      if (found === null) break;
      i = end + found[0].length;
      if (found[0] === '"') {
        throw fail(
          `field ${fields.length + 1} has a quote in its middle; quote the whole field and double its quotes.`,
        );
      }
      if (found[0] === delimiter) {
        endField();
        continue;
      }
      const record = endRecord();
      line++;
      if (found[0] === '\r') {
        if (text[i] === '\n') i++;
        else afterCr = i === text.length;
      }
      if (record !== undefined) yield record;
    }
  }
  if ((state as string) === 'quoted') throw fail(`the quote that opens in this line is not closed.`, quoteLine);
  const last = endRecord();
  if (last !== undefined) yield last;
}

function countLines(text: string): number {
  return text.includes('\n') || text.includes('\r') ? (text.match(/\r\n|\r|\n/g)?.length ?? 0) : 0;
}
