import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ChatMessage, PosttrainError } from '@posttrain/interfaces';
import { writeAtomically } from '@posttrain/interfaces/node';
import { isRecord } from '../options/names.js';

/** Why an attempt at a run ended. */
export interface RunExit {
  readonly kind: 'finished' | 'stopped' | 'failed';
  /** In words. */
  readonly reason: string;
}

/** From a start or a resumption to an end. */
export interface RunAttempt {
  /** Steps that had been done before. */
  readonly from: number;
  /** ISO 8601. */
  readonly started: string;
  /** Missing while it goes, and where nothing could be said: it was killed. */
  readonly seconds?: number;
  readonly exit?: RunExit;
}

/** A problem that the model is asked before and after it is trained. */
export interface RunSample {
  readonly prompt: string | readonly ChatMessage[];
  /** The right answer, where the row has one. */
  readonly target?: string;
  readonly before?: string;
  readonly after?: string;
}

/** `run.json`: what metrics.jsonl does not say of a run. */
export interface RunRecord {
  readonly format: 'posttrain-run';
  readonly version: 1;
  readonly command: string;
  /** What was asked for, by the command line and the file of options. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly seed: number;
  /** Of posttrain and of Node. */
  readonly versions: Readonly<Record<string, string>>;
  readonly hardware: Readonly<Record<string, string>>;
  /** Of the whole run, where it is known. */
  readonly steps?: number;
  readonly attempts: readonly RunAttempt[];
  readonly samples: readonly RunSample[];
  /** Whether the samples' problems are held out, and not trained on. */
  readonly isHeldOut: boolean;
}

/** A line of `times.jsonl`: when an entry of the log was written. */
export interface LoggedTime {
  /** That of the entry. */
  readonly step: number;
  readonly isEvaluation: boolean;
  /** Since the attempt began. */
  readonly seconds: number;
  /** Which attempt, from 0. */
  readonly attempt: number;
}

export const RECORD = 'run.json';
export const TIMES = 'times.jsonl';

/** @throws FileError */
export const writeRecord = (folder: string, record: RunRecord): Promise<void> =>
  writeAtomically((files) =>
    files.stage(join(folder, RECORD), (write) =>
      write(new TextEncoder().encode(`${JSON.stringify(record, null, 2)}\n`)),
    ),
  );

/** The record of a run; undefined where a program has trained, which writes none. @throws PosttrainError RUN_RECORD */
export async function readRecord(folder: string): Promise<RunRecord | undefined> {
  const path = join(folder, RECORD);
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new PosttrainError('RUN_RECORD', `${path} cannot be read: ${error.message}`, { cause: error });
  });
  if (text === undefined) return undefined;
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch (cause) {
    throw new PosttrainError('RUN_RECORD', `${path} is not JSON; delete it, and the page goes without it`, { cause });
  }
  if (isRecord(read) && read.format === 'posttrain-run' && read.version === 1) return read as unknown as RunRecord;
  throw new PosttrainError('RUN_RECORD', `${path} is no record of a run of this version; move it away`);
}
