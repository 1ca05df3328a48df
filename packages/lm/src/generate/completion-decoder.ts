import type { Prompt } from '@posttrain/interfaces';
import { isTokenPrompt, type TokenPrompt } from '../prompts/prompt-tokens.js';
import type { StreamDecoder, Tokenizer } from '../tokenizer/index.js';

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
 * Incremental detokenizer of a request whose prompt has the tokens `prompt`: a continuation of text is decoded in the
 * context of the prompt, so that joined they are one text; a new message is decoded by itself.
 */
export function completionDecoder(tokenizer: Tokenizer, request: Continued, prompt: readonly number[]): StreamDecoder {
  const decoder = tokenizer.streamDecoder({ skipSpecialTokens: true });
  // A row of a padded embedding is no token and has no text.
  const isToken = (id: number) => tokenizer.idToToken(id) !== undefined;
  const context = continuesText(request) ? prompt.slice(-DECODER_CONTEXT).filter(isToken) : [];
  const given = context.map((id) => decoder.push(id)).join('');
  // Text of the prompt that the decoder still holds back.
  let owed = tokenizer.decode(context, { skipSpecialTokens: true }).slice(given.length);
  const ofCompletion = (text: string): string => {
    let same = 0;
    while (same < text.length && text[same] === owed[same]) same++;
    if (text !== '') owed = same === text.length ? owed.slice(same) : '';
    return text.slice(same);
  };
  return {
    push: (id) => (isToken(id) ? ofCompletion(decoder.push(id)) : ''),
    flush: () => ofCompletion(decoder.flush()),
  };
}
