import type { EditableScores } from './editable-scores.js';

/**
 * Subtracts count · frequency + [count > 0] · presence from the logit of each generated token, count being how often it was
 * generated: the formula of OpenAI's API reference. The prompt does not count.
 */
export function applyPresenceFrequencyPenalty(
  scores: EditableScores,
  penalties: { readonly presence: number; readonly frequency: number },
  counts: ReadonlyMap<number, number>,
): void {
  for (const [token, count] of counts) {
    scores.set(token, scores.get(token) - count * penalties.frequency - penalties.presence);
  }
}
