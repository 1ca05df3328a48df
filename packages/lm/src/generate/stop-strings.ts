/** Text generated so far, watched for stop strings. What could be the start of one is held back. */
export class StopStrings {
  #text = '';
  #emitted = 0;
  #stopped = false;
  readonly #stops: readonly string[];
  readonly #longest: number;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop.length > 0);
    this.#longest = Math.max(0, ...this.#stops.map((stop) => stop.length));
  }

  /** All text up to the first stop string. */
  get text(): string {
    return this.#text;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Adds text; gives what is now certain to be part of the completion. */
  push(piece: string): string {
    if (this.#stopped) return '';
    // A stop string may begin in what was there before.
    const from = Math.max(0, this.#text.length - this.#longest);
    this.#text += piece;
    const found = this.#stops.map((stop) => this.#text.indexOf(stop, from)).filter((at) => at >= 0);
    if (found.length > 0) {
      this.#text = this.#text.slice(0, Math.min(...found));
      this.#stopped = true;
      return this.flush();
    }
    return this.#emit(this.#text.length - this.#heldBack());
  }

  /** The rest of the text, when nothing follows. */
  flush(): string {
    return this.#emit(this.#text.length);
  }

  #emit(end: number): string {
    const piece = this.#text.slice(this.#emitted, Math.max(end, this.#emitted));
    this.#emitted = Math.max(end, this.#emitted);
    return piece;
  }

  /** Length of the longest end of the text that begins a stop string. */
  #heldBack(): number {
    for (let length = Math.min(this.#longest - 1, this.#text.length); length > 0; length--) {
      const end = this.#text.slice(-length);
      if (this.#stops.some((stop) => stop.startsWith(end))) return length;
    }
    return 0;
  }
}
