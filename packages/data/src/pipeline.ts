import { assertKnownOptions, isPosttrainError, PosttrainError, showValue } from '@posttrain/interfaces';
import { assertCallback, DataOptionError, DataStepError, messageOf } from './errors.js';
import { assertRowSource, eachRow, kindOf, type Row, type RowSource } from './rows.js';

/** What a step is given besides its rows. */
export interface StepContext<R extends object = Row> {
  /** Records that a row is not passed on. Equal reasons are counted together, so keep numbers out of them. */
  drop(row: R, reason: string): void;
  /** Records something that is not right about a row that is passed on. Equal warnings are counted together. */
  warn(warning: string): void;
}

/**
 * One transform of a stream of rows. A step is pulled by the step after it, so memory is bounded by what a step itself
 * holds back. Rows in and out are counted by the pipeline; the step only says what it drops and why.
 */
export interface DataStep<In extends object = Row, Out extends object = In> {
  readonly name: string;
  apply(rows: AsyncIterable<In>, context: StepContext<In>): RowSource<Out>;
}

/** What a step kept and dropped, and why. */
export interface StepReport {
  readonly step: string;
  /** Rows the step read. */
  readonly read: number;
  /** Rows the step passed on. */
  readonly kept: number;
  readonly dropped: number;
  /** Dropped rows by reason, most frequent first. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Warnings with their counts, most frequent first; absent when there are none. */
  readonly warnings?: Readonly<Record<string, number>>;
}

/** Options of `pipeline`. */
export interface PipelineOptions {
  /** Called with every dropped row, for instance to keep what was filtered out. */
  readonly onDrop?: (drop: { readonly step: string; readonly reason: string; readonly row: object }) => void;
}

/** The rows of a pipeline, and its report. */
export interface Pipeline<Out extends object> {
  /** The rows that come out of the last step. Can be read once. */
  readonly rows: AsyncIterable<Out>;
  /** Counts per step, in order, of what has been read so far; complete once `rows` has ended. */
  report(): StepReport[];
  /** Reads all rows into an array. */
  collect(): Promise<Out[]>;
}

/**
 * Chains steps over a source. Nothing runs until `rows` is read.
 *
 * `Out` is the type of the rows the last step yields. It cannot be inferred through steps that pass any row on, so it
 * is stated by the caller; the step `validate(format)` checks it at run time.
 */
export function pipeline<Out extends object = Row>(
  source: RowSource<object>,
  steps: readonly DataStep<never, object>[],
  options: PipelineOptions = {},
): Pipeline<Out> {
  assertKnownOptions('pipeline', options, ['onDrop']);
  assertCallback('pipeline', 'onDrop', options.onDrop);
  assertRowSource('pipeline', source);
  assertSteps(steps);
  const counters = steps.map((step) => new StepCounter(step.name, options.onDrop));
  let started = false;

  async function* run(): AsyncGenerator<Out> {
    if (started) {
      throw new PosttrainError('PIPELINE_CONSUMED', 'pipeline: its rows were already read; build the pipeline again.');
    }
    started = true;
    let rows: AsyncIterable<object> = fromSource(source);
    for (const [i, step] of steps.entries()) {
      const counter = counters[i]!;
      const apply = step.apply.bind(step) as DataStep<object, object>['apply'];
      const before = rows;
      rows = counter.countKept(() => apply(counter.countRead(before), counter));
    }
    yield* rows as AsyncIterable<Out>;
  }

  const rows: AsyncIterable<Out> = { [Symbol.asyncIterator]: run };
  return {
    rows,
    report: () => counters.map((counter) => counter.report()),
    async collect() {
      const all: Out[] = [];
      for await (const row of rows) all.push(row);
      return all;
    },
  };
}

/** Rows of a source of the user's, whose own errors say at which row it failed. */
async function* fromSource(source: RowSource<object>): AsyncGenerator<object> {
  let rowNumber = 1;
  try {
    for await (const row of eachRow('pipeline', source)) {
      yield row;
      rowNumber++;
    }
  } catch (cause) {
    if (isPosttrainError(cause)) throw cause;
    throw new DataStepError('pipeline', rowNumber, `what gives the rows threw: ${messageOf(cause)}`, { cause });
  }
}

