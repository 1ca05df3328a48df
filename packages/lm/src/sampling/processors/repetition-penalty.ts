import type { EditableScores } from './editable-scores.js';

/**
 * Divides the positive and multiplies the negative logits of tokens already seen by a penalty (CTRL, arXiv 1909.05858),
 * once however often they were seen.
 */
export function applyRepetitionPenalty(scores: EditableScores, penalty: number, seen: ReadonlySet<number>): void {
  for (const token of seen) {
    const score = scores.get(token);
    scores.set(token, score < 0 ? score * penalty : score / penalty);
  }
}
