import { type Constraint, PosttrainError } from '@posttrain/interfaces';
import {
  type AutomatonParts,
  automatonBuffers,
  type ChatTemplate,
  constraintAutomaton,
  type Tokenizer,
} from '@posttrain/lm';
import type { ChatInput } from './served-model.js';

/** What is to become tokens: a text, or a conversation with the header of the answer. */
export type TextTask = { readonly text: string; readonly addSpecialTokens: boolean } | { readonly chat: ChatInput };

/** What a thread is asked. Objects go as JSON, which is a few times faster than copies of them. */
export type TextWorkerRequest =
  /** Comes once, before the first text. */
  | { readonly kind: 'tokenizer'; readonly folder: string; readonly templates: ChatTemplate['templates'] | undefined }
  | { readonly kind: 'text'; readonly text: string; readonly addSpecialTokens: boolean }
  | { readonly kind: 'chat'; readonly json: string }
  | { readonly kind: 'constraint'; readonly json: string };

/** What it answers, each with its request's kind. */
export type TextWorkerReply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'tokens'; readonly tokenIds: Int32Array<ArrayBuffer> }
  | { readonly kind: 'automaton'; readonly parts: AutomatonParts }
  | { readonly kind: 'error'; readonly code: string | undefined; readonly message: string };

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

/** The automaton of a constraint that is given as JSON. @throws InvalidConstraintError */
export const automatonOf = (json: string): AutomatonParts => constraintAutomaton(JSON.parse(json) as Constraint);

/** What passes to the other thread with a reply. */
export function transferOf(reply: TextWorkerReply): ArrayBuffer[] {
  if (reply.kind === 'tokens') return [reply.tokenIds.buffer];
  return reply.kind === 'automaton' ? automatonBuffers(reply.parts) : [];
}
