/** Turns token ids into text as they come. Made by `Tokenizer.streamDecoder`. */
export interface StreamDecoder {
  /** Adds a token and returns the text that is now certain: possibly none, never part of a character. */
  push(id: number): string;
  /** Returns what was held back; an incomplete character becomes U+FFFD. The decoder can then be used anew. */
  flush(): string;
}

/**
 * Decodes a window of the last tokens, with and without the newest, and emits the difference: a decoder may strip or
 * join at the start of its input, and the shared window keeps that from showing. Text that ends in U+FFFD is held back,
 * since the next token may complete the character.
 *
 * @param decode the whole-sequence decoder
 * @param skip tokens that have no text
 */
export function createStreamDecoder(
  decode: (ids: readonly number[]) => string,
  skip: (id: number) => boolean,
): StreamDecoder {
  let window: number[] = [];
  let emittedTokens = 0;
  const emit = (force: boolean): string => {
    const before = decode(window.slice(0, emittedTokens));
    const now = decode(window);
    if (now.length <= before.length || (now.endsWith('\uFFFD') && !force)) return '';
    window = window.slice(emittedTokens);
    emittedTokens = window.length;
    return now.slice(before.length);
  };
  return {
    push(id) {
      if (skip(id)) return '';
      window.push(id);
      return emit(false);
    },
    flush() {
      const rest = emit(true);
      window = [];
      emittedTokens = 0;
      return rest;
    },
  };
}
