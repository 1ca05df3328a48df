import { type Given, options } from '@posttrain/interfaces';
import { createTarDecoder, packTar } from 'modern-tar';
import { assertPath, DataFileError, messageOf, RowError } from '../errors.js';
import { eachRow, kindOf, notUtf8, ownValue, type Row, type RowSource } from '../rows.js';
import { type WriteSummary, writeFileAtomically } from './atomic-file.js';
import { maxRowBytesShape, readBytes, tooLong } from './byte-source.js';
import { parseExactly, stringifyExactly } from './parse-row.js';

const readWebDatasetOptions = options('readWebDataset', maxRowBytesShape);
/** Options of `readWebDataset`. */
export type ReadWebDatasetOptions = Given<typeof readWebDatasetOptions>;

const TEXT = ['txt', 'text', 'transcript'];
const INTEGER = ['cls', 'cls2', 'class', 'count', 'index', 'inx', 'id'];
const JSON_TYPES = ['json', 'jsn'];

/** How the `webdataset` library decodes a member: by the last part of its ending. */
function decode(ending: string, bytes: Uint8Array): unknown {
  const type = ending.split('.').at(-1)!.toLowerCase();
  const text = () => new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  if (TEXT.includes(type)) return text();
  if (JSON_TYPES.includes(type)) return parseExactly(text());
  if (!INTEGER.includes(type)) return bytes;
  const number = text().trim();
  if (/^[+-]?\d+$/.test(number)) return Number.isSafeInteger(Number(number)) ? Number(number) : BigInt(number);
  throw new Error(`"${number}" is no integer`);
}

/** Names of members that are no data. */
const isReserved = (key: string): boolean => /^__[^/]*__$/.test(key);

/** `folder/0001.seg.PNG` as key `folder/0001` and ending `seg.png`; `__meta__.json` is no data. */
function splitName(name: string): readonly [string, string] | undefined {
  const found = /^((?:.*\/)?[^./]+)\.([^/]+)$/.exec(name);
  return found === null || isReserved(found[1]!) ? undefined : [found[1]!, found[2]!.toLowerCase()];
}

/**
 * Rows of a WebDataset shard (`.tar`, also with `.gz` or `.zst`), streaming: members of one name up to its first dot, which follow one another, are a row
 * with the column `__key__` and one for each ending (github.com/webdataset/webdataset). As there, `.json` is parsed, `.txt` is a text,
 * `.cls` and the like integers, and all else bytes. Members without an ending, and folders, are no data.
 *
 * @throws OptionError; DataFileError for a damaged archive, a member that is not what its ending says, an ending twice in a row, or a row of more than `maxRowBytes`
 */
export async function* readWebDataset(path: string, given: ReadWebDatasetOptions = {}): AsyncGenerator<Row> {
  const { maxRowBytes } = readWebDatasetOptions.read(given);
  assertPath(path);
  let row: Record<string, unknown> | undefined;
  let size = 0;
  const source = ReadableStream.from(readBytes(path)) as ReadableStream<Uint8Array<ArrayBuffer>>;
  const entries = source.pipeThrough(createTarDecoder({ strict: true })) as unknown as AsyncIterable<{
    readonly header: { readonly name: string; readonly size: number; readonly type?: string };
    readonly body: ReadableStream<Uint8Array>;
  }>;
  try {
    for await (const { header, body } of entries) {
      const named = header.type === 'file' ? splitName(header.name) : undefined;
      if (named === undefined) {
        await body.cancel();
        continue;
      }
      const [key, ending] = named;
      if (row !== undefined && row.__key__ !== key) {
        yield row;
        [row, size] = [undefined, 0];
      }
      size += header.size;
      if (size > maxRowBytes) throw new Error(`${key}: ${tooLong(maxRowBytes)}`);
      row ??= { __key__: key };
      if (Object.hasOwn(row, ending)) throw new Error(`the row "${key}" has "${ending}" twice`);
      const bytes = new Uint8Array(await new Response(body as never).arrayBuffer());
      try {
        const value = decode(ending, bytes);
        // Of its own, also where it is called __proto__.
        Object.defineProperty(row, ending, { value, enumerable: true, configurable: true, writable: true });
      } catch (cause) {
        throw new Error(`"${header.name}" is not what its ending says: ${messageOf(cause)}`, { cause });
      }
    }
  } catch (error) {
    if (error instanceof DataFileError) throw error;
    throw new DataFileError({ path }, `cannot be read as a tar archive: ${messageOf(error)}`, { cause: error });
  }
  if (row !== undefined) yield row;
}

