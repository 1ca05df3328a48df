import type { Key } from '@posttrain/core-tensor';
import type { DecisiveSettings } from '@posttrain/interfaces';
import type { PromptRow } from '../rewards/reward.js';
import type { Rollout } from '../rollout.js';
import type { Stateful } from '../stateful.js';

/** What a source of rows is asked for. */
export interface RowRequest {
  /** How many rows. */
  readonly count: number;
  /** Training step, counted from 0. */
  readonly step: number;
  /** The random numbers of this request. */
  readonly key: Key;
}

/** A row to sample from. */
export interface SourcedRow<Row extends PromptRow = PromptRow> {
  readonly row: Row;
  /** The tokens to go on from, where they are not those of the row's prompt. */
  readonly promptTokens?: readonly number[];
}

/**
 * Rows that are asked anew for every step: a curriculum, a restart buffer, generated problems. What it has learnt from
 * `feedback` is its `state`, so that a resumed run asks for the same rows.
 */
export interface RowSource<Row extends PromptRow = PromptRow> extends Partial<Stateful> {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** Exactly `count` rows; with dynamic sampling several times a step. */
  next(request: RowRequest): readonly SourcedRow<Row>[] | Promise<readonly SourcedRow<Row>[]>;
  /** The last rollouts, after the step's updates. */
  feedback?(rollouts: readonly Rollout<Row>[]): void | Promise<void>;
}

/** Whether a value is a source of rows, and no list or iterator of them. */
export const isRowSource = (value: unknown): value is RowSource =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as Partial<RowSource>).next === 'function' &&
  !(Symbol.iterator in value || Symbol.asyncIterator in value);
