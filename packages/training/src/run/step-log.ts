import { appendFile, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PosttrainError } from '@posttrain/interfaces';
import { makeFolder, writeAtomically, writing } from '@posttrain/interfaces/node';

/** A line of a log: which step it belongs to, counted from 0, and anything else. */
export interface StepRecord {
  readonly step: number;
}

/** A JSON Lines file with records of steps, to which a resumed run goes on appending. */
export class StepLog<T extends StepRecord> {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /**
   * Opens the log and takes out what was written at or after step `from`; gives the records before it. `known` are those
   * where they are known better than by the file.
   *
   * @throws FileError; PosttrainError LOG for a line that cannot be read
   */
  static async open<T extends StepRecord>(
    path: string,
    from: number,
    known?: readonly T[],
  ): Promise<{ log: StepLog<T>; before: T[] }> {
    await makeFolder(dirname(path));
    const before = known ? [...known] : (await readRecords<T>(path)).filter(({ step }) => step < from);
    await writeAtomically((files) => files.stage(path, (write) => write(Buffer.from(linesOf(before)))));
    return { log: new StepLog<T>(path), before };
  }

  /** @throws FileError */
  async append(records: readonly T[]): Promise<void> {
    await writing(this.#path, () => appendFile(this.#path, linesOf(records)));
  }
}

const linesOf = (records: readonly StepRecord[]): string =>
  records.map((record) => `${JSON.stringify(record)}\n`).join('');

async function readRecords<T>(path: string): Promise<T[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  // What follows the last newline was being written when the run was killed, or the disk was full.
  const lines = text.split('\n').slice(0, -1);
  return lines.map((line, i) => parse<T>(line, `${path}:${i + 1}`));
}

function parse<T>(line: string, where: string): T {
  try {
    return JSON.parse(line) as T;
  } catch (cause) {
    throw new PosttrainError('LOG', `${where} is not JSON; mend the line, or use another outputFolder`, { cause });
  }
}
