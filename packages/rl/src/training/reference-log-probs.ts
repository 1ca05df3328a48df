import { sequenceLogProbs } from '@posttrain/lm';
import type { ReferencePolicy } from './reference-policy.js';

/** A prompt and what follows it, as tokens. */
export interface PromptedCompletion {
  readonly promptTokens: readonly number[];
  readonly completionTokens: readonly number[];
}

/** What the reference is, and how much of it fits into memory. */
export interface ReferenceSettings {
  readonly reference: ReferencePolicy;
  readonly maxTokensPerPass: number;
}

/** log π_ref of every token of completions, under the reference as it is now. */
export async function referenceLogProbs(
  { reference: { model, adapter }, maxTokensPerPass }: ReferenceSettings,
  completions: readonly PromptedCompletion[],
): Promise<Float32Array[]> {
  if (completions.length === 0) return [];
  const sequences = completions.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
  const scored = await sequenceLogProbs(model, sequences, { adapter, maxTokensPerPass });
  return completions.map(({ promptTokens }, i) => scored[i]!.logProbs.subarray(promptTokens.length - 1));
}
