import { type ChatMessage, PosttrainError, type Prompt, showValue } from '@posttrain/interfaces';
import { chatOptionsOf, promptTokens, rowMessages, type TextModel, tokenizeCompletion } from '@posttrain/lm';
import type { TokenizedRow } from '../sft/tokenize-rows.js';

/** A prompt to learn on, with a completion of the data; or a conversation, whose last message is the completion. */
export interface DistillRow {
  readonly prompt?: Prompt;
  readonly completion?: Prompt;
  readonly messages?: readonly ChatMessage[];
  /** JSON schemas of the functions that the assistant may call, or their JSON text. */
  readonly tools?: unknown;
  /** Variables of the chat template. */
  readonly chat_template_kwargs?: unknown;
}

/** A row as `distill` uses it. */
export interface DistillPrompt {
  /** As it is sampled from. */
  readonly promptTokens: readonly number[];
  /** Whether a completion goes on from the prompt's text. */
  readonly continuesText: boolean;
  /** With the data's completion, where the row has one. */
  readonly data?: TokenizedRow;
}

/** A row that cannot be distilled on. */
export class DistillRowError extends PosttrainError {
  constructor(row: number, problem: string, options?: ErrorOptions) {
    super('DISTILL_ROW', `row ${row}: ${problem}`, options);
  }
}

/** The tokens of a row's prompt, and of its completion. @throws DistillRowError */
export function distillPrompt(
  model: TextModel,
  row: DistillRow,
  index: number,
  { maxLength, needsData }: { readonly maxLength: number; readonly needsData: boolean },
): DistillPrompt {
  const { prompt, completion } = partsOf(row, index);
  try {
    const chat = chatOptionsOf(row);
    const asked = typeof prompt === 'string' ? prompt : rowMessages(prompt);
    const alone = promptTokens(model, asked, '', chat);
    if (alone.length === 0) throw new DistillRowError(index, 'its prompt has no tokens');
    if (alone.length >= maxLength) {
      const problem = `its prompt has ${alone.length} tokens, and maxLength ${maxLength} leaves no room for one more`;
      throw new DistillRowError(index, `${problem}; shorten it or leave the row out`);
    }
    const common = { promptTokens: alone, continuesText: typeof prompt === 'string' };
    if (completion === undefined) {
      if (!needsData) return common;
      const remedy = 'give one, or lmbda: 1 (all from the student) or seqKd: true (the others from the teacher)';
      throw new DistillRowError(index, `has no completion, and with these options data is trained on; ${remedy}`);
    }
    const { tokens, start } = tokenizeCompletion(model, prompt, completion, chat);
    const kept = tokens.slice(0, maxLength);
    const data = { tokens: kept, mask: kept.map((_, t) => (t > 0 && t >= start ? 1 : 0)) };
    if (data.mask.includes(1)) return { ...common, data };
    throw new DistillRowError(index, `none of the tokens of its completion are within maxLength ${maxLength}`);
  } catch (cause) {
    if (cause instanceof DistillRowError) throw cause;
    throw new DistillRowError(index, (cause as Error).message, { cause });
  }
}

function partsOf(row: DistillRow, index: number): { readonly prompt: Prompt; readonly completion: Prompt | undefined } {
  const { prompt, completion, messages } = row;
  if (prompt === undefined && Array.isArray(messages) && messages.length >= 2) {
    return { prompt: messages.slice(0, -1), completion: messages.slice(-1) };
  }
  if (typeof prompt === 'string' || Array.isArray(prompt)) return { prompt, completion: completion ?? undefined };
  const columns = Object.keys(row).join(', ') || 'none';
  const problem = `prompt must be a text or a list of messages, and is ${showValue(prompt)}`;
  throw new DistillRowError(index, `${problem}; its columns are ${columns}`);
}
