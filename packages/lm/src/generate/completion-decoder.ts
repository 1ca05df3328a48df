import type { Prompt } from '@posttrain/interfaces';
import type { StreamDecoder, Tokenizer } from '../tokenizer/index.js';
import { isTokenPrompt, type TokenPrompt } from './prompt-tokens.js';

/** Tokens of the prompt that the decoder sees first: some decoders treat the start of their input specially. */
const DECODER_CONTEXT = 6;

interface Continued {
  readonly prompt: Prompt | TokenPrompt;
  readonly prefix?: string;
}

/** Whether a completion goes on from text, and is not a message of its own. */
export const continuesText = ({ prompt, prefix = '' }: Continued): boolean =>
  isTokenPrompt(prompt) ? (prompt.continuesText ?? true) : typeof prompt === 'string' || prefix !== '';

/**
 * What turns the tokens generated for a request, whose prompt has the tokens `prompt`, into text: text that goes on from
 * text is decoded behind it, so that joined they are one text; a new message stands alone.
 */
export function completionDecoder(tokenizer: Tokenizer, request: Continued, prompt: readonly number[]): StreamDecoder {
  const decoder = tokenizer.streamDecoder({ skipSpecialTokens: true });
  for (const token of continuesText(request) ? prompt.slice(-DECODER_CONTEXT) : []) decoder.push(token);
  return decoder;
}