/** Two empty blocks. */
const END_OF_ARCHIVE = 1024;

/** Bytes of a value by the ending that it is written under. */
function encode(value: unknown, ending: string, rowNumber: number): Uint8Array {
  const type = ending.split('.').at(-1)!.toLowerCase();
  const wrong = (wanted: string) =>
    new RowError(rowNumber, ending, `a member ".${ending}" must be ${wanted}, got ${kindOf(value)}.`);
  if (JSON_TYPES.includes(type)) return Buffer.from(stringifyExactly(value));
  if (INTEGER.includes(type)) {
    if (typeof value === 'bigint' || Number.isSafeInteger(value)) return Buffer.from(String(value));
    throw wrong('an integer');
  }
  if (value instanceof Uint8Array) {
    if (!TEXT.includes(type)) return value;
    throw wrong('a text');
  }
  if (typeof value !== 'string')
    throw wrong(TEXT.includes(type) ? 'a text' : 'bytes; end its column with .json, .txt or .cls');
  const problem = notUtf8(value);
  if (problem !== undefined) throw new RowError(rowNumber, ending, problem);
  if (!TEXT.includes(type)) throw wrong('bytes, since it would be read as bytes; end its column with .txt');
  return Buffer.from(value);
}

/**
 * Writes rows as a WebDataset shard, whole or not at all: `__key__` (default: the row's number, in nine digits) names the members, and each other
 * column is the ending of one. The same rows give the same bytes.
 *
 * @throws RowError for a key that is there twice in a row or has a dot in its name, or a value that its ending cannot hold
 */
export async function writeWebDataset(path: string, rows: RowSource<object>): Promise<WriteSummary> {
  let count = 0;
  const keys = new Set<string>();
  async function* blocks(): AsyncGenerator<Uint8Array> {
    for await (const row of eachRow('writeWebDataset', rows)) {
      const key = ownValue(row, '__key__') ?? String(count).padStart(9, '0');
      count++;
      if (typeof key !== 'string' || !/^(?:[^/]+\/)*[^./]+$/.test(key)) {
        throw new RowError(count, '__key__', 'must be a text, a path whose name has no dot in it.');
      }
      if (isReserved(key)) throw new RowError(count, '__key__', `"${key}" is reserved, and its row would not be read.`);
      if (keys.size === keys.add(key).size) throw new RowError(count, '__key__', `"${key}" was there before.`);
      const columns = Object.entries(row).filter(
        ([name, value]) => name !== '__key__' && value !== undefined && value !== null,
      );
      if (columns.length === 0)
        throw new RowError(count, '__key__', `the row "${key}" has no members, and would be lost.`);
      const members = columns.map(([ending, value]) => {
        if (ending === '' || ending.includes('/')) throw new RowError(count, ending, 'cannot be the ending of a name.');
        if (ending !== ending.toLowerCase())
          throw new RowError(count, ending, 'would be read in lower case; rename the column.');
        const body = encode(value, ending, count);
        return {
          header: {
            name: `${key}.${ending}`,
            size: body.length,
            type: 'file' as const,
            mtime: new Date(0),
            mode: 0o644,
          },
          body,
        };
      });
      const archive = await packTar(members as Parameters<typeof packTar>[0]);
      yield archive.subarray(0, archive.length - END_OF_ARCHIVE);
    }
    yield new Uint8Array(END_OF_ARCHIVE);
  }
  const bytes = await writeFileAtomically(path, blocks());
  return { rows: count, bytes };
}
