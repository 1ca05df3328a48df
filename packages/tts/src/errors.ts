import { PosttrainError, showValue } from '@posttrain/interfaces';
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
