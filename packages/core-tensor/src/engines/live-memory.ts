import { collectGarbage, nextTask } from './collect-garbage.js';

/** Live memory above which dropped tensors are looked for, once it has also doubled since last time. */
const CROWDED = { bytes: 2 ** 28, buffers: 4096 };

/** Tasks waited for until finalizers have made room: they run in tasks of their own, one registry each, at V8's leisure. */
const PATIENCE = 64;

/** What is alive in memory that the garbage collector does not see. */
export class LiveMemory {
  #bytes = 0;
  #buffers = 0;
  #crowded = CROWDED;

  get use(): { readonly buffers: number; readonly bytes: number } {
    return { buffers: this.#buffers, bytes: this.#bytes };
  }

  add(bytes: number): void {
    this.#bytes += bytes;
    this.#buffers++;
  }

  remove(bytes: number): void {
    this.#bytes -= bytes;
    this.#buffers--;
  }

  /** Gives back what dropped tensors held, when there may be much of it. */
  async makeRoom(): Promise<void> {
    const isCrowded = () => this.#bytes >= this.#crowded.bytes || this.#buffers >= this.#crowded.buffers;
    if (!isCrowded()) return;
    await collectGarbage();
    for (let task = 0; task < PATIENCE && isCrowded(); task++) await nextTask();
    this.#crowded = {
      bytes: Math.max(CROWDED.bytes, 2 * this.#bytes),
      buffers: Math.max(CROWDED.buffers, 2 * this.#buffers),
    };
  }
}
