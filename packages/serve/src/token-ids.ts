import { invalidField } from './api-error.js';
import type { CompletionEvent } from './served-model.js';

/** vLLM's `return_token_ids`: the tokens of one choice, end tokens included, streamed. Nothing when it is not asked for. */
export class TokenIds {
  readonly #isAsked: boolean;
  #pending: number[] = [];

  constructor(isAsked: boolean) {
    this.#isAsked = isAsked;
  }

  /** @throws ApiError when the model does not say which token it was */
  add({ tokenId }: CompletionEvent): void {
    if (!this.#isAsked) return;
    if (tokenId === undefined) {
      throw invalidField('return_token_ids', 'this model does not say its tokens.', 'unsupported_parameter');
    }
    this.#pending.push(tokenId);
  }

  /** The field with those since the last call. */
  take(): { readonly token_ids?: readonly number[] } {
    if (!this.#isAsked) return {};
    const token_ids = this.#pending;
    this.#pending = [];
    return { token_ids };
  }
}

/** The field with a prompt's tokens, where it is asked for. */
export const promptTokenIds = (
  isAsked: boolean,
  tokenIds: readonly number[],
): { readonly prompt_token_ids?: readonly number[] } => (isAsked ? { prompt_token_ids: tokenIds } : {});
