import { PosttrainError, showValue } from '@posttrain/interfaces';

/** Where in a file something was wrong. Lines count from 1 and include blank lines and headers. */
export interface FileLocation {
  readonly path: string;
  readonly line?: number;
}

/** A file that cannot be read or written as asked: `DATA_FILE`. The message starts with `path:line`. */
export class DataFileError extends PosttrainError {
  readonly path: string;
  readonly line: number | undefined;
  constructor(location: FileLocation, problem: string, options?: ErrorOptions) {
    super(
      'DATA_FILE',
      `${location.path}${location.line === undefined ? '' : `:${location.line}`}: ${problem}`,
      options,
    );
    this.path = location.path;
    this.line = location.line;
  }
}

/** A row that is not what its format asks for: `DATA_ROW`. Row numbers count from 1. */
export class RowError extends PosttrainError {
  readonly rowNumber: number | undefined;
  readonly field: string;
  /** What was wrong, without the row number: equal problems have equal text, so they can be counted. */
  readonly problem: string;
  constructor(rowNumber: number | undefined, field: string, problem: string, options?: ErrorOptions) {
    super('DATA_ROW', `${rowNumber === undefined ? 'row' : `row ${rowNumber}`}, field "${field}": ${problem}`, options);
    this.rowNumber = rowNumber;
    this.field = field;
    this.problem = problem;
  }
}

/** A callback of a data step that threw: `DATA_STEP`. The original error is the `cause`. */
export class DataStepError extends PosttrainError {
  readonly step: string;
  readonly rowNumber: number;
  constructor(step: string, rowNumber: number, problem: string, options?: ErrorOptions) {
    super('DATA_STEP', `step "${step}", row ${rowNumber}: ${problem}`, options);
    this.step = step;
    this.rowNumber = rowNumber;
  }
}

/** An option with an impossible value: `DATA_OPTION`. */
export class DataOptionError extends PosttrainError {
  constructor(where: string, problem: string) {
    super('DATA_OPTION', `${where}: ${problem}`);
  }
}

/** A procedural task that cannot make the problems it was asked for: `TASK_EXHAUSTED`. */
export class TaskExhaustedError extends PosttrainError {
  constructor(task: string, problem: string) {
    super('TASK_EXHAUSTED', `task "${task}": ${problem}`);
  }
}

/** Throws unless `path` is a text that can be a path. */
export function assertPath(path: unknown): asserts path is string {
  if (typeof path === 'string' && path !== '' && !path.includes('\0')) return;
  throw new DataFileError({ path: showValue(path) }, `the path must be a text that is not empty.${pathHint(path)}`);
}

function pathHint(path: unknown): string {
  if (path instanceof URL) return ' Use fileURLToPath of node:url.';
  if (path instanceof Promise) return ' Await it first.';
  if (typeof path !== 'object' || path === null) return '';
  return Symbol.iterator in path || Symbol.asyncIterator in path ? ' It comes first, and the rows behind it.' : '';
}

/** Throws `DATA_OPTION` unless `value` is a function, or not given. */
export function assertCallback(where: string, option: string, value: unknown): void {
  if (value === undefined || typeof value === 'function') return;
  throw new DataOptionError(where, `"${option}" must be a function, got ${showValue(value)}.`);
}

/** Throws `DATA_OPTION` unless `value` is an integer in [min, max]. */
export function assertInteger(where: string, option: string, value: unknown, min: number, max: number): void {
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return;
  throw new DataOptionError(where, `"${option}" must be an integer from ${min} to ${max}, got ${String(value)}.`);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
