import type { Completion, Usage } from './generate.js';
import type { ChatMessage, Prompt } from './prompt.js';

/**
 * A completion to be judged. Whoever asks gives what it knows: a search, a grade and a reward ask the same verifiers.
 */
export interface VerifyRequest {
  readonly prompt: Prompt;
  /** The completion to judge (its text). */
  readonly completion: string;
  /** The dataset row the prompt came from; programmatic checkers find the reference answer here. */
  readonly row?: Readonly<Record<string, unknown>>;
  /** Its token ids as sampled, the end token included, when the generator knows them. */
  readonly tokenIds?: readonly number[];
  /** Why it ended; `length`: it was cut off. */
  readonly finishReason?: Completion['finishReason'];
  /** The conversation that led to it where that is more than the prompt: earlier turns, tool calls and their results. */
  readonly messages?: readonly ChatMessage[];
  /** Training step, counted from 0, when it is judged as a reward. */
  readonly step?: number;
  /** Cancellation: fires when the verdict is not needed any more. */
  readonly signal?: AbortSignal;
}

/** What a verifier says of one completion. */
export interface Verdict {
  /** Higher is better, of checkers 1 is right and 0 is wrong; `null` means "not scorable", which is not the same as 0. */
  readonly score: number | null;
  /** Scores of the completion's steps, in order, for process verifiers. */
  readonly stepScores?: readonly number[];
  /** The final answer found in the completion, for votes; `null` when none was found; absent when it was not searched. */
  readonly answer?: string | null;
  readonly explanation?: string;
  /** Tokens that judging took, for verifiers that generate. */
  readonly usage?: Usage;
}

/**
 * Anything that judges completions: a checker, a reward, a grader, a reward model, a process reward model, a judge. It gets
 * the completions together, so that a model can score them as one batch.
 */
export interface Verifier {
  readonly name: string;
  /** One verdict a request, in their order. Requests are independent of each other. */
  verify(requests: readonly VerifyRequest[]): Promise<Verdict[]>;
}
