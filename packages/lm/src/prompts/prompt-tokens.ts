import { type ChatMessage, PosttrainError, type Prompt } from '@posttrain/interfaces';
import type { ChatTemplate } from '../chat-template/index.js';
import type { Tokenizer } from '../tokenizer/index.js';
import type { ChatRowOptions } from './chat-row.js';

/** What tokenizing needs of a model. */
export interface TextModel {
  /** For errors. */
  readonly name: string;
  readonly tokenizer: Tokenizer;
  /** How conversations become text; base models have none. */
  readonly chatTemplate?: ChatTemplate | undefined;
}

/** A conversation given to a model whose folder has no chat template. */
export class NoChatTemplateError extends PosttrainError {
  constructor(model: string) {
    super(
      'NO_CHAT_TEMPLATE',
      `${model} has no chat template, so it cannot take a conversation; give it text, or add chat_template.jinja to its folder`,
    );
  }
}

/** A prompt that is tokens already. */
export interface TokenPrompt {
  readonly tokenIds: readonly number[];
  /** Whether the completion's text goes on from the prompt's; a message stands alone. Default true. */
  readonly continuesText?: boolean;
}

export const isTokenPrompt = (prompt: Prompt | TokenPrompt): prompt is TokenPrompt =>
  typeof prompt === 'object' && 'tokenIds' in prompt;

/**
 * The tokens a prompt becomes: text with the tokenizer's special tokens, a conversation through the chat template with
 * the header of the assistant's turn. `prefix` is text that the completion goes on from; `chat` are the tools and template
 * variables of a conversation.
 */
export function promptTokens(
  model: TextModel,
  prompt: Prompt | TokenPrompt,
  prefix = '',
  chat: ChatRowOptions = {},
): number[] {
  if (isTokenPrompt(prompt)) {
    if (prefix === '') return [...prompt.tokenIds];
    throw new PosttrainError('SAMPLING', 'generate: a prompt of token ids has no prefix; append its tokens instead');
  }
  if (typeof prompt === 'string') return model.tokenizer.encode(prompt + prefix);
  if (!model.chatTemplate) throw new NoChatTemplateError(model.name);
  if (prefix === '') return model.chatTemplate.renderChat(prompt, { ...chat, addGenerationPrompt: true }).tokenIds;
  const opened: ChatMessage[] = [...prompt, { role: 'assistant', content: prefix }];
  return model.chatTemplate.renderChat(opened, { ...chat, continueFinalMessage: true }).tokenIds;
}
