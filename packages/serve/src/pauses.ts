import { ApiError } from './api-error.js';
import type { ModelRegistry } from './model-registry.js';

/** vLLM's modes: end what runs with what it has, let it come to its end, or freeze it where it is. */
export const PAUSE_MODES = ['abort', 'wait', 'keep'] as const;
export type PauseMode = (typeof PAUSE_MODES)[number];

interface Gate {
  readonly opened: Promise<void>;
  readonly open: () => void;
}

/** A request that generates. */
interface PausableRun {
  /** Fires when a pause ends it. */
  readonly ended: AbortSignal;
  /** It has come to its end. */
  done(): void;
}

/** Pausing of a whole server: while it lasts, requests that come wait, and those that run do what its mode says. */
export class Pauses {
  /** Whether clients may pause. */
  readonly isAllowed: boolean;
  readonly #models: ModelRegistry;
  readonly #running = new Set<AbortController>();
  #paused: Gate | undefined;
  #frozen: Gate | undefined;
  #idle: Gate | undefined;

  constructor(models: ModelRegistry, isAllowed: boolean) {
    this.isAllowed = isAllowed;
    this.#models = models;
  }

  get isPaused(): boolean {
    return this.#paused !== undefined;
  }

  /** Resolves when nothing is computed any more: with `wait` when all that runs has come to its end. Again is no error. */
  async pause(mode: PauseMode, signal: AbortSignal): Promise<void> {
    this.#paused ??= gate();
    if (mode === 'keep') {
      this.#frozen ??= gate();
      await Promise.all(this.#models.bases().map((model) => model.freeze?.()));
      return;
    }
    if (mode === 'abort') for (const run of [...this.#running]) run.abort();
    // What a pause has frozen before would never come to its end.
    this.#thaw();
    while (this.#running.size > 0) {
      this.#idle ??= gate();
      await unless(signal, this.#idle.opened);
    }
  }

  /** Lets everything go on; nothing where there is no pause. */
  resume(): void {
    this.#thaw();
    this.#paused?.open();
    this.#paused = undefined;
  }

  /** Begins a run, once there is no pause. @throws the signal's reason when it fires first */
  async begin(signal: AbortSignal): Promise<PausableRun> {
    while (this.#paused) await unless(signal, this.#paused.opened);
    const controller = new AbortController();
    this.#running.add(controller);
    const done = () => {
      if (!this.#running.delete(controller) || this.#running.size > 0) return;
      this.#idle?.open();
      this.#idle = undefined;
    };
    return { ended: controller.signal, done };
  }

  /** Holds back what a frozen run has already computed. @throws the signal's reason when it fires first */
  async thawed(signal: AbortSignal): Promise<void> {
    while (this.#frozen) await unless(signal, this.#frozen.opened);
  }

  #thaw(): void {
    if (!this.#frozen) return;
    for (const model of this.#models.bases()) model.thaw?.();
    this.#frozen.open();
    this.#frozen = undefined;
  }
}

/** What is answered to who may not pause. */
export const pausesNotAllowed = (): ApiError =>
  new ApiError(
    404,
    'This server is not paused by its clients. Who starts it allows that with allowPause (--allow-pause).',
    {
      apiCode: 'pause_not_allowed',
    },
  );

function gate(): Gate {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

function unless(signal: AbortSignal, opened: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    if (signal.aborted) return leave();
    signal.addEventListener('abort', leave, { once: true });
    void opened.then(() => {
      signal.removeEventListener('abort', leave);
      resolve();
    });
  });
}
