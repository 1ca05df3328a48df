import type { StageChain } from './decoders/stages.js';

/** Streaming detokenizer: token ids in, text out. Made by `Tokenizer.streamDecoder`. */
export interface StreamDecoder {
  /**
   * Adds a token and returns the text that is now certain, whatever follows: possibly none, never part of a character.
   *
   * @throws TokenIdError for an id that the tokenizer does not have
   */
  push(id: number): string;
  /** Returns what was held back; an incomplete character becomes U+FFFD. The decoder can then be used anew. */
  flush(): string;
}

/** @param tokenOf a token's text; undefined for one that is left out */
export function createStreamDecoder(stages: StageChain, tokenOf: (id: number) => string | undefined): StreamDecoder {
  let isEmpty = true;
  return {
    push(id) {
      const token = tokenOf(id);
      if (token === undefined) return '';
      isEmpty = false;
      return stages.push(token);
    },
    flush() {
      const rest = isEmpty ? '' : stages.flush();
      isEmpty = true;
      return rest;
    },
  };
}
