import { PosttrainError, showValue } from '@posttrain/interfaces';
import { LONGEST_TIMER_MS } from '@posttrain/interfaces/concurrency';
import type { Trace } from './trace.js';

/** An option or argument that cannot be meant. Code `TTS_INVALID_ARGUMENT`. */
export class InvalidArgumentError extends PosttrainError {
  constructor(message: string) {
    super('TTS_INVALID_ARGUMENT', message);
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

/** Throws unless `value` is an integer of at least `minimum`. */
export function assertInteger(where: string, value: number, minimum: number): void {
  if (!Number.isSafeInteger(value) || value < minimum) {
    throw new InvalidArgumentError(`${where} must be an integer of at least ${minimum}, got ${showValue(value)}.`);
  }
}

/** Throws unless `milliseconds` is a whole number that a timer can wait. */
export function assertMilliseconds(where: string, milliseconds: number, minimum: number): void {
  assertInteger(where, milliseconds, minimum);
  if (milliseconds > LONGEST_TIMER_MS) {
    throw new InvalidArgumentError(
      `${where} must be at most ${LONGEST_TIMER_MS} ms (24 days), got ${showValue(milliseconds)}.`,
    );
  }
}
