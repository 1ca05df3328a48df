import { type FileHandle, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type DecisiveSettings, PosttrainError, settingDifferences, showDifferences } from '@posttrain/interfaces';
import { makeFolder, syncFolder, writing } from '@posttrain/interfaces/node';
import {
  RECORD_HEADER,
  readRecord,
  readRecordHeader,
  recordBytes,
  type TopKAnnotations,
  type TopKLayout,
  tokensChecksum,
} from './top-k-record.js';

/** What stands at the beginning of a file of a teacher's distributions. */
export interface TeacherFileHeader extends TopKLayout {
  readonly vocabSize: number;
  /** What the teacher's logits were divided by. */
  readonly temperature: number;
  /** Whose distributions they are: digests of config, weights and adapter. */
  readonly teacher: DecisiveSettings;
}

/** A file of a teacher's distributions that cannot be used, or not for this. */
export class TeacherFileError extends PosttrainError {
  readonly path: string;

  constructor(path: string, problem: string, options?: ErrorOptions) {
    super('TEACHER_FILE', `${path}: ${problem}`, options);
    this.path = path;
  }
}

// The file: magic, length of the header (uint32), header (JSON), a record for each row, and where each begins (float64), the
// count of rows and the magic again. Numbers are little-endian. What is still being written has no end and another name.
const MAGIC = new TextEncoder().encode('PTTOPK01');
const FOOTER = 8 + MAGIC.length;
const LONGEST_HEADER = 1 << 20;

/** The name of a file that is still being written. */
const unfinished = (path: string): string => `${path}.partial`;

const isMagic = (bytes: Uint8Array): boolean => MAGIC.every((byte, i) => bytes[i] === byte);

async function readAt(handle: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) return bytes.subarray(0, done);
    done += bytesRead;
  }
  return bytes;
}

/** The header, and where records begin. @throws TeacherFileError */
async function readHeader(handle: FileHandle, path: string) {
  const start = await readAt(handle, 0, MAGIC.length + 4);
  if (start.length < MAGIC.length + 4 || !isMagic(start)) {
    throw new TeacherFileError(path, 'is no file of a teacher’s distributions, as storeTeacherTopK writes them');
  }
  const length = new DataView(start.buffer).getUint32(MAGIC.length, true);
  const bytes = length <= LONGEST_HEADER ? await readAt(handle, MAGIC.length + 4, length) : new Uint8Array();
  try {
    const header = JSON.parse(new TextDecoder('utf8', { fatal: true }).decode(bytes)) as TeacherFileHeader;
    if (bytes.length === length && isHeader(header)) return { header, from: MAGIC.length + 4 + length };
  } catch {}
  throw new TeacherFileError(path, 'has a header that cannot be read; it is damaged: write it anew');
}

const isHeader = ({ k, idBytes, logProbs, vocabSize, temperature, teacher }: TeacherFileHeader): boolean =>
  Number.isSafeInteger(k) &&
  k >= 1 &&
  k <= vocabSize &&
  vocabSize <= 2 ** 31 &&
  (idBytes === 2 ? vocabSize <= 65_536 : idBytes === 4) &&
  (logProbs === 'float16' || logProbs === 'float32') &&
  temperature > 0 &&
  typeof teacher === 'object' &&
  teacher !== null;

/** A record at a place; undefined where the file ends within it or its checksum is wrong. */
async function recordAt(handle: FileHandle, layout: TopKLayout, position: number, end: number) {
  if (position + RECORD_HEADER > end) return undefined;
  const { predictions, tokens } = readRecordHeader(await readAt(handle, position, RECORD_HEADER));
  const length = recordBytes(layout, predictions);
  if (position + length > end) return undefined;
  const numbers = readRecord(layout, await readAt(handle, position, length));
  return numbers && { tokens, length, numbers };
}

/**
 * A teacher's k most likely tokens at every prediction of every row of a data set, on disk: `storeTeacherTopK` writes it, `distill` and
 * `annotate` read it a row at a time. It is a teacher of its rows, and of no others.
 */
export class TeacherFile {
  readonly path: string;
  readonly header: TeacherFileHeader;
  readonly #handle: FileHandle;
  readonly #offsets: Float64Array;
  readonly #end: number;

  private constructor(path: string, header: TeacherFileHeader, handle: FileHandle, offsets: Float64Array, end: number) {
    this.path = path;
    this.header = header;
    this.#handle = handle;
    this.#offsets = offsets;
    this.#end = end;
  }

  /** How many rows it has. */
  get count(): number {
    return this.#offsets.length;
  }

