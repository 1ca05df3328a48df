import { setMaxListeners } from 'node:events';
import { linkedController } from '@posttrain/interfaces/concurrency';

const GRACE_MS = 1000;

/** The wall time of a search and its caller's signal: what ends calls that are in flight. */
export class Deadline {
  readonly #signal: AbortSignal | undefined;
  readonly #leftMs: () => number;
  #isOver = false;
  #own: ReturnType<typeof linkedController> | undefined;

  /** @param leftMs milliseconds until the wall time is over; `Infinity` for ever */
  constructor(signal: AbortSignal | undefined, leftMs: () => number) {
    this.#signal = signal;
    this.#leftMs = leftMs;
  }

  /** Whether the wall time is over; once it is, it stays. */
  get isOver(): boolean {
    this.#isOver ||= this.#leftMs() <= 0;
    return this.#isOver;
  }

  /** Whether nothing is to be begun any more. */
  get hasEnded(): boolean {
    return this.isOver || this.#signal?.aborted === true;
  }

  /** @throws the reason of the caller's signal, when it has fired */
  throwIfAborted(): void {
    this.#signal?.throwIfAborted();
  }

  /** Fires when the caller's signal does or the wall time is over. */
  get signal(): AbortSignal {
    if (!this.#own) {
      this.#own = linkedController([this.#signal]);
      setMaxListeners(0, this.#own.controller.signal);
      const left = this.#leftMs();
      if (Number.isFinite(left)) setTimeout(() => this.#own?.controller.abort(timeOver()), left).unref();
    }
    return this.#own.controller.signal;
  }

  /** Takes the listeners off the caller's signal. */
  close(): void {
    this.#own?.dispose();
  }

  /** The result of `call`, or `undefined` when the wall time ran out and nothing came back within the grace period. */
  async run<T>(call: (signal: AbortSignal) => Promise<T>): Promise<{ value: T } | undefined> {
    this.throwIfAborted();
    const { controller, dispose } = linkedController([this.#signal]);
    // One signal for all requests of a batch, each of which may listen.
    setMaxListeners(0, controller.signal);
    const timers: NodeJS.Timeout[] = [];
    try {
      const result = await new Promise<{ value: T } | undefined>((resolve, reject) => {
        controller.signal.addEventListener('abort', () => this.#isOver || reject(controller.signal.reason));
        const left = this.#leftMs();
        if (Number.isFinite(left)) {
          const expire = () => {
            this.#isOver = true;
            timers.push(setTimeout(() => resolve(undefined), GRACE_MS));
            controller.abort(timeOver());
          };
          timers.push(setTimeout(expire, Math.max(0, left)));
        }
        call(controller.signal).then(
          (value) => resolve({ value }),
          (error: unknown) => (this.#isOver ? resolve(undefined) : reject(error)),
        );
      });
      this.throwIfAborted();
      return result;
    } finally {
      for (const timer of timers) clearTimeout(timer);
      dispose();
    }
  }
}

const timeOver = () => new DOMException('The wall time of the search is over.', 'TimeoutError');
