import {
  boolean,
  custom,
  type Given,
  integer,
  type OnProgress,
  options,
  PosttrainError,
  text,
} from '@posttrain/interfaces';
import { DataOptionError } from './errors.js';
import { assertRowSource, kindOf, type Row } from './rows.js';
import type { Source } from './stages/source-reader.js';
import { StagedRun } from './stages/staged-run.js';
import type { AnyStep, DroppedRow, FittingSteps, RowsAfter, Shard, StepReport } from './step.js';

const isFunction = (value: unknown): boolean => typeof value === 'function';

const pipelineOptions = options('pipeline', {
  /** Called with every dropped row, for instance to keep what was filtered out; not again for a stage that was finished before. */
  onDrop: custom<(drop: DroppedRow) => void>()('a function', isFunction, { optional: true }),
  /** Called with each warning, such as why a finished stage is recomputed. `warnings()` has them all. */
  onWarning: custom<(warning: string) => void>()('a function', isFunction, { optional: true }),
  onProgress: custom<OnProgress>()('a function', isFunction, { optional: true }),
  /** Stops the pipeline at the next row, with `PIPELINE_ABORTED`. */
  signal: custom<AbortSignal>()('an AbortSignal', (value) => value instanceof AbortSignal, { optional: true }),
  /**
   * Folder for the stages before each step with a plan, where a later run finds those that are finished. Default: a temporary one,
   * removed at the end. Other pipelines need folders of their own.
   */
  workFolder: custom<string>()('the path of a folder', (value) => typeof value === 'string' && value !== '', {
    optional: true,
  }),
  /** Whether finished stages of `workFolder` are used. Default true. */
  resume: boolean({ default: true }),
  /** Stands for the content of the source, which is then not read and hashed to see whether it is what it was. */
  sourceVersion: text({ optional: true }),
  /** Stable name of a row of the source, unique in it. Default: its position. */
  id: custom<(row: never, position: number) => string>()('a function', isFunction, { optional: true }),
  /**
   * Which rows are this run's: those at positions `rank`, `rank + world`, … Every rank needs the same work folder, and all of them
   * must run at the same time where a step has a plan, since it is made of the rows of all. Default: all rows.
   */
  shards: custom<Shard>()('{ rank, world }, rank from 0 to world − 1', isShard, { default: { rank: 0, world: 1 } }),
  /** How long a shard waits for what others must do first; after ten seconds a warning says for whom, after this time it is an error. Default 86 400, a day. */
  waitSeconds: integer({ default: 86_400, min: 1 }),
  /** Seed of the random numbers of steps. Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `pipeline`. */
export type PipelineOptions = Given<typeof pipelineOptions>;

/** What `pipeline` returns. */
export interface Pipeline<Out extends object> {
  /** The rows that come out of the last step. Can be read once. */
  readonly rows: AsyncIterable<Out>;
  /** Counts per step, in order, of what has been read so far; complete once `rows` has ended. */
  report(): StepReport[];
  /** Warnings of the run so far: stages that were recomputed and why, steps without a version. */
  warnings(): readonly string[];
  /** Reads all rows into an array. */
  collect(): Promise<Out[]>;
}

/**
 * Chains steps over a source. Nothing runs until `rows` is read.
 *
 * Rows stream through, but for a step with a `plan`, which needs all of them first: the stage before it is then written whole into
 * `workFolder`, with its report, by all shards; its plan is made once, by rank 0, and read by all. A run that was stopped, or killed, goes on after the last
 * finished stage. A stage is known by the content of the source and the versions of all steps up to it: when one of them has
 * changed it is made anew, and a warning says what it was.
 *
 * The type of the rows goes through the steps; one that reads a column that the rows before it cannot have is an error of the
 * type checker. Where the types of the steps are not known, state that of the rows that come out: `pipeline<Out>(…)`.
 *
 * @throws OptionError, DataOptionError, DataStepError, DataFileError; PosttrainError `PIPELINE_ABORTED`, `PIPELINE_CONSUMED`
 */
export function pipeline<In extends object, const Steps extends readonly AnyStep[]>(
  source: Source<In>,
  steps: Steps & FittingSteps<In, Steps>,
  options?: PipelineOptions,
): Pipeline<RowsAfter<In, Steps> & object>;
export function pipeline<Out extends object>(
  source: Source<object>,
  steps: readonly AnyStep[],
  options?: PipelineOptions,
): Pipeline<Out>;
export function pipeline(
  source: Source<object>,
  steps: readonly AnyStep[],
  given: PipelineOptions = {},
): Pipeline<Row> {
  const settings = pipelineOptions.read(given);
  if (typeof source !== 'function') assertRowSource('pipeline', source);
  assertSteps(steps);
  const run = new StagedRun(source, steps, settings);
  let started = false;

  async function* start(): AsyncGenerator<Row> {
    if (started) {
      throw new PosttrainError('PIPELINE_CONSUMED', 'pipeline: its rows were already read; build the pipeline again.');
    }
    started = true;
    yield* run.rows() as AsyncGenerator<Row>;
  }

  const rows: AsyncIterable<Row> = { [Symbol.asyncIterator]: start };
  return {
    rows,
    report: () => run.report(),
    warnings: () => run.warnings,
    async collect() {
      const all: Row[] = [];
      for await (const row of rows) all.push(row);
      return all;
    },
  };
}

function isShard(value: unknown): boolean {
  const { rank, world } = (value ?? {}) as Partial<Shard>;
  return Number.isSafeInteger(rank) && Number.isSafeInteger(world) && rank! >= 0 && rank! < world!;
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
