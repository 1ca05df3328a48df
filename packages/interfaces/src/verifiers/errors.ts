import { PosttrainError } from '../errors.js';
import { excerpt } from '../excerpt.js';

/** The completion that a verifier failed on. */
export interface Culprit {
  readonly verifier: string;
  /** Place of the completion in the batch, counted from 0. */
  readonly index: number;
  readonly completion: string;
}

const named = ({ verifier, index, completion }: Culprit): string =>
  `verifier "${verifier}" on completion ${index} ("${excerpt(completion)}")`;

/** A verifier's function threw (`cause`) or returned something that is not a score. Code `VERIFIER_FAILED`. */
export class VerifierFailedError extends PosttrainError {
  /** Place of the completion in the batch, counted from 0. */
  readonly index: number;
  /** What happened, without who it happened to. */
  readonly problem: string;
  constructor(culprit: Culprit, problem: string, options?: ErrorOptions) {
    super('VERIFIER_FAILED', `${named(culprit)} ${problem}`, options);
    this.index = culprit.index;
    this.problem = problem;
  }
}

/** A verifier's function did not answer in time; the message names it and the completion. Code `VERIFIER_TIMEOUT`. */
export class VerifierTimeoutError extends PosttrainError {
  /** Place of the completion in the batch, counted from 0. */
  readonly index: number;
  constructor(culprit: Culprit, timeoutMs: number) {
    super('VERIFIER_TIMEOUT', `${named(culprit)} took longer than ${timeoutMs} ms.`);
    this.index = culprit.index;
  }
}

/** A verifier needs something that its request does not carry: a row, a column of it, token ids. Code `VERIFIER_INPUT`. */
export class VerifierInputError extends PosttrainError {
  constructor(message: string) {
    super('VERIFIER_INPUT', message);
  }
}
