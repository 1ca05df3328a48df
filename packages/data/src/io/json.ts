import { stat } from 'node:fs/promises';
import { options } from '@posttrain/interfaces';
import { assertPath, DataFileError } from '../errors.js';
import { MAX_DEPTH, type Row } from '../rows.js';
import { RowBytes, readBytes } from './byte-source.js';
import { parseOrReport, type ReadJsonlOptions, readJsonl, readJsonlShape } from './jsonl.js';
import { BACKSLASH, CLOSE_BRACE, CLOSE_BRACKET, OPEN_BRACE, OPEN_BRACKET, QUOTE } from './parse-row.js';

const COMMA = 0x2c;

const readJsonOptions = options('readJson', readJsonlShape);

/**
 * Rows of a `.json` file (also gzipped as `.gz`), streaming: either one array of objects, or JSON Lines under that name, as both
 * are common on the Hugging Face hub. Errors and options are those of `readJsonl`, and name the line where the row begins.
 */
export async function* readJson(path: string, given: ReadJsonlOptions = {}): AsyncGenerator<Row> {
  const { maxRowBytes, onMalformed } = readJsonOptions.read(given);
  await assertReadableTwice(path);
  if (!(await beginsWithBracket(path))) {
    yield* readJsonl(path, given);
    return;
  }
  for await (const { bytes, line } of arrayElements(path, maxRowBytes)) {
    const row = parseOrReport({ path, line }, bytes, maxRowBytes, onMalformed);
    if (row !== undefined) yield row;
  }
}

/** What comes through a pipe is gone once its beginning was looked at. */
async function assertReadableTwice(path: string): Promise<void> {
  assertPath(path);
  const kind = await stat(path).catch(() => undefined);
  if (kind === undefined || kind.isFile() || kind.isDirectory()) return;
  throw new DataFileError(
    { path },
    'is a pipe or a device, and a JSON file is read twice; save it first, or use readJsonl.',
  );
}

async function beginsWithBracket(path: string): Promise<boolean> {
  let atStart = true;
  for await (const chunk of readBytes(path)) {
    const first = chunk.findIndex((byte, i) => !isSpace(byte) && !(atStart && i < 3 && BOM[i] === byte));
    if (first !== -1) return chunk[first] === OPEN_BRACKET;
    atStart = false;
  }
  return false;
}

const BOM: readonly number[] = [0xef, 0xbb, 0xbf];

function isSpace(byte: number): boolean {
  return byte === 32 || byte === 10 || byte === 13 || byte === 9;
}

interface Element {
  /** `undefined` when it is too long. */
  readonly bytes: Uint8Array | undefined;
  /** Where it begins; counts from 1. */
  readonly line: number;
}

/** The bytes of each element of the array that the file is. What is inside them is not looked at, but for brackets and strings. */
async function* arrayElements(path: string, maxBytes: number): AsyncGenerator<Element> {
  let line = 1;
  let elementLine = 1;
  let depth = 0;
  let inString = false;
  let escaped = false;
  let afterCr = false;
  let ended = false;
  let blank = true;
  let any = false;
  const row = new RowBytes(maxBytes);
  const fail = (problem: string) => new DataFileError({ path, line }, `is not a valid JSON array: ${problem}.`);
  for await (const chunk of readBytes(path)) {
    let start = depth === 0 ? chunk.length : 0;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (byte === 10 ? !afterCr : byte === 13) line++;
      afterCr = byte === 13;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
        continue;
      }
      if (isSpace(byte) || (depth === 0 && !ended && BOM.includes(byte))) continue;
      if (ended) throw fail('something follows its end');
      if (depth > 1 || (byte !== COMMA && byte !== CLOSE_BRACKET)) {
        if (blank && depth > 0) {
          blank = false;
          elementLine = line;
        }
        if (byte === QUOTE) inString = true;
        else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
        else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--;
        if (depth === 1 && byte === OPEN_BRACKET && start === chunk.length) start = i + 1;
        if (depth > MAX_DEPTH + 1) throw fail(`it is nested more than ${MAX_DEPTH} deep`);
        if (depth < 1) throw fail('a bracket closes what is not open');
        continue;
      }
      // A comma between two elements, or the end of the array.
      const empty = byte === CLOSE_BRACKET && !any;
      if (blank && !empty) throw fail('an element is missing between two commas, or after the last');
      if (!blank) {
        const bytes = row.end(chunk.subarray(start, i));
        [blank, any] = [true, true];
        if (bytes !== 'reported') yield { bytes, line: elementLine };
      }
      start = i + 1;
      if (byte === CLOSE_BRACKET) {
        ended = true;
        depth = 0;
        start = chunk.length;
      }
    }
    if (depth > 0 && row.hold(chunk.subarray(start))) yield { bytes: undefined, line: elementLine };
  }
  if (!ended) throw fail('the file ends in the middle of it; it was cut short');
}
