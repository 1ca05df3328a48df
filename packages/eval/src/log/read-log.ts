import { createReadStream } from 'node:fs';
import { assertPath } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import {
  type EvalResult,
  LOG_FORMAT,
  LOG_VERSION,
  type LogHeader,
  type LogLine,
  type ProblemRecord,
  type ResultLine,
} from './format.js';

/** What a log file holds so far. */
export interface LogContents {
  /** Absent when the file is empty or was cut off within its first line. */
  readonly header?: LogHeader;
  readonly problems: ReadonlyMap<string, ProblemRecord>;
  readonly result?: ResultLine;
  /** Bytes up to and including the last complete line. */
  readonly completeBytes: number;
}

/**
 * Reads a log line by line, dropping a last line that was cut off.
 * @throws EvaluationError `LOG_MALFORMED` with file and line, `LOG_VERSION` for another format or version.
 */
export async function readLogContents(file: string): Promise<LogContents> {
  assertPath('readLog', 'file', file);
  let header: LogHeader | undefined;
  let result: ResultLine | undefined;
  const problems = new Map<string, ProblemRecord>();
  let completeBytes = 0;
  let lineNumber = 0;
  for await (const { text, end } of completeLines(file)) {
    lineNumber++;
    const line = parseLine(text, `${file}:${lineNumber}`);
    if (lineNumber === 1) header = checkHeader(line, file);
    else if (line.type === 'problem') problems.set(line.id, line);
    else if (line.type === 'result') result = line;
    completeBytes = end;
  }
  return { ...(header && { header }), problems, ...(result && { result }), completeBytes };
}

/**
 * The result of a finished evaluation.
 * @throws EvaluationError `LOG_UNFINISHED` when the run did not finish, `LOG_MALFORMED`, `LOG_VERSION`.
 */
export async function readLog(file: string): Promise<EvalResult> {
  const { header, problems, result } = await readLogContents(file);
  if (!header || !result) {
    throw new EvaluationError(
      'LOG_UNFINISHED',
      `${file} holds ${problems.size} finished problems and no result: run \`evaluate\` with this log to continue it.`,
    );
  }
  const { type: _, problems: ids, ...rest } = result;
  const ordered = ids.map((id) => {
    const problem = problems.get(id);
    if (!problem)
      throw new EvaluationError('LOG_MALFORMED', `${file}: the result is over problem "${id}", which is missing.`);
    return problem;
  });
  return { config: header.config, startedAt: header.startedAt, problems: ordered, ...rest };
}

async function* completeLines(file: string): AsyncGenerator<{ text: string; end: number }> {
  let rest: Buffer = Buffer.alloc(0);
  let consumed = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    let start = 0;
    for (let end = bytes.indexOf(10); end !== -1; end = bytes.indexOf(10, start)) {
      yield { text: bytes.toString('utf8', start, end), end: consumed + end + 1 };
      start = end + 1;
    }
    consumed += start;
    rest = bytes.subarray(start);
  }
}

function parseLine(text: string, where: string): LogLine {
  try {
    return JSON.parse(text) as LogLine;
  } catch (cause) {
    throw new EvaluationError('LOG_MALFORMED', `${where} is not JSON. Restore the file, or give another log.`, {
      cause,
    });
  }
}

function checkHeader(line: LogLine, file: string): LogHeader {
  if (line.type === 'header' && line.format === LOG_FORMAT && line.version === LOG_VERSION) return line;
  const found = line.type === 'header' ? `${line.format} version ${line.version}` : 'another kind of file';
  throw new EvaluationError('LOG_VERSION', `${file}: expected ${LOG_FORMAT} version ${LOG_VERSION}, found ${found}.`);
}
