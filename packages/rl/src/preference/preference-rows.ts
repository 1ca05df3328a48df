import { type ChatMessage, PosttrainError, type Prompt } from '@posttrain/interfaces';
import { type CausalLM, NoChatTemplateError } from '@posttrain/lm';
import type { TokenizedPair } from './preference-loss.js';

/**
 * A preference: `prompt`, `chosen` and `rejected` all as text or all as messages; or without a prompt, which is then what
 * `chosen` and `rejected` begin with.
 */
export interface PreferenceRow {
  readonly prompt?: Prompt;
  readonly chosen: Prompt;
  readonly rejected: Prompt;
}

/** A preference row that cannot be trained on. */
export class PreferenceRowError extends PosttrainError {
  constructor(row: number, message: string) {
    super('PREFERENCE_ROW', `preference row ${row}: ${message}`);
  }
}

const isText = (value: Prompt): value is string => typeof value === 'string';

/** The row with its prompt made explicit: the longest common beginning, as TRL's `extract_prompt` finds it. */
export function withExplicitPrompt(row: PreferenceRow, index: number): Required<PreferenceRow> {
  const { prompt, chosen, rejected } = row;
  if (isText(chosen) !== isText(rejected) || (prompt !== undefined && isText(prompt) !== isText(chosen))) {
    throw new PreferenceRowError(index, 'prompt, chosen and rejected must all be texts or all be lists of messages');
  }
  if (prompt !== undefined) return { prompt, chosen, rejected };
  const [a, b] = [Array.from<unknown>(chosen), Array.from<unknown>(rejected)];
  let cut = 0;
  while (cut < Math.min(a.length, b.length) && JSON.stringify(a[cut]) === JSON.stringify(b[cut])) cut++;
  if (cut > 0 && a[cut - 1] === ' ') cut--;
  if (cut === 0) throw new PreferenceRowError(index, 'has no prompt, and chosen and rejected share no beginning');
  const part = (items: unknown[], start: number, end?: number): Prompt =>
    isText(chosen) ? items.slice(start, end).join('') : (items.slice(start, end) as ChatMessage[]);
  return { prompt: part(a, 0, cut), chosen: part(a, cut), rejected: part(b, cut) };
}

/**
 * The tokens of a pair, as TRL's DPOTrainer makes them: prompt and completion are tokenized together, texts with the end
 * token behind; the completion begins where the prompt's own tokens end or first differ. Both completions are cut at
 * `maxLength` tokens, prompt included; undefined when that leaves one of them no token.
 */
export function tokenizePair(
  model: CausalLM,
  row: PreferenceRow,
  index: number,
  maxLength: number,
): TokenizedPair | undefined {
  const { prompt, chosen, rejected } = withExplicitPrompt(row, index);
  const ids = (completion: Prompt) => {
    if (isText(prompt)) return model.tokenizer.encode(prompt + withEnd(model, completion as string));
    const messages = [...prompt, ...(completion as readonly ChatMessage[])];
    return template(model).renderChat(messages).tokenIds;
  };
  const promptIds = isText(prompt)
    ? model.tokenizer.encode(prompt)
    : template(model).renderChat(prompt, { addGenerationPrompt: true }).tokenIds;
  const [chosenIds, rejectedIds] = [ids(chosen), ids(rejected)];
  const start = Math.min(commonLength(promptIds, chosenIds), commonLength(promptIds, rejectedIds));
  if (start === 0) throw new PreferenceRowError(index, 'its prompt has no tokens that the completions continue');
  if (chosenIds.length <= start || rejectedIds.length <= start) {
    throw new PreferenceRowError(index, 'its chosen or rejected completion has no tokens');
  }
  if (start >= maxLength) return undefined;
  return {
    promptTokens: promptIds.slice(0, start),
    chosenTokens: chosenIds.slice(start, maxLength),
    rejectedTokens: rejectedIds.slice(start, maxLength),
  };
}

function template(model: CausalLM) {
  if (!model.chatTemplate) throw new NoChatTemplateError(model.name);
  return model.chatTemplate;
}

function withEnd(model: CausalLM, text: string): string {
  const end = model.tokenizer.specialTokens.eos_token ?? '';
  return text.endsWith(end) ? text : text + end;
}

function commonLength(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}
