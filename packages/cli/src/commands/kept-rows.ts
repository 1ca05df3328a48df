import { createHash } from 'node:crypto';
import { appendFile, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Row, writeRows } from '@posttrain/data';
import { makeFolder, writeAtomically, writing } from '@posttrain/interfaces/node';
import { CommandLineError } from '../options/command-line-error.js';
import { sortedKeys } from '../options/names.js';

/**
 * Rows of an output that takes long, kept as they are finished: in OUTPUT.part, a line each, until all are there and OUTPUT is written whole. The same command goes on
 * after those that are kept, whatever has ended it.
 */
export class KeptRows {
  readonly rows: object[];
  readonly #output: string;

  private constructor(output: string, rows: object[]) {
    this.#output = output;
    this.rows = rows;
  }

  /**
   * @param decisive what decides the rows: options, and the rows that are asked
   * @throws CommandLineError where rows are kept of another command; FileError
   */
  static async open(output: string, decisive: object): Promise<KeptRows> {
    const part = partOf(output);
    const of = createHash('sha256')
      .update(JSON.stringify(sortedKeys(decisive)))
      .digest('hex')
      .slice(0, 16);
    const text = await readFile(part, 'utf8').catch(() => undefined);
    if (text === undefined) {
      await makeFolder(dirname(part));
      const header = new TextEncoder().encode(`${JSON.stringify({ of })}\n`);
      await writeAtomically((files) => files.stage(part, (write) => write(header)));
      return new KeptRows(output, []);
    }
    // What follows the last newline was being written.
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    const [header, ...rows] = whole.split('\n').slice(0, -1).map(parsed);
    if ((header as { readonly of?: unknown } | undefined)?.of !== of || rows.includes(undefined)) {
      throw new CommandLineError(
        `${part}: has rows of another command. Give the options that it was called with, or another --output, or delete it.`,
      );
    }
    if (whole !== text) await writeAtomically((files) => files.stage(part, (write) => write(Buffer.from(whole))));
    return new KeptRows(output, rows as object[]);
  }

  /** @throws FileError */
  async add(rows: readonly object[]): Promise<void> {
    const part = partOf(this.#output);
    const text = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
    await writing(part, () => appendFile(part, text));
    this.rows.push(...rows);
  }

  /** Writes the output, and keeps no more. @throws what `writeRows` throws */
  async finish(): Promise<void> {
    await writeRows(this.#output, this.rows as Row[]);
    await rm(partOf(this.#output), { force: true });
  }
}

const partOf = (output: string): string => `${output}.part`;

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** What is said where Ctrl-C has stopped a command that keeps its rows. */
export const keptMessage = (name: string, done: number, total: number): string =>
  `${name}: stopped after ${done} of ${total} rows, which are kept. The same command goes on.\n`;
