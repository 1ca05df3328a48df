import { type CausalLM, chatOptionsOf, promptTokens, rowMessages } from '@posttrain/lm';
import type { PromptRow } from '../rewards/reward.js';

/** The tokens of a row's prompt, as it is sampled from. */
export const tokensOfPrompt = (model: CausalLM, row: PromptRow): number[] =>
  promptTokens(model, typeof row.prompt === 'string' ? row.prompt : rowMessages(row.prompt), '', chatOptionsOf(row));