  /** @throws TeacherFileError for one that is damaged, or not finished */
  static async open(path: string): Promise<TeacherFile> {
    const handle = await open(path, 'r').catch(async (cause: NodeJS.ErrnoException) => {
      const isHalf = cause.code === 'ENOENT' && (await stat(unfinished(path)).catch(() => undefined));
      const problem = isHalf
        ? 'is not finished: call storeTeacherTopK with the same rows again, which goes on where it stopped'
        : `cannot be read (${cause.code})`;
      throw new TeacherFileError(path, problem, { cause });
    });
    try {
      const { header, from } = await readHeader(handle, path);
      const { size } = await handle.stat();
      const footer = size >= from + FOOTER ? await readAt(handle, size - FOOTER, FOOTER) : new Uint8Array();
      const rows = footer.length === FOOTER ? new DataView(footer.buffer).getFloat64(0, true) : Number.NaN;
      const end = size - FOOTER - 8 * rows;
      if (!(Number.isSafeInteger(rows) && rows >= 1 && end >= from && isMagic(footer.subarray(8)))) {
        throw new TeacherFileError(path, 'has no end; it is damaged: write it anew');
      }
      const offsets = new Float64Array((await readAt(handle, end, 8 * rows)).slice().buffer);
      if (offsets[0] !== from || offsets.some((x, i) => !Number.isSafeInteger(x) || x >= (offsets[i + 1] ?? end))) {
        throw new TeacherFileError(path, 'has an index that is none; it is damaged: write it anew');
      }
      return new TeacherFile(path, header, handle, offsets, end);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /**
   * The annotations of a row, for a `TopKTeacher`.
   *
   * @param tokens the row's, all of them
   * @throws TeacherFileError for a row of other tokens, one that is not there, and a record that is damaged
   */
  async annotations(row: number, tokens: readonly number[]): Promise<TopKAnnotations> {
    const wrong = (problem: string) => new TeacherFileError(this.path, `row ${row} ${problem}`);
    const at = this.#offsets[row];
    if (at === undefined) throw wrong(`is not there; the file has ${this.count} rows`);
    const record = await recordAt(this.#handle, this.header, at, this.#offsets[row + 1] ?? this.#end);
    if (!record) throw wrong('is damaged: write the file anew');
    if (
      record.tokens !== tokensChecksum(tokens) ||
      record.numbers.teacher_ids.length !== (tokens.length - 1) * this.header.k
    ) {
      throw wrong('is of other tokens: the file was written for other rows, another template or another maxLength');
    }
    return record.numbers;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  /** `await using` closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A file in the making. It has the name of the whole one only when it is whole. */
export class TeacherFileWriter {
  readonly #path: string;
  readonly #header: TeacherFileHeader;
  readonly #handle: FileHandle;
  readonly #offsets: number[] = [];
  #position: number;

  private constructor(path: string, header: TeacherFileHeader, handle: FileHandle, position: number) {
    this.#path = path;
    this.#header = header;
    this.#handle = handle;
    this.#position = position;
  }

  /** How many rows are written. */
  get count(): number {
    return this.#offsets.length;
  }

  /**
   * A new file, or the one that a killed process has left, at the end of its last whole record.
   *
   * @throws TeacherFileError where that is of another teacher, or was made with other settings; FileError
   */
  static async open(path: string, header: TeacherFileHeader): Promise<TeacherFileWriter> {
    const partial = unfinished(path);
    await makeFolder(dirname(path));
    const left = await open(partial, 'r+').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    const json = new TextEncoder().encode(JSON.stringify(header));
    const from = MAGIC.length + 4 + json.length;
    // One that was killed before its header was whole has nothing to go on from.
    if (left && (await left.stat()).size >= from) {
      try {
        refuseOther(partial, (await readHeader(left, partial)).header, header);
      } catch (error) {
        await left.close();
        throw error;
      }
      return new TeacherFileWriter(path, header, left, from);
    }
    await left?.close();
    const handle = await writing(partial, () => open(partial, 'w+'));
    const start = new Uint8Array(from);
    start.set(MAGIC);
    new DataView(start.buffer).setUint32(MAGIC.length, json.length, true);
    start.set(json, MAGIC.length + 4);
    await writing(partial, () => handle.write(start, 0, from, 0));
    return new TeacherFileWriter(path, header, handle, from);
  }

  /**
   * Whether the next record is there already, of these tokens; it is then passed over.
   *
   * @throws TeacherFileError for one of other tokens
   */
  async has(tokens: readonly number[]): Promise<boolean> {
    const { size } = await this.#handle.stat();
    const record = await recordAt(this.#handle, this.#header, this.#position, size);
    if (!record) return false;
    if (record.tokens !== tokensChecksum(tokens)) {
      const problem = `row ${this.count} is of other tokens than those given now; give the same rows, or remove the file`;
      throw new TeacherFileError(unfinished(this.#path), problem);
    }
    this.#offsets.push(this.#position);
    this.#position += record.length;
    return true;
  }

  /** Writes records to the disk. @throws FileError */
  async append(records: readonly Uint8Array[]): Promise<void> {
    const partial = unfinished(this.#path);
    for (const bytes of records) {
      await writing(partial, () => this.#handle.write(bytes, 0, bytes.length, this.#position));
      this.#offsets.push(this.#position);
      this.#position += bytes.length;
    }
    await writing(partial, () => this.#handle.datasync());
  }

  /** The file is whole. @throws FileError */
  async finish(): Promise<void> {
    const partial = unfinished(this.#path);
    const end = new Uint8Array(8 * this.count + FOOTER);
    const view = new DataView(end.buffer);
    [...this.#offsets, this.count].forEach((x, i) => {
      view.setFloat64(8 * i, x, true);
    });
    end.set(MAGIC, end.length - MAGIC.length);
    await writing(partial, async () => {
      await this.#handle.truncate(this.#position);
      await this.#handle.write(end, 0, end.length, this.#position);
      await this.#handle.sync();
      await this.#handle.close();
      await rename(partial, this.#path);
      await syncFolder(dirname(this.#path));
    });
  }

  /** Stops; what is whole stays, to be gone on from. */
  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** @throws TeacherFileError where a file says something else of itself than is asked for */
export function refuseOther(path: string, saved: TeacherFileHeader, current: TeacherFileHeader): void {
  const flat = ({ teacher, ...rest }: TeacherFileHeader): DecisiveSettings => ({
    ...rest,
    ...Object.fromEntries(Object.entries(teacher).map(([name, value]) => [`teacher.${name}`, value])),
  });
  const changed = settingDifferences(flat(saved), flat(current));
  if (changed.length === 0) return;
  const remedy = 'Give the same, write to another file, or remove this one.';
  throw new TeacherFileError(path, `was written with other settings: ${showDifferences(changed)}. ${remedy}`);
}
