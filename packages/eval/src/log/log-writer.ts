import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { makeFolder } from '@posttrain/interfaces/node';
import { EvaluationError } from '../errors.js';
import { type EvalConfig, LOG_FORMAT, LOG_VERSION, type LogLine, type ProblemRecord } from './format.js';
import { readLogContents } from './read-log.js';

/** An open log: appended to after every batch and flushed to disk, so that a killed run loses one batch at most. */
export interface LogWriter {
  readonly startedAt: string;
  readonly finished: ReadonlyMap<string, ProblemRecord>;
  append(lines: readonly LogLine[]): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens `file` to continue it, or creates it.
 * @throws EvaluationError `LOG_MISMATCH` when the file belongs to another task, model or sampling.
 */
export async function openLog(file: string, config: EvalConfig): Promise<LogWriter> {
  await makeFolder(dirname(file));
  const handle = await open(file, 'a+');
  try {
    const { header, problems, completeBytes } = await readLogContents(file);
    await handle.truncate(completeBytes);
    const startedAt = header?.startedAt ?? new Date().toISOString();
    const writer: LogWriter = {
      startedAt,
      finished: problems,
      append: (lines) => appendLines(handle, file, lines),
      close: () => handle.close(),
    };
    if (header) assertSameConfig(file, header.config, config);
    else await writer.append([{ type: 'header', format: LOG_FORMAT, version: LOG_VERSION, config, startedAt }]);
    return writer;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** A log that is kept in memory only. */
export function memoryLog(): LogWriter {
  const nothing = async (): Promise<void> => {};
  return { startedAt: new Date().toISOString(), finished: new Map(), append: nothing, close: nothing };
}

async function appendLines(handle: FileHandle, file: string, lines: readonly LogLine[]): Promise<void> {
  try {
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    await handle.appendFile(text);
    await handle.datasync();
  } catch (cause) {
    throw new EvaluationError(
      'LOG_WRITE_FAILED',
      `Could not append to ${file}: ${(cause as Error).message}. What it held before is kept; mend the cause and run again to continue.`,
      { cause },
    );
  }
}

function assertSameConfig(file: string, logged: EvalConfig, asked: EvalConfig): void {
  const plain = JSON.parse(JSON.stringify(asked)) as EvalConfig;
  const keys = new Set([...Object.keys(logged), ...Object.keys(plain)]) as Set<keyof EvalConfig>;
  for (const key of keys) {
    if (isDeepStrictEqual(logged[key], plain[key])) continue;
    throw new EvaluationError(
      'LOG_MISMATCH',
      `${file} was written with ${key} ${JSON.stringify(logged[key])}, but this run has ${JSON.stringify(plain[key])}. ` +
        'Give this run a log of its own, or delete the file.',
    );
  }
}
