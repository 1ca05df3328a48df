import type { OnProgress } from '@posttrain/interfaces';
import type { Random } from '@posttrain/interfaces/random';
import type { Row, RowSource } from './rows.js';

/** That a step made a row of others. */
export interface LineageEntry {
  /** Name of the step. */
  readonly step: string;
  /** Ids, before the step, of the rows that it was made of; empty where the step did not say (`derive`). */
  readonly from: readonly string[];
}

/** Identity of a row: the same in every run over the same source, whatever the shards. */
export interface RowKey {
  /** The source's `id` of the row (default: its position); of a row that is a part of another, `id/part`. */
  readonly id: string;
  /** Place in the source of the row that this one comes from, counted from 0. */
  readonly position: number;
  /** What it was before, oldest first; empty for a row that is as the source gave it. */
  readonly lineage: readonly LineageEntry[];
}

/** A row with its key. */
export interface Keyed<R extends object = Row> {
  readonly key: RowKey;
  readonly row: R;
}

/** Which share of a source this process works on: rows at positions `rank`, `rank + world`, … */
export interface Shard {
  readonly rank: number;
  readonly world: number;
}

/** What a step is given besides its rows. */
export interface StepContext<R extends object = Row> {
  /** Records that a row is not passed on. Equal reasons are counted together, so keep numbers out of them. */
  drop(row: R, reason: string): void;
  /** Records something that is not right about a row that is passed on. Equal warnings are counted together. */
  warn(warning: string): void;
  /** Key of a row that this step has read, or made with `derive`. @throws DataStepError for any other */
  keyOf(row: object): RowKey;
  /**
   * Provenance (lineage): records what a new row was made of, and returns it. Made of one row it keeps that one's id, and
   * with `part` (a name or a number that is unique among the parts of that row) it is `id/part`; of several rows, their
   * ids joined by `+`.
   */
  derive<Made extends object>(made: Made, from: object | readonly object[], part?: string | number): Made;
  /** Cancellation: the consumer wants no more rows. Reading rows already throws then; long work between rows should look. */
  readonly signal: AbortSignal;
  /** Random numbers of this step: the pipeline's seed, the step's name and `label`; equal on every shard. */
  random(label: string | number): Random;
  /** Scratch space: a new empty folder for what memory cannot hold; it is removed when the pipeline ends. */
  scratch(): Promise<string>;
  readonly onProgress: OnProgress;
  readonly shard: Shard;
}

/**
 * One transform of a stream of rows. A step is pulled by the step after it, so memory is bounded by what a step itself
 * holds back. Rows in and out are counted by the pipeline; the step only says what it drops and why.
 */
export interface DataStep<In extends object = Row, Out extends object = In, Plan = void> {
  readonly name: string;
  /**
   * What the step does, options included, so that a finished stage is known again. Default: a hash of the source text of its
   * functions, which cannot see what they have captured.
   */
  readonly version?: string;
  /** Every row that is given on is one that was read: the type of the rows, with all their columns, stays what it was. */
  readonly passes?: boolean;
  /**
   * A first pass over the rows of all shards, in the order of the source, that keeps little: what it returns is all that `apply`
   * gets of it, and is saved (what `structuredClone` can copy). A stage ends before it.
   */
  plan?(rows: AsyncIterable<In>, context: StepContext<In>): Promise<Plan>;
  apply(rows: AsyncIterable<In>, context: StepContext<In>, plan: Plan): RowSource<Out>;
}

/** Any step, in a list of several. */
// biome-ignore lint/suspicious/noExplicitAny: the plan is read by the step alone that made it, and no type but `any` takes every step
export type AnyStep = DataStep<never, object, any>;

/** What a step did. */
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

/** A row that a step dropped. */
export interface DroppedRow {
  readonly step: string;
  readonly reason: string;
  readonly row: object;
  readonly key: RowKey;
}

/** Rows after a step, by type: a step that passes rows on leaves them as they are. */
type After<In, Step> = Step extends { readonly passes: true }
  ? In
  : Step extends DataStep<infer _, infer Out, infer __>
    ? Out
    : never;

/** Rows after all steps, by type. */
export type RowsAfter<In, Steps> = Steps extends readonly [infer First, ...infer Rest]
  ? RowsAfter<After<In, First>, Rest>
  : In;

type RequiredKeys<T> = { [K in keyof T]-?: object extends Pick<T, K> ? never : K }[keyof T];

/** Whether rows of one type can be read as another: it has the columns, and each can be what is asked for. */
type Fits<In, Asked> = object extends In
  ? true
  : string extends keyof In
    ? true
    : [RequiredKeys<Asked>] extends [keyof In]
      ? true extends {
          [K in RequiredKeys<Asked> & keyof In]: [In[K] & Asked[K & keyof Asked]] extends [never] ? true : false;
        }[RequiredKeys<Asked> & keyof In]
        ? false
        : true
      : false;

/** What stands in the place of a step that does not read what the step before it gives. */
interface StepDoesNotFit<Gives, Reads> {
  readonly 'this step does not read what comes before it': { readonly gives: Gives; readonly reads: Reads };
}

/** The steps where each reads what the one before it gives; otherwise a type that no step has. */
export type FittingSteps<In, Steps> = Steps extends readonly [infer First, ...infer Rest]
  ? First extends DataStep<infer Reads, infer _, infer __>
    ? [Fits<In, Reads> extends true ? First : StepDoesNotFit<In, Reads>, ...FittingSteps<After<In, First>, Rest>]
    : never
  : Steps;
