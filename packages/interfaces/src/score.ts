import type { Prompt } from './prompt.js';

/** A text whose log-likelihood is asked for. */
export interface ScoreRequest {
  readonly prompt: Prompt;
  /** The text whose log-likelihood given the prompt is asked for. */
  readonly continuation: string;
}

/** The log-likelihood of a text, given what stands before it. */
export interface ContinuationScore {
  /** Sum over the continuation's tokens of log p(token | everything before), natural log. */
  readonly logProb: number;
  /** Number of tokens of the continuation. */
  readonly tokens: number;
  /** Whether greedy decoding would have produced exactly this continuation. */
  readonly isGreedy: boolean;
}

/** Anything that gives log-likelihoods of given text. */
export interface Scorer {
  readonly name: string;
  score(requests: readonly ScoreRequest[]): Promise<ContinuationScore[]>;
}

/** Anything that gives log-likelihoods of whole texts of any length, in windows (`loglikelihood_rolling` of lm-evaluation-harness). */
export interface RollingScorer {
  readonly name: string;
  /** One score a text, in their order: the sum over all its tokens, each predicted once. */
  scoreRolling(texts: readonly string[]): Promise<ContinuationScore[]>;
}
