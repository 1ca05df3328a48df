import { isPosttrainError, type OptionError, PosttrainError } from '@posttrain/interfaces';
import type { JsonObject } from '@posttrain/lm';

interface ApiErrorDetails {
  /** OpenAI's kinds: `invalid_request_error` (default for 4xx), `rate_limit_error`, `server_error`. */
  readonly type?: string;
  /** The field of the request that is wrong. */
  readonly param?: string;
  /** What a program can match. */
  readonly apiCode?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer that is an error, in the shape of the OpenAI API. */
export class ApiError extends PosttrainError {
  readonly status: number;
  readonly type: string;
  readonly param: string | undefined;
  readonly apiCode: string | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, details: ApiErrorDetails = {}, options?: ErrorOptions) {
    super('API_ERROR', clipped(message), options);
    this.status = status;
    this.type = details.type ?? (status < 500 ? 'invalid_request_error' : 'server_error');
    this.param = details.param;
    this.apiCode = details.apiCode;
    this.headers = details.headers ?? {};
  }

  /** The body of the answer. */
  get body(): JsonObject {
    return {
      error: { message: this.message, type: this.type, param: this.param ?? null, code: this.apiCode ?? null },
    };
  }
}

/** What a request says may be in a message, and may be megabytes. */
const MOST_CHARACTERS = 500;

const clipped = (message: string): string =>
  message.length <= MOST_CHARACTERS ? message : `${message.slice(0, MOST_CHARACTERS)} …`;

/** 400 for one field. */
export const invalidField = (param: string, problem: string, apiCode = 'invalid_value'): ApiError =>
  new ApiError(400, `Invalid '${param}': ${problem}`, { param, apiCode });

/** Codes of errors that the request is to blame for, and what the API calls them. */
const REQUEST_ERRORS: Readonly<Record<string, string>> = {
  CONTEXT_LENGTH: 'context_length_exceeded',
  EMPTY_PROMPT: 'empty_prompt',
  SAMPLING: 'invalid_value',
  SEED: 'invalid_value',
  CHAT_TEMPLATE: 'invalid_messages',
  NO_CHAT_TEMPLATE: 'no_chat_template',
  INVALID_CONSTRAINT: 'invalid_constraint',
  TOKEN_BYTES: 'unsupported_parameter',
  NO_TOKEN_ALLOWED: 'invalid_value',
  SEQUENCE_LENGTH: 'invalid_value',
  ADAPTER_INPUTS: 'invalid_value',
  TOKEN_ID: 'invalid_value',
  CACHE_TOO_SMALL: 'context_length_exceeded',
};

/** Whether `generate` says of an option, which the request gave it, that it cannot be right. */
const isOfGenerate = (error: PosttrainError): boolean =>
  error.code === 'INVALID_OPTION' && (error as Partial<OptionError>).where === 'generate';

/** What a client is told of an error. Only errors meant for it keep their message; `cause` is for the server's log. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (isPosttrainError(error)) {
    const apiCode = isOfGenerate(error) ? 'invalid_value' : REQUEST_ERRORS[error.code];
    if (apiCode !== undefined) return new ApiError(400, error.message, { apiCode }, { cause: error });
  }
  if (isPosttrainError(error) && error.code === 'NON_FINITE_LOGITS') {
    return new ApiError(500, error.message, { apiCode: 'non_finite_logits' }, { cause: error });
  }
  const message = 'The server had an error while processing your request.';
  return new ApiError(500, message, { apiCode: 'internal_error' }, { cause: error });
}
