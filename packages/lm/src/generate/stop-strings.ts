import { PosttrainError } from '@posttrain/interfaces';

/**
 * Text generated so far, watched for stop strings. What could be the start of one is held back. Of several, the one
 * that is complete first counts (the longest of those), so that the outcome does not depend on how the text is cut
 * into tokens.
 */
export class StopStrings {
  #text = '';
  #emitted = 0;
  #stopped = false;
  readonly #stops: readonly string[];
  readonly #longest: number;

  constructor(stops: readonly string[]) {
    if (stops.includes('')) throw new PosttrainError('SAMPLING', 'generate: a stop string must not be empty');
    this.#stops = stops;
    this.#longest = Math.max(0, ...stops.map((stop) => stop.length));
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
    const from = Math.max(0, this.#text.length - this.#longest + 1);
    this.#text += piece;
    const found = this.#stops.flatMap((stop) => {
      const start = this.#text.indexOf(stop, from);
      return start < 0 ? [] : [{ start, end: start + stop.length }];
    });
    const [first] = found.sort((a, b) => a.end - b.end || a.start - b.start);
    if (first) {
      this.#text = this.#text.slice(0, first.start);
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
    const piece = this.#text.slice(this.#emitted, end);
    this.#emitted = end;
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
