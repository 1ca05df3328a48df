import type { EditableScores } from './editable-scores.js';

/** Forbids end tokens before `minimum` tokens are generated (transformers' `min_new_tokens`). */
export function applyMinTokens(
  scores: EditableScores,
  minimum: number,
  generated: number,
  endTokens: ReadonlySet<number>,
): void {
  if (generated < minimum) for (const token of endTokens) scores.forbid(token);
}
