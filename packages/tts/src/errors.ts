import { PosttrainError, showValue } from '@posttrain/interfaces';
import type { Trace } from './trace.js';

/** An option or argument that cannot be meant. Code `TTS_INVALID_ARGUMENT`. */
export class InvalidArgumentError extends PosttrainError {
  constructor(message: string) {
    super('TTS_INVALID_ARGUMENT', message);
  }
}

/** A request asks for something that an endpoint's protocol cannot say. Code `TTS_UNSUPPORTED_REQUEST`. */
export class UnsupportedRequestError extends PosttrainError {
  constructor(message: string) {
    super('TTS_UNSUPPORTED_REQUEST', message);
  }
}

/** A generator or verifier returned something its interface does not allow. Code `TTS_CONTRACT`. */
export class ContractError extends PosttrainError {
  constructor(message: string) {
    super('TTS_CONTRACT', message);
  }
}

/** A search ended with nothing it could return. `trace` still holds everything that was spent. Code `TTS_NO_CANDIDATE`. */
export class NoCandidateError extends PosttrainError {
  readonly trace: Trace;
  constructor(message: string, trace: Trace) {
    super('TTS_NO_CANDIDATE', message);
    this.trace = trace;
  }
}

/** A verifier's function threw or returned something that is not a score. Code `TTS_VERIFIER_FAILED`. */
export class VerifierFailedError extends PosttrainError {
  constructor(message: string, options?: ErrorOptions) {
    super('TTS_VERIFIER_FAILED', message, options);
  }
}

/** A verifier's function did not answer in time; the message names it and the completion. Code `TTS_VERIFIER_TIMEOUT`. */
export class VerifierTimeoutError extends PosttrainError {
  constructor(message: string) {
    super('TTS_VERIFIER_TIMEOUT', message);
  }
}

export interface EndpointErrorDetails {
  /** HTTP status; absent when no answer arrived. */
  readonly status?: number;
  /** Start of the body the endpoint sent, with the API key removed. */
  readonly bodyExcerpt?: string;
  readonly cause?: unknown;
}

/** An HTTP endpoint failed after all retries, or answered something unusable. Code `TTS_ENDPOINT`. */
export class EndpointError extends PosttrainError {
  readonly status: number | undefined;
  readonly bodyExcerpt: string | undefined;
  constructor(message: string, details: EndpointErrorDetails = {}) {
    super('TTS_ENDPOINT', message, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = details.status;
    this.bodyExcerpt = details.bodyExcerpt;
  }
}

/** Throws unless `value` is an integer of at least `minimum`. */
export function assertInteger(where: string, value: number, minimum: number): void {
  if (!Number.isSafeInteger(value) || value < minimum) {
    throw new InvalidArgumentError(`${where} must be an integer of at least ${minimum}, got ${showValue(value)}.`);
  }
}

/** The longest delay `setTimeout` keeps; it fires at once on longer ones. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Throws unless `milliseconds` is a whole number that a timer can wait. */
export function assertMilliseconds(where: string, milliseconds: number, minimum: number): void {
  assertInteger(where, milliseconds, minimum);
  if (milliseconds > LONGEST_TIMER_MS) {
    throw new InvalidArgumentError(
      `${where} must be at most ${LONGEST_TIMER_MS} ms (24 days), got ${showValue(milliseconds)}.`,
    );
  }
}

/** The first `length` characters of `text` on one line, for messages. */
export function excerpt(text: string, length = 120): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > length ? `${line.slice(0, length)}…` : line;
}
