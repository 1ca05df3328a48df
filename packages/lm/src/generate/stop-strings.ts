import { PosttrainError } from '@posttrain/interfaces';

/**
 * Stop-string matcher over a stream of text. What could be the start of one is buffered. Of several, the one
 * that is complete first counts (the longest of those), so that the outcome does not depend on how the text is cut
 * into tokens.
 */
export class StopStrings {
  #text = '';
  #emitted = 0;
  #found: string | null = null;
  readonly #stops: readonly string[];
  readonly #include: boolean;
  readonly #longest: number;

  /** @param include whether the stop string is part of the text */
  constructor(stops: readonly string[], include = false) {
    if (stops.includes('')) throw new PosttrainError('SAMPLING', 'generate: a stop string must not be empty');
    this.#stops = stops;
    this.#include = include;
    this.#longest = Math.max(0, ...stops.map((stop) => stop.length));
  }

  /** All text up to the first stop string, or its end where that is included. */
  get text(): string {
    return this.#text;
  }

  get stopped(): boolean {
    return this.#found !== null;
  }

  /** The stop string that ended the text; null while none has. */
  get found(): string | null {
    return this.#found;
  }

  /** Adds text; gives what is now certain to be part of the completion. */
  push(piece: string): string {
    if (this.stopped) return '';
    // A stop string may begin in what was there before.
    const from = Math.max(0, this.#text.length - this.#longest + 1);
    this.#text += piece;
    const found = this.#stops.flatMap((stop) => {
      const start = this.#text.indexOf(stop, from);
      return start < 0 ? [] : [{ stop, start, end: start + stop.length }];
    });
    const [first] = found.sort((a, b) => a.end - b.end || a.start - b.start);
    if (first) {
      this.#text = this.#text.slice(0, this.#include ? first.end : first.start);
      this.#found = first.stop;
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

  /** Partial match: the length of the longest suffix of the text that is a prefix of a stop string. */
  #heldBack(): number {
    for (let length = Math.min(this.#longest - 1, this.#text.length); length > 0; length--) {
      const end = this.#text.slice(-length);
      if (this.#stops.some((stop) => stop.startsWith(end))) return length;
    }
    return 0;
  }
}
