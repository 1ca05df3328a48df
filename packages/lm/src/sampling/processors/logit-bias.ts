import type { EditableScores } from './editable-scores.js';

/** Adds a number to the logits of some tokens, as OpenAI's `logit_bias`: −100 or less in effect forbids one. */
export function applyLogitBias(scores: EditableScores, bias: ReadonlyMap<number, number>): void {
  for (const [token, value] of bias) scores.set(token, scores.get(token) + value);
}
