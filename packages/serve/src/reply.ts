import { randomUUID } from 'node:crypto';
import type { JsonObject } from '@posttrain/lm';
import { ApiError } from './api-error.js';
import type { Fields } from './fields.js';
import type { RequestContext } from './run-completions.js';
import type { CompletionRequest, ServedModel, TokenLogProb } from './served-model.js';
import { idName } from './token-names.js';

/** What an endpoint answers: one JSON body, perhaps as the pieces of its text, a stream of bodies, or a line of text. */
export type Reply =
  | { readonly kind: 'json'; readonly body: JsonObject }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'pieces'; readonly pieces: readonly Buffer[] }
  | { readonly kind: 'events'; readonly events: AsyncGenerator<JsonObject> };

/** The model that a request names. @throws ApiError 404 */
export function modelOf(
  fields: Fields,
  { models }: RequestContext,
): { readonly name: string; readonly model: ServedModel; readonly version: string } {
  const name = fields.required('model', fields.string('model'));
  const model = models.get(name);
  if (model) return { name, model, version: models.versionOf(name) };
  const known = [...models.names].join(', ');
  throw new ApiError(404, `The model '${name.slice(0, 200)}' does not exist. There are: ${known}.`, {
    param: 'model',
    apiCode: 'model_not_found',
  });
}

/** How the model completes. @throws ApiError for a model that only embeds */
export function completionOf(name: string, model: ServedModel): NonNullable<ServedModel['complete']> {
  if (model.complete) return (request) => model.complete!(request);
  throw new ApiError(400, `The model '${name}' generates no text; it is for /v1/embeddings.`, {
    param: 'model',
    apiCode: 'unsupported_model',
  });
}

/** `n` requests that differ by their seed. */
export const samples = <T extends Pick<CompletionRequest, 'seed'>>(request: T, n: number): T[] =>
  Array.from({ length: n }, (_, i) => ({ ...request, seed: request.seed + i }));

/** The fields that every answer begins with. */
export const replyHead = (prefix: string, object: string, model: string): JsonObject => ({
  id: `${prefix}-${randomUUID()}`,
  object,
  created: Math.floor(Date.now() / 1000),
  model,
});

export const usage = (promptTokens: number, completionTokens: number): JsonObject => ({
  prompt_tokens: promptTokens,
  completion_tokens: completionTokens,
  total_tokens: promptTokens + completionTokens,
});

/** Why a choice ended; both are null while it goes on. */
export interface CompletionEnd extends JsonObject {
  readonly finish_reason: string | null;
  /** As vLLM has it: the stop string that ended it; null where none did. */
  readonly stop_reason: string | null;
}

export const endOf = ({
  finishReason,
  stop,
}: {
  readonly finishReason: string | undefined;
  readonly stop?: string | null;
}): CompletionEnd => ({ finish_reason: finishReason ?? null, stop_reason: stop ?? null });

/** The API's number for a probability of next to nothing; JSON has no infinity. */
export const finiteLogProb = (logProb: number): number => Math.max(logProb, -9999);

export const tokenLogProb = (one: TokenLogProb, asIds: boolean): JsonObject => ({
  token: shownName(one, asIds),
  logprob: finiteLogProb(one.logProb),
  bytes: one.bytes === undefined ? [...Buffer.from(one.token, 'utf8')] : one.bytes,
});

/** @param asIds vLLM's `return_tokens_as_token_ids`: `token_id:12` */
export const shownName = ({ token, tokenId }: TokenLogProb, asIds: boolean): string =>
  asIds && tokenId !== undefined ? idName(tokenId) : token;
