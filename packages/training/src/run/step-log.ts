import { appendFile, mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeAtomically } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';

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

  /** Opens the log and takes out what was written at or after step `from`; gives the records before it. */
  static async open<T extends StepRecord>(path: string, from: number): Promise<{ log: StepLog<T>; before: T[] }> {
    await mkdir(dirname(path), { recursive: true });
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw error;
    });
    // What follows the last newline was being written when the run was killed.
    const lines = text.split('\n').slice(0, -1);
    const before = lines.map((line, i) => parse<T>(line, `${path}:${i + 1}`)).filter(({ step }) => step < from);
    await writeAtomically((files) =>
      files.stage(path, (write) => write(Buffer.from(before.map((record) => `${JSON.stringify(record)}\n`).join('')))),
    );
    return { log: new StepLog<T>(path), before };
  }

  async append(records: readonly T[]): Promise<void> {
    await appendFile(this.#path, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  }
}

function parse<T>(line: string, where: string): T {
  try {
    return JSON.parse(line) as T;
  } catch (cause) {
    throw new PosttrainError('LOG', `${where} is not JSON; mend the line, or use another outputFolder`, { cause });
  }
}
