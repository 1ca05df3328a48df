import { ApiError } from './api-error.js';
import type { ChatTurnRequest } from './chat-turn.js';
import type { ServedModel } from './served-model.js';

/** Text has about four bytes a token; runs of spaces and the like have more, but hardly a whole prompt of them. */
const BYTES_PER_TOKEN = 32;
const LEAST_BYTES = 2 ** 14;

/**
 * Refuses a prompt that cannot fit the context, before time is spent on its tokens.
 *
 * @param most bytes of UTF-8; undefined: 32 a token of the context, but 16 KiB at least
 * @throws ApiError 400
 */
export function checkPromptBytes(
  { contextLength }: Pick<ServedModel, 'contextLength'>,
  bytes: number,
  param: string,
  most = Math.max(LEAST_BYTES, BYTES_PER_TOKEN * contextLength),
): void {
  if (bytes <= most) return;
  throw new ApiError(
    400,
    `Your ${param} resulted in ${bytes} bytes; this server takes ${most} for a context of ${contextLength} tokens (maxPromptBytes).`,
    { param, apiCode: 'context_length_exceeded' },
  );
}

/** Bytes of a conversation, its tools and its variables as JSON. */
export const bytesOf = ({ messages, tools, variables }: ChatTurnRequest): number =>
  Buffer.byteLength(JSON.stringify([messages, tools, variables]));
