import { PosttrainError } from '@posttrain/interfaces';
import type { ChatTemplate } from '../chat-template/index.js';
import type { Tokenizer } from '../tokenizer/index.js';
import type { ChatInput } from './served-model.js';

/** What is to become tokens: a text, or a conversation with the header of the answer. */
export type TextTask = { readonly text: string; readonly addSpecialTokens: boolean } | { readonly chat: ChatInput };

/** What a worker is started with. */
export interface TextWorkerData {
  /** A tokenizer's. */
  readonly folder: string;
  readonly templates: ChatTemplate['templates'] | undefined;
}

/** Tokens, or an error; no tokens once it is ready for its first task. */
export type TextWorkerReply =
  | { readonly tokenIds: Int32Array }
  | { readonly code: string | undefined; readonly message: string };

export interface Texts {
  readonly tokenizer: Tokenizer;
  readonly chatTemplate: ChatTemplate | undefined;
}

/** @throws PosttrainError */
export function tokensOf({ tokenizer, chatTemplate }: Texts, task: TextTask): readonly number[] {
  try {
    if ('text' in task) return tokenizer.encode(task.text, { addSpecialTokens: task.addSpecialTokens });
    const { messages, tools, variables } = task.chat;
    return chatTemplate!.renderChat(messages, {
      addGenerationPrompt: true,
      ...(tools ? { tools } : {}),
      ...(variables ? { variables } : {}),
    }).tokenIds;
  } catch (error) {
    // Calls or arguments without end.
    if (!(error instanceof RangeError)) throw error;
    throw new PosttrainError('SEQUENCE_LENGTH', 'the prompt is too long or too deep to be tokenised', { cause: error });
  }
}