/**
 * The report as a text table, one line per step and one per reason.
 *
 * @throws DataOptionError for what `report()` of a pipeline did not give
 */
export function formatReport(report: readonly StepReport[]): string {
  assertReport(report);
  const lines: string[][] = [['step', 'read', 'kept', 'dropped', 'why']];
  for (const { step, read, kept, dropped, reasons, warnings } of report) {
    const why = [
      ...Object.entries(reasons).map(([reason, count]) => `${count} ${reason}`),
      ...Object.entries(warnings ?? {}).map(([warning, count]) => `warning: ${count} ${warning}`),
    ];
    lines.push([step, String(read), String(kept), String(dropped), why[0] ?? '']);
    for (const more of why.slice(1)) lines.push(['', '', '', '', more]);
  }
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const pad = (cell: string, column: number) =>
    column === 0 || column === 4 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!);
  return lines.map((line) => line.map(pad).join('  ').trimEnd()).join('\n');
}

function assertReport(report: unknown): void {
  const isStep = (step: unknown): boolean => {
    const { step: name, read, kept, dropped, reasons } = (step ?? {}) as Partial<StepReport>;
    return typeof name === 'string' && typeof reasons === 'object' && [read, kept, dropped].every(Number.isInteger);
  };
  if (Array.isArray(report) && report.every(isStep)) return;
  const problem = `the report must be what report() of a pipeline gives, got ${showValue(report)}.`;
  throw new DataOptionError('formatReport', problem);
}

function assertSteps(steps: unknown): void {
  if (!Array.isArray(steps)) throw new DataOptionError('pipeline', `steps must be an array, got ${kindOf(steps)}.`);
  for (const [i, step] of steps.entries()) {
    // Functions have a name and an `apply` too.
    if (typeof step === 'object' && typeof step?.name === 'string' && typeof step.apply === 'function') continue;
    const hint = typeof step === 'function' ? ' Call the function that makes the step.' : '';
    throw new DataOptionError('pipeline', `step ${i + 1} must be { name, apply }, got ${kindOf(step)}.${hint}`);
  }
}

class StepCounter implements StepContext<object> {
  #read = 0;
  #kept = 0;
  #reasons = new Map<string, number>();
  #warnings = new Map<string, number>();
  constructor(
    readonly step: string,
    readonly onDrop: PipelineOptions['onDrop'],
  ) {}

  async *countRead(rows: AsyncIterable<object>): AsyncGenerator<object> {
    for await (const row of rows) {
      this.#read++;
      yield row;
    }
  }

  /** What a step gives. An error that it throws says which step it was, and at which of its rows. */
  async *countKept(apply: () => RowSource<object>): AsyncGenerator<object> {
    try {
      for await (const row of eachRow(`the output of step "${this.step}"`, apply())) {
        this.#kept++;
        yield row;
      }
    } catch (error) {
      throw isPosttrainError(error) ? error : this.#failed('apply', error);
    }
  }

  #failed(what: string, cause: unknown): DataStepError {
    return new DataStepError(this.step, this.#read, `its ${what} threw: ${messageOf(cause)}`, { cause });
  }

  drop(row: object, reason: string): void {
    this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1);
    try {
      this.onDrop?.({ step: this.step, reason, row });
    } catch (error) {
      throw isPosttrainError(error) ? error : this.#failed('onDrop', error);
    }
  }

  warn(warning: string): void {
    this.#warnings.set(warning, (this.#warnings.get(warning) ?? 0) + 1);
  }

  report(): StepReport {
    const reasons = [...this.#reasons].sort((a, b) => b[1] - a[1]);
    const warnings = [...this.#warnings].sort((a, b) => b[1] - a[1]);
    return {
      step: this.step,
      read: this.#read,
      kept: this.#kept,
      dropped: reasons.reduce((sum, [, count]) => sum + count, 0),
      reasons: Object.fromEntries(reasons),
      ...(warnings.length > 0 && { warnings: Object.fromEntries(warnings) }),
    };
  }
}
