import { createReadStream } from 'node:fs';
import { assertPath, isPlainObject } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { assertDepth } from './depth.js';
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
    const where = `${file}:${lineNumber}`;
    const line = parseLine(text, where);
    if (lineNumber === 1) header = checkHeader(line, file);
    else if (line.type === 'problem') problems.set(checkProblem(line, where, header?.config.type).id, line);
    else if (line.type === 'result') result = checkResult(line, where);
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
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch (cause) {
    throw new EvaluationError('LOG_MALFORMED', `${where} is not JSON. Restore the file, or give another log.`, {
      cause,
    });
  }
  assertDepth(line, where);
  if (isPlainObject(line)) return line as unknown as LogLine;
  throw malformed(where, 'no JSON object');
}

const malformed = (where: string, what: string) =>
  new EvaluationError('LOG_MALFORMED', `${where} is ${what}. Restore the file, or give another log.`);

/** What every reader of a log goes by: a name, a prompt and a row. */
function checkProblem(line: ProblemRecord, where: string, kind: string | undefined): ProblemRecord {
  const { id, requestHash, prompt, row, seconds, cluster } = line as { readonly [Key in keyof ProblemRecord]: unknown };
  const isGood =
    typeof id === 'string' &&
    typeof requestHash === 'string' &&
    (typeof prompt === 'string' || Array.isArray(prompt)) &&
    isPlainObject(row) &&
    typeof seconds === 'number' &&
    (cluster === undefined || typeof cluster === 'string');
  if (!isGood) throw malformed(where, 'a problem without its id, request, prompt, row or seconds');
  const { completions } = line as { readonly completions?: unknown };
  if (kind === 'generate' && !(Array.isArray(completions) && completions.every(isCompletion)))
    throw malformed(where, 'a problem without its completions, each with its text, usage and grades');
  return line;
}

const isCompletion = (value: unknown): boolean =>
  isPlainObject(value) && typeof value.text === 'string' && isPlainObject(value.usage) && isPlainObject(value.grades);

function checkResult(line: ResultLine, where: string): ResultLine {
  const { problems, metrics, seconds, warnings } = line as { readonly [Key in keyof ResultLine]: unknown };
  const isGood =
    isTexts(problems) &&
    isTexts(warnings) &&
    typeof seconds === 'number' &&
    Array.isArray(metrics) &&
    metrics.every(isMetric);
  if (isGood) return line;
  throw malformed(where, 'a result without its problems, metrics, seconds or warnings');
}

const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every((item) => typeof item === 'string');

const isMetric = (value: unknown): boolean =>
  isPlainObject(value) && typeof value.metric === 'string' && Array.isArray(value.values);

function checkHeader(line: LogLine, file: string): LogHeader {
  if (line.type === 'header' && line.format === LOG_FORMAT && line.version === LOG_VERSION) {
    if (isPlainObject(line.config) && typeof line.config.task === 'string' && typeof line.config.model === 'string')
      return line;
    throw malformed(`${file}:1`, 'a header without its task or model');
  }
  const found = line.type === 'header' ? `${line.format} version ${line.version}` : 'another kind of file';
  throw new EvaluationError('LOG_VERSION', `${file}: expected ${LOG_FORMAT} version ${LOG_VERSION}, found ${found}.`);
}
