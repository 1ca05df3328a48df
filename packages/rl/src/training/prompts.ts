import { PosttrainError } from '@posttrain/interfaces';
import { type Adapter, contextOf } from '@posttrain/lm';
import { warn } from '@posttrain/training';
import type { PromptRow } from '../rewards/reward.js';
import { tokensOfPrompt } from '../rollout/tokens-of-prompt.js';
import type { PolicySettings } from './policy-options.js';

/** A row whose prompt cannot be sampled from. */
export class PromptRowError extends PosttrainError {
  constructor(row: number, problem: string, options?: ErrorOptions) {
    super('PROMPT_ROW', `row ${row}: ${problem}`, options);
  }
}

/**
 * The tokens of all prompts, so that what is wrong with one is known before the first step. Warns where the context leaves
 * less room than `maxCompletionLength`.
 *
 * @throws PromptRowError naming the row
 */
export function checkPrompts(
  rows: readonly PromptRow[],
  settings: Pick<PolicySettings, 'model' | 'maxCompletionLength' | 'onWarning'> & { readonly adapter?: Adapter },
): number[][] {
  const { model, adapter, maxCompletionLength } = settings;
  const context = contextOf(model.config, adapter);
  let [short, longest] = [0, 0];
  const all = rows.map((row, i) => {
    if (row.prompt === undefined || row.prompt === null) {
      throw new PromptRowError(i, `has no prompt; its columns are ${Object.keys(row).join(', ') || 'none'}`);
    }
    let tokens: number[];
    try {
      tokens = tokensOfPrompt(model, row);
    } catch (cause) {
      throw new PromptRowError(i, `its prompt cannot be tokenized: ${(cause as Error).message}`, { cause });
    }
    if (tokens.length === 0) throw new PromptRowError(i, 'its prompt has no tokens');
    if (tokens.length >= context) {
      const room = `the context of ${context} leaves no room for a completion; shorten it or leave the row out`;
      throw new PromptRowError(i, `its prompt has ${tokens.length} tokens, and ${room}`);
    }
    if (tokens.length + maxCompletionLength > context) short++;
    longest = Math.max(longest, tokens.length);
    return tokens;
  });
  if (short > 0) {
    warn(
      settings,
      `trainPolicy: maxCompletionLength ${maxCompletionLength} does not fit behind ${short} of ${rows.length} prompts into the ` +
        `context of ${context} (the longest prompt has ${longest} tokens): their completions end where the context does.`,
    );
  }
  return all;
}
