import type { GenerateRequest } from '@posttrain/interfaces';
import type { StreamDecoder, Tokenizer } from '../tokenizer/index.js';

/** Tokens of the prompt that the decoder sees first: some decoders treat the start of their input specially. */
const DECODER_CONTEXT = 6;

/**
 * What turns the tokens generated for a request, whose prompt has the tokens `prompt`, into text: text that goes on from
 * text is decoded behind it, so that joined they are one text; a new message stands alone.
 */
export function completionDecoder(
  tokenizer: Tokenizer,
  request: Pick<GenerateRequest, 'prompt' | 'prefix'>,
  prompt: readonly number[],
): StreamDecoder {
  const decoder = tokenizer.streamDecoder({ skipSpecialTokens: true });
  const continues = typeof request.prompt === 'string' || (request.prefix ?? '') !== '';
  for (const token of continues ? prompt.slice(-DECODER_CONTEXT) : []) decoder.push(token);
  return decoder;
}
