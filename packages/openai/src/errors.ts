import { PosttrainError } from '@posttrain/interfaces';

/** A request asks for something that an endpoint's protocol cannot say. Code `OPENAI_UNSUPPORTED_REQUEST`. */
export class UnsupportedRequestError extends PosttrainError {
  constructor(message: string) {
    super('OPENAI_UNSUPPORTED_REQUEST', message);
  }
}

/** What is known of an endpoint that failed. */
export interface EndpointErrorDetails {
  /** HTTP status; absent when no answer arrived. */
  readonly status?: number;
  /** Start of the body the endpoint sent, with the API key removed. */
  readonly bodyExcerpt?: string;
  readonly cause?: unknown;
}

/** Details of an answer that came and cannot be used: who looks at the status can tell it from no answer. */
export const answered = { status: 200 } as const satisfies EndpointErrorDetails;

/** An HTTP endpoint failed after all retries, or answered something unusable. Code `OPENAI_ENDPOINT`. */
export class EndpointError extends PosttrainError {
  readonly status: number | undefined;
  readonly bodyExcerpt: string | undefined;
  constructor(message: string, details: EndpointErrorDetails = {}) {
    super('OPENAI_ENDPOINT', message, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = details.status;
    this.bodyExcerpt = details.bodyExcerpt;
  }
}
