import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { isPosttrainError, type OnProgress, PosttrainError } from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { DataStepError, messageOf } from '../errors.js';
import { assertRow, eachRow, type RowSource } from '../rows.js';
import type { AnyStep, DataStep, DroppedRow, RowKey, Shard, StepContext, StepReport } from '../step.js';
import type { RowKeys } from './row-keys.js';

/** What all steps of a run share. */
export interface RunContext {
  readonly keys: RowKeys;
  readonly signal: AbortSignal;
  readonly seed: number;
  readonly shard: Shard;
  readonly onProgress: OnProgress;
  readonly onDrop: ((drop: DroppedRow) => void) | undefined;
  /** Folder of this run's scratch files. */
  scratch(): Promise<string>;
}

/** Throws once the signal has fired. */
export function throwIfAborted(signal: AbortSignal): void {
  if (!signal.aborted) return;
  throw new PosttrainError(
    'PIPELINE_ABORTED',
    'pipeline: stopped by the signal; finished stages stay in the work folder.',
    {
      cause: signal.reason,
    },
  );
}

/** A step as it runs: counts its rows, and is the context that it is given. */
export class StepCounter implements StepContext<object> {
  readonly step: AnyStep;
  readonly #run: RunContext;
  #read = 0;
  #kept = 0;
  #madeOfLast = 0;
  #last: RowKey | undefined;
  #planning = false;
  #reasons = new Map<string, number>();
  #warnings = new Map<string, number>();
  #restored: StepReport | undefined;

  constructor(step: AnyStep, run: RunContext) {
    this.step = step;
    this.#run = run;
    // A step may take its context apart: `{ keyOf, derive }`.
    this.keyOf = this.keyOf.bind(this);
    this.derive = this.derive.bind(this);
    this.drop = this.drop.bind(this);
    this.warn = this.warn.bind(this);
    this.random = this.random.bind(this);
    this.scratch = this.scratch.bind(this);
  }

  /** What the step gives of its rows. An error that it throws says which step it was, and at which of its rows. */
  async *apply(rows: AsyncIterable<object>, plan: unknown): AsyncGenerator<object> {
    const step = this.step as DataStep<object, object, unknown>;
    try {
      const given: RowSource<object> = step.apply(this.#counted(rows), this, plan);
      for await (const row of eachRow(`the output of step "${step.name}"`, given)) {
        this.#kept++;
        this.#keep(row);
        yield row;
      }
    } catch (error) {
      throw isPosttrainError(error) ? error : this.#failed('apply', error);
    }
  }

  /** The first pass, which counts nothing and drops nothing. */
  async plan(rows: AsyncIterable<object>): Promise<unknown> {
    this.#planning = true;
    try {
      return await (this.step as DataStep<object, object, unknown>).plan!(this.#watched(rows), this);
    } catch (error) {
      throw isPosttrainError(error) ? error : this.#failed('plan', error);
    } finally {
      this.#planning = false;
    }
  }

  async *#watched(rows: AsyncIterable<object>): AsyncGenerator<object> {
    for await (const row of rows) {
      throwIfAborted(this.signal);
      yield row;
    }
  }

  async *#counted(rows: AsyncIterable<object>): AsyncGenerator<object> {
    for await (const row of this.#watched(rows)) {
      this.#read++;
      this.#last = this.#run.keys.of(row);
      this.#madeOfLast = 0;
      yield row;
    }
  }

  /** Provenance: a row without a recorded origin is new, made at this place of the stream. */
  #keep(row: object): void {
    if (this.#run.keys.of(row) !== undefined) return;
    // Rank and rows at position modulo world go together.
    const at = this.#last ?? { id: '', position: this.#run.shard.rank, lineage: [] };
    const id = `${at.id}/${this.step.name}/${this.#madeOfLast++}`;
    this.#run.keys.set(row, { id, position: at.position, lineage: [{ step: this.step.name, from: [] }] });
  }

  #failed(what: string, cause: unknown): DataStepError {
    return new DataStepError(this.step.name, this.#read, `its ${what} threw: ${messageOf(cause)}`, { cause });
  }

  keyOf(row: object): RowKey {
    return this.#run.keys.require(row, this.step.name, this.#read);
  }

  derive<Made extends object>(made: Made, from: object | readonly object[], part?: string | number): Made {
    assertRow(`derive of step "${this.step.name}"`, made, this.#read);
    if (made === from) return made;
    const keys = (Array.isArray(from) ? from : [from]).map((row: object) => this.keyOf(row));
    if (keys.length === 0) {
      throw new DataStepError(this.step.name, this.#read, 'derive was given no row that the new one was made of.');
    }
    const ids = keys.map(({ id }) => id);
    this.#run.keys.set(made, {
      id: `${ids.join('+')}${part === undefined ? '' : `/${part}`}`,
      position: Math.min(...keys.map(({ position }) => position)),
      lineage: [...keys.flatMap(({ lineage }) => lineage), { step: this.step.name, from: ids }],
    });
    return made;
  }

  drop(row: object, reason: string): void {
    if (this.#planning) {
      throw new DataStepError(
        this.step.name,
        this.#read,
        'a plan drops no rows: return which, and drop them in apply.',
      );
    }
    this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1);
    if (this.#run.onDrop === undefined) return;
    const key = this.#run.keys.of(row) ?? this.#last ?? { id: '', position: 0, lineage: [] };
    try {
      this.#run.onDrop({ step: this.step.name, reason, row, key });
    } catch (error) {
      throw isPosttrainError(error) ? error : this.#failed('onDrop', error);
    }
  }

  warn(warning: string): void {
    this.#warnings.set(warning, (this.#warnings.get(warning) ?? 0) + 1);
  }

  random(label: string | number): Random {
    return createRandom(this.#run.seed, 'step', this.step.name, label);
  }

  async scratch(): Promise<string> {
    return mkdtemp(join(await this.#run.scratch(), 'step-'));
  }

  get signal(): AbortSignal {
    return this.#run.signal;
  }

  get onProgress(): OnProgress {
    return this.#run.onProgress;
  }

  get shard(): Shard {
    return this.#run.shard;
  }

  /** Takes the counts of a finished stage in the place of its own. */
  restore(report: StepReport): void {
    this.#restored = report;
  }

  report(): StepReport {
    if (this.#restored !== undefined) return this.#restored;
    const reasons = [...this.#reasons].sort((a, b) => b[1] - a[1]);
    const warnings = [...this.#warnings].sort((a, b) => b[1] - a[1]);
    return {
      step: this.step.name,
      read: this.#read,
      kept: this.#kept,
      dropped: reasons.reduce((sum, [, count]) => sum + count, 0),
      reasons: Object.fromEntries(reasons),
      ...(warnings.length > 0 && { warnings: Object.fromEntries(warnings) }),
    };
  }
}
