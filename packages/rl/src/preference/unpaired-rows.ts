import { type Prompt, showValue } from '@posttrain/interfaces';
import { chatOptionsOf, type TextModel, tokenizeCompletion } from '@posttrain/lm';
import { cutTokens, PreferenceRowError } from './preference-rows.js';
import type { UnpairedCompletion } from './unpaired-loss.js';

/** A completion that is desirable or not, as TRL's KTOTrainer takes it: prompt and completion both texts, or both messages. */
export interface UnpairedRow {
  readonly prompt: Prompt;
  readonly completion: Prompt;
  /** True: desirable. */
  readonly label: boolean;
  /** JSON schemas of the functions that the assistant may call, or their JSON text. */
  readonly tools?: unknown;
  /** Variables of the chat template. */
  readonly chat_template_kwargs?: unknown;
}

/** Its tokens. */
export type TokenizedCompletion = Omit<UnpairedCompletion, 'reference'>;

/**
 * The tokens of a row (see `tokenizeCompletion`), cut at `maxLength`, prompt included; undefined when that leaves the completion no
 * token. Of a row that is tokens already, as sampled ones are, these are taken as they are.
 *
 * @throws PreferenceRowError naming the row
 */
export function tokenizeUnpaired(
  model: TextModel,
  row: UnpairedRow | TokenizedCompletion,
  index: number,
  maxLength: number,
): TokenizedCompletion | undefined {
  if ('promptTokens' in row) {
    const cut = cutTokens(row.promptTokens, [row.completionTokens], index, maxLength);
    if (typeof row.desirable !== 'boolean') {
      throw new PreferenceRowError(index, `desirable must be true or false, and is ${showValue(row.desirable)}`);
    }
    return cut && { ...row, completionTokens: cut[0]! };
  }
  const { prompt, completion, label } = row;
  if (typeof label !== 'boolean') {
    throw new PreferenceRowError(index, `label must be true (desirable) or false, and is ${showValue(label)}`);
  }
  for (const [name, value] of Object.entries({ prompt, completion })) {
    if (typeof value === 'string' || Array.isArray(value)) continue;
    throw new PreferenceRowError(index, `${name} must be a text or a list of messages, and is ${showValue(value)}`);
  }
  let tokens: readonly number[];
  let start: number;
  try {
    ({ tokens, start } = tokenizeCompletion(model, prompt, completion, chatOptionsOf(row)));
  } catch (cause) {
    throw new PreferenceRowError(index, (cause as Error).message, { cause });
  }
  if (start === 0) throw new PreferenceRowError(index, 'its prompt has no tokens that the completion continues');
  if (tokens.length <= start) throw new PreferenceRowError(index, 'its completion has no tokens');
  if (start >= maxLength) return undefined;
  return {
    promptTokens: tokens.slice(0, start),
    completionTokens: tokens.slice(start, maxLength),
    desirable: label,
  };
}
