import { type ChatMessage, PosttrainError, type Prompt } from '@posttrain/interfaces';
import { type ChatRowOptions, rowMessages } from './chat-row.js';
import { NoChatTemplateError, type TextModel } from './prompt-tokens.js';

/** A prompt with its completion as one sequence of tokens. */
export interface CompletionTokens {
  /** Of both. */
  readonly tokens: number[];
  /** Where the completion begins: the first token that differs from those of the prompt alone. */
  readonly start: number;
  /** Whether the prompt alone has other last tokens than it has with the completion behind it. */
  readonly retokenizedPrompt: boolean;
  /**
   * Where it was asked for: for each token that the assistant wrote, the index of its message among those of prompt and
   * completion; -1 for all others.
   */
  readonly assistantTurns?: readonly number[];
}

/** Options of `tokenizeCompletion`. */
export interface TokenizeCompletionOptions extends ChatRowOptions {
  /** Also tell which tokens the assistant wrote, and in which message; for conversations. Default false. */
  readonly assistantTurns?: boolean;
}

/** A tokenizer that names no end token: what is trained or scored with it would never end. */
export class NoEndTokenError extends PosttrainError {
  constructor(model: string) {
    super(
      'NO_END_TOKEN',
      `${model}: the tokenizer names no eos_token, so a text completion has no end that could be learnt or scored; name ` +
        'one in tokenizer_config.json, or give conversations and a chat template that ends them',
    );
  }
}

/**
 * The tokens of a prompt and its completion: the one place where training, preferences and reward models make them, as
 * TRL's trainers do. Both texts, or both messages. Texts are joined, get the end token behind them unless they end with it,
 * and are tokenized together with special tokens; messages are joined and go through the chat template. The completion
 * begins where its tokens and those of the prompt alone first differ.
 *
 * @throws NoEndTokenError, NoChatTemplateError, ChatTemplateError; PosttrainError MIXED_COMPLETION for text with messages
 */
export function tokenizeCompletion(
  model: TextModel,
  prompt: Prompt,
  completion: Prompt,
  options: TokenizeCompletionOptions = {},
): CompletionTokens {
  const { assistantTurns: assistantMask = false, ...chat } = options;
  if (isText(prompt) && isText(completion)) {
    return joined(model.tokenizer.encode(prompt), model.tokenizer.encode(prompt + withEndToken(model, completion)));
  }
  if (isText(prompt) || isText(completion)) {
    throw new PosttrainError(
      'MIXED_COMPLETION',
      'prompt and completion must both be texts or both be lists of messages',
    );
  }
  if (!model.chatTemplate) throw new NoChatTemplateError(model.name);
  const asked = rowMessages(prompt);
  const alone = model.chatTemplate.renderChat(asked, { ...chat, addGenerationPrompt: true }).tokenIds;
  const conversation: ChatMessage[] = [...asked, ...rowMessages(completion)];
  const { tokenIds, assistantTurns } = model.chatTemplate.renderChat(conversation, { ...chat, assistantMask });
  return { ...joined(alone, tokenIds), ...(assistantTurns && { assistantTurns }) };
}

/** The text with the end token behind it, unless it ends with it. @throws NoEndTokenError */
export function withEndToken(model: TextModel, text: string): string {
  const end = model.tokenizer.specialTokens.eos_token;
  if (end === undefined) throw new NoEndTokenError(model.name);
  return text.endsWith(end) ? text : text + end;
}

const isText = (value: Prompt): value is string => typeof value === 'string';

function joined(prompt: readonly number[], tokens: number[]): CompletionTokens {
  const start = commonLength(prompt, tokens);
  return { tokens, start, retokenizedPrompt: start < prompt.length };
}

/** How many tokens two sequences share at their beginning. */
function commonLength(a: readonly number[], b: readonly number[]): number {
  const differs = a.findIndex((id, t) => id !== b[t]);
  return differs < 0 ? a.length : differs;
}
