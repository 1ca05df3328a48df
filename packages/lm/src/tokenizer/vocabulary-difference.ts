import type { TextTokenizer } from './text-tokenizer.js';

/** What of a tokenizer says which token an id is. */
type Vocabulary = Pick<TextTokenizer, 'vocabSize' | 'idToToken'>;

/**
 * The first id that is one token in a vocabulary and another one in the other, in words; undefined: none. Where one of them has a hole
 * (padding, tokens that the other has added behind its own) they do not contradict each other.
 */
export function vocabularyDifference(one: Vocabulary, other: Vocabulary): string | undefined {
  const shared = Math.min(one.vocabSize, other.vocabSize);
  for (let id = 0; id < shared; id++) {
    const [a, b] = [one.idToToken(id), other.idToToken(id)];
    if (a !== undefined && b !== undefined && a !== b) {
      return `token ${id} is ${JSON.stringify(a)} in the one and ${JSON.stringify(b)} in the other`;
    }
  }
  return undefined;
}
