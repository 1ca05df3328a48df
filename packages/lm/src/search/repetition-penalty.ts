import type { SearchPrompt } from './search-prompt.js';

/**
 * The repetition penalty (arXiv 1909.05858) as Hugging Face `generate` applies it in a search: on log-probabilities, which
 * are negative, so that those of every token seen are multiplied by `penalty`.
 */
export const repetitionPenalty =
  (penalty: number, prompt: readonly number[]): NonNullable<SearchPrompt['process']> =>
  (scores, generated) => {
    for (const token of new Set([...prompt, ...generated]))
      scores[token]! *= scores[token]! < 0 ? penalty : 1 / penalty;
  };
