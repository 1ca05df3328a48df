import type { Usage } from './generate.js';
import type { Prompt } from './prompt.js';

/** Two completions of one prompt, in the order in which they are shown. */
export interface CompareRequest {
  readonly prompt: Prompt;
  readonly first: string;
  readonly second: string;
  /** The dataset row the prompt came from. */
  readonly row?: Readonly<Record<string, unknown>>;
  /** Cancellation: fires when the verdict is not needed any more. */
  readonly signal?: AbortSignal;
}

/** Which of two completions is better. */
export interface PairVerdict {
  /** `null`: not said, which is not the same as a tie. */
  readonly winner: 'first' | 'second' | 'tie' | null;
  /** Probability that the first is better, of a judge that says how sure it is. */
  readonly preference?: number;
  readonly explanation?: string;
  /** Tokens that judging took, for judges that generate. */
  readonly usage?: Usage;
}

/** Anything that prefers one of two completions: a judge, a preference model, people. */
export interface PairJudge {
  readonly name: string;
  /** One verdict a request, in their order. Each is shown in the order given: who asks swaps. */
  compare(requests: readonly CompareRequest[]): Promise<PairVerdict[]>;
}
