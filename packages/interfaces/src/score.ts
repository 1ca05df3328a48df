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

/** What a model says of a sequence of tokens. */
export interface TokenScores {
  /** log p of each token but the first, given those before it, natural log. */
  readonly logProbs: ArrayLike<number>;
  /** What each token but the first is as text, where that is known: two vocabularies can then be told apart. */
  readonly texts?: readonly string[];
}

/** Anything that gives log-probabilities of tokens by their ids: a teacher or a reference, here or behind an endpoint. */
export interface TokenScorer {
  readonly name: string;
  /** One answer a sequence, in their order; sequences have two tokens or more. */
  scoreTokens(
    sequences: readonly (readonly number[])[],
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<TokenScores[]>;
}

/** A sequence of which some tokens may be changed, and the target at its end. */
export interface ChangeableSequence {
  readonly tokens: readonly number[];
  /** Tokens from `from` up to `to`, itself not among them, may be changed. */
  readonly from: number;
  readonly to: number;
  /** The target is all from here on: `to` or later. */
  readonly targetFrom: number;
}

/** How likely a target is after some tokens, and how that moves with each of them: what attacks by gradients ask of a model. */
export interface InputGradients {
  readonly name: string;
  readonly vocabSize: number;
  /** Of each sequence the mean of −log p over the target's tokens, in nats, and whether greedy decoding would have produced the target. */
  losses(sequences: readonly ChangeableSequence[]): Promise<{ readonly loss: number; readonly isGreedy: boolean }[]>;
  /** The gradient of that loss with respect to the one-hot vectors of the tokens that may be changed: a row [vocabSize] a token. */
  inputGradient(sequence: ChangeableSequence): Promise<ArrayLike<number>[]>;
}
