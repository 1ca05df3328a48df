import type { SamplerContext } from '../token-history.js';
import type { EditableScores } from './editable-scores.js';

/**
 * Forbids the last token of each word whose other tokens are the end of prompt and completion, as transformers'
 * `NoBadWordsLogitsProcessor`: a word that is an end token alone is ignored.
 */
export function applyBadWords(
  scores: EditableScores,
  words: readonly (readonly number[])[],
  context: SamplerContext,
  endTokens: ReadonlySet<number>,
): void {
  const { prompt, generated } = context;
  const length = prompt.length + generated.length;
  const at = (i: number) => (i < prompt.length ? prompt[i] : generated[i - prompt.length]);
  for (const word of words) {
    const last = word.length - 1;
    if (last > length || (last === 0 && endTokens.has(word[0]!))) continue;
    if (word.every((token, i) => i === last || token === at(length - last + i))) scores.forbid(word[last]!);
  }
}
