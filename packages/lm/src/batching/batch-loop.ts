import { PosttrainError } from '@posttrain/interfaces';
import { type Adapter, sameAdapter } from '../model/adapter.js';
import type { KvCacheDtype } from '../model/kv-cache.js';
import type { Weights } from '../model/layers.js';
import type { Network } from '../model/network.js';
import { forgetAdapter, returnRunner, takeRunner } from '../runner/idle-runners.js';
import { isBase } from '../runner/mixed-adapters.js';
import type { ModelRunner } from '../runner/model-runner.js';
import { explained } from '../runner/non-finite.js';
import type { PackWeights } from '../runner/runner-options.js';
import type { DecodeRow } from '../sampling/decode-row.js';
import type { Proposer } from '../speculative/proposer.js';
import type { SpeculativeDecoding } from '../speculative/speculative-decoding.js';
import { type ScheduledToken, Scheduler, type SchedulerOptions } from './scheduler.js';

export interface BatchLoopOptions extends Omit<SchedulerOptions, 'proposer'> {
  /** Most tokens that the key/value cache holds; rows wait when it is full. Default: as many as 1 GiB holds. */
  readonly cacheTokens?: number;
  /** As `ModelRunner` has it. Default `auto`. */
  readonly packWeights?: PackWeights;
  /** As `ModelRunner` has it. Default `float32`. */
  readonly kvCacheDtype?: KvCacheDtype;
  /** Where guesses of tokens come from. Default: none. */
  readonly speculation?: SpeculativeDecoding | undefined;
}

/** A pass of an adapter failed, and not for its numbers: it does not fit the model, say. Only its rows are concerned. */
class AdapterFailedError extends PosttrainError {
  constructor(name: string, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super('ADAPTER_FAILED', `generate: computing with the adapter "${name}" failed: ${why}`, { cause });
  }
}

/** Called with a row's tokens. An error ends the row with it. */
export type OnToken = (token: ScheduledToken) => void;

interface Listener {
  readonly adapter: Adapter | undefined;
  readonly onToken: OnToken;
  readonly isCancelled: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** Settled when the row has ended, never rejected. */
  readonly ended: Promise<void>;
}

/** While it is paused, rows that were cancelled are looked for so often, in milliseconds. */
const PAUSED_TURN = 50;

/** The batching loop: rows of all callers in one batch; steps a scheduler for as long as there is work. */
export class BatchLoop {
  readonly #model: { readonly network: Network; readonly weights: Weights };
  readonly #options: BatchLoopOptions;
  readonly #listeners = new Map<number, Listener>();
  #runner: ModelRunner | undefined;
  #proposer: Proposer | undefined;
  #scheduler: Scheduler | undefined;
  #paused: { readonly over: Promise<void>; readonly end: () => void } | undefined;
  #lastStep: Promise<unknown> = Promise.resolve();

  constructor(model: { readonly network: Network; readonly weights: Weights }, options: BatchLoopOptions) {
    this.#model = model;
    this.#options = options;
  }

  /** Rows that wait, and rows that generate. */
  get load(): { readonly waiting: number; readonly active: number } {
    const { size = 0, active = 0 } = this.#scheduler ?? {};
    return { waiting: size - active, active };
  }

  /** Generates a checked row; done when it has ended or was cancelled. */
  async run(row: DecodeRow, onToken: OnToken, isCancelled: () => boolean): Promise<void> {
    const isIdle = this.#scheduler === undefined;
    this.#scheduler ??= this.#begin();
    const scheduler = this.#scheduler;
    let ended: Promise<void>;
    try {
      // A row that nobody listens to any more is not gone on with.
      let hasFailed = false;
      const isOver = () => hasFailed || isCancelled();
      const id = scheduler.add(row, isOver);
      let ways: Pick<Listener, 'resolve' | 'reject'>;
      ended = new Promise((resolve, reject) => {
        const fail = (error: unknown) => {
          hasFailed = true;
          reject(error);
        };
        ways = { resolve, reject: fail };
      });
      const settled = ended.catch(() => undefined);
      this.#listeners.set(id, { adapter: row.adapter, onToken, isCancelled: isOver, ...ways!, ended: settled });
    } finally {
      // Also when the row was refused: then the loop ends at once, and the next row begins another.
      if (isIdle) void this.#loop(scheduler);
    }
    await ended;
  }

