import { ApiError } from './api-error.js';

interface Waiter {
  readonly count: number;
  readonly start: () => void;
}

/** Admission control: at most `size` completions run, others wait in a FIFO of at most `maxQueue` requests. */
export class Slots {
  readonly size: number;
  readonly #maxQueue: number;
  readonly #queue: Waiter[] = [];
  #running = 0;

  constructor(size: number, maxQueue: number) {
    this.size = size;
    this.#maxQueue = maxQueue;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /**
   * Acquires `count` slots, waiting for them; the result releases them.
   * @throws ApiError 429 when the queue is full, and the signal's reason when it fires first
   */
  async acquire(count: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#queue.length > 0 || this.#running + count > this.size) {
      if (this.#queue.length >= this.#maxQueue) {
        throw new ApiError(429, `The server is busy: ${this.#queue.length} requests are waiting. Try again later.`, {
          type: 'rate_limit_error',
          apiCode: 'rate_limit_exceeded',
          headers: { 'retry-after': '1' },
        });
      }
      await this.#wait(count, signal);
    } else {
      this.#running += count;
    }
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#running -= count;
      this.#startNext();
    };
  }

  #wait(count: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#queue.splice(this.#queue.indexOf(waiter), 1);
        reject(signal.reason);
        this.#startNext();
      };
      const start = () => {
        signal.removeEventListener('abort', leave);
        this.#running += count;
        resolve();
      };
      const waiter = { count, start };
      this.#queue.push(waiter);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  #startNext(): void {
    while (this.#queue.length > 0 && this.#running + this.#queue[0]!.count <= this.size) this.#queue.shift()!.start();
  }
}