  /** Freezes every row where it is: no further step begins before `resume`. Resolves when the step in progress is over. */
  async pause(): Promise<void> {
    if (!this.#paused) {
      let end = () => {};
      const over = new Promise<void>((resolve) => {
        end = resolve;
      });
      this.#paused = { over, end };
    }
    await this.#lastStep.catch(() => {});
  }

  /** Goes on after `pause`. */
  resume(): void {
    this.#paused?.end();
    this.#paused = undefined;
  }

  /** Waits for the rows of an adapter that are there, and drops what the caches keep of it. */
  async forget(adapter: Adapter): Promise<void> {
    const rows = [...this.#listeners.values()].filter((row) => row.adapter && sameAdapter(row.adapter, adapter));
    await Promise.all(rows.map(({ ended }) => ended));
    await Promise.all([this.#runner?.forget(adapter), forgetAdapter(this.#model.network, adapter)]);
  }

  #begin(): Scheduler {
    const { cacheTokens, packWeights: _, kvCacheDtype: __, speculation, ...options } = this.#options;
    this.#runner = this.#takeRunner();
    this.#proposer = speculation?.begin(this.#runner.capacity);
    // What was asked for in so many words is there for prompts that come again, too.
    if (cacheTokens !== undefined) void this.#runner.reserve(cacheTokens);
    return new Scheduler(this.#runner, this.#proposer ? { ...options, proposer: this.#proposer } : options);
  }

  #takeRunner(): ModelRunner {
    const { network, weights } = this.#model;
    const { cacheTokens, packWeights, kvCacheDtype } = this.#options;
    return takeRunner(network, weights, {
      ...(cacheTokens !== undefined && { cacheTokens }),
      ...(packWeights !== undefined && { packWeights }),
      ...(kvCacheDtype !== undefined && { kvCacheDtype }),
    });
  }

  async #loop(scheduler: Scheduler): Promise<void> {
    try {
      while (scheduler.size > 0) {
        if (this.#paused) {
          await Promise.race([this.#paused.over, new Promise((resolve) => setTimeout(resolve, PAUSED_TURN))]);
          scheduler.dropCancelled();
        } else {
          const step = this.#step(scheduler);
          this.#lastStep = step;
          for (const token of await step) this.#tell(token);
        }
        if (this.#listeners.size > scheduler.size) this.#tellCancelled();
      }
      scheduler.close();
      this.#proposer?.close();
      returnRunner(this.#runner!);
    } catch (error) {
      // What the cache holds is not known after an error, so the runner is not used again.
      for (const { reject } of this.#listeners.values()) reject(error);
      this.#listeners.clear();
    }
    this.#scheduler = undefined;
    this.#runner = undefined;
  }

  /**
   * A step, or what is done when its pass fails: all rows begin again in another runner. When they had several adapters, they
   * are computed apart from then on, so that it is known which one fails: its rows end with the error.
   */
  async #step(scheduler: Scheduler): Promise<readonly ScheduledToken[]> {
    try {
      return await scheduler.step();
    } catch (error) {
      const { failure } = this.#runner!;
      if (!failure || failure.adapters.length === 0) throw error;
      this.#runner = this.#takeRunner();
      this.#runner.computesApart = true;
      const [blamed, ...others] = failure.adapters as [Adapter];
      for (const id of scheduler.restart(this.#runner, others.length === 0 ? blamed : undefined)) {
        this.#listeners.get(id)?.reject(isBase(blamed) ? error : new AdapterFailedError(blamed.name, error));
        this.#listeners.delete(id);
      }
      return scheduler.takeDrawn();
    }
  }

  #tell(token: ScheduledToken): void {
    const listener = this.#listeners.get(token.id);
    if (!listener) return;
    try {
      if (token.error !== undefined) throw token.error;
      listener.onToken(token);
    } catch (error) {
      this.#listeners.delete(token.id);
      // Looking for what is to blame takes time, which the others need not wait.
      const { adapter } = listener;
      void explained(error, { weights: this.#model.weights, adapter }).then(listener.reject);
      return;
    }
    if (token.finish) this.#finish(token.id, listener);
  }

  /** Tells whoever waits for a row that was cancelled. */
  #tellCancelled(): void {
    for (const [id, listener] of this.#listeners) if (listener.isCancelled()) this.#finish(id, listener);
  }

  #finish(id: number, { resolve }: Listener): void {
    this.#listeners.delete(id);
    resolve();
  }
}
