import type { Prompt } from './prompt.js';

/** How to draw tokens. Names are those of Hugging Face `GenerationConfig`, in camel case. */
export interface SamplingParams {
  /** Most tokens to generate for one completion. Default: the generator's own. */
  readonly maxTokens?: number;
  /** Divides the logits; 0 means greedy. Default 1. */
  readonly temperature?: number;
  /** Keep the k most likely tokens. Default: all. */
  readonly topK?: number;
  /** Keep the smallest set of tokens whose probability reaches p. Default 1. */
  readonly topP?: number;
  /** Keep tokens with at least this fraction of the most likely token's probability. Default 0. */
  readonly minP?: number;
  /** Divides positive and multiplies negative logits of tokens already seen (arXiv 1909.05858). Default 1. */
  readonly repetitionPenalty?: number;
  /** Keep the most typical tokens whose probability reaches this (arXiv 2202.00666). Default 1: all. */
  readonly typicalP?: number;
  /** Keep tokens with at least this probability (arXiv 2210.15191). Default 0. */
  readonly epsilonCutoff?: number;
  /** Keep tokens with at least a probability that falls with the entropy (arXiv 2210.15191). Default 0. */
  readonly etaCutoff?: number;
  /** Subtracted from the logit of every token already generated (OpenAI). Default 0. */
  readonly presencePenalty?: number;
  /** Subtracted from the logit of a token for each time that it was generated (OpenAI). Default 0. */
  readonly frequencyPenalty?: number;
  /** Added to the logits of tokens, by id (OpenAI). Default: none. */
  readonly logitBias?: Readonly<Record<number, number>>;
  /** Sequences of token ids that are not generated. Default: none. */
  readonly badWordsIds?: readonly (readonly number[])[];
  /** No n-gram of this size, of prompt and completion, comes twice. Default 0: they may. */
  readonly noRepeatNgramSize?: number;
  /** No end token before so many tokens. Default 0. */
  readonly minNewTokens?: number;
  /** The form that the completion must have. Default: none. */
  readonly constraint?: Constraint;
  /** Generation ends before the first of these strings, which is not part of the text. */
  readonly stop?: readonly string[];
  /** Same seed, same weights and same request: same completion. */
  readonly seed?: number;
}

/** A form that generated text must have from its first to its last character. */
export type Constraint =
  /** A regular expression of ECMAScript that matches the whole text. */
  | { readonly type: 'regex'; readonly pattern: string }
  /** JSON that satisfies a JSON Schema. */
  | { readonly type: 'json-schema'; readonly schema: Readonly<Record<string, unknown>> }
  /** Any JSON value. */
  | { readonly type: 'json' }
  /** A context-free grammar in EBNF whose first rule is `root`, as llama.cpp's GBNF. */
  | { readonly type: 'grammar'; readonly ebnf: string }
  /** One of these texts. */
  | { readonly type: 'choice'; readonly choices: readonly string[] };

/** What is to be generated: a prompt and how to go on from it. */
export interface GenerateRequest extends SamplingParams {
  readonly prompt: Prompt;
  /** Number of independent completions of this prompt. Default 1. */
  readonly n?: number;
  /** Text the completion must continue: the start of the answer (an assistant prefill for conversations). */
  readonly prefix?: string;
  /** Ask for the log-probability of each generated token. Default false. */
  readonly logProbs?: boolean;
  /** Ask for so many of the most likely tokens in the place of each generated token. Default 0. */
  readonly topLogProbs?: number;
  /** Ask for the entropy of the distribution of each generated token. Default false. */
  readonly entropies?: boolean;
  /** The stop string that ends a completion is the end of its text. Default false: it is left out. */
  readonly includeStop?: boolean;
  readonly signal?: AbortSignal;
}

/** A token that could have come, and log p of it. */
export interface TokenLogProb {
  readonly tokenId: number;
  readonly logProb: number;
}

/** Tokens counted by the generator itself. */
export interface Usage {
  /** Of the prompt this completion continues. A generator that can share it may report 0 on all but the first of n. */
  readonly promptTokens: number;
  /**
   * Those of the prompt that were not computed for it: a cache had them, or they were computed for another completion. Over
   * completions `promptTokens − cachedPromptTokens` sums to what was computed. Absent: the generator does not know.
   */
  readonly cachedPromptTokens?: number;
  readonly completionTokens: number;
}

/** One completion of a request. */
export interface Completion {
  /** Generated text, without the prompt, the prefix and (unless `includeStop`) the stop string. */
  readonly text: string;
  /** `stop`: an end token or a stop string; `length`: ran into `maxTokens` or the context; `abort`: the signal fired. */
  readonly finishReason: 'stop' | 'length' | 'abort';
  /**
   * The stop string that ended it: a step of more to come, where steps end at one. `null`: none did, it is the model's own end
   * or was cut off. Absent: the generator does not know, or was given no `stop`.
   */
  readonly stop?: string | null;
  readonly usage: Usage;
  /** Generated token ids, when the generator knows them. */
  readonly tokenIds?: readonly number[];
  /**
   * log p of each generated token, natural log, under softmax(logits / temperature) before truncation (top-k, top-p,
   * min-p) and penalties; temperature 0 counts as 1. One per generated token.
   */
  readonly logProbs?: readonly number[];
  /** The most likely tokens in the place of each generated one, falling, under the distribution of `logProbs`. */
  readonly topLogProbs?: readonly (readonly TokenLogProb[])[];
  /** −Σ p log p of that distribution, in nats, for each generated token. */
  readonly entropies?: readonly number[];
  /** What else a generator was asked to say of that distribution, by name: a number for each generated token. */
  readonly statistics?: Readonly<Record<string, readonly number[]>>;
  /**
   * log of the probability that each token was drawn with: under what temperature, truncation, penalties, a constraint and other
   * models made of the distribution. exp(logProbs − samplingLogProbs) is the weight of importance sampling.
   */
  readonly samplingLogProbs?: readonly number[];
  /**
   * The ids that each token was drawn from, rising, where truncation (top-k, top-p, min-p) left some out; null: none was left out. A
   * trainer that renormalises over them is on policy (`samplingMaskReplay` of rl).
   */
  readonly keptTokens?: readonly (readonly number[] | null)[];
  /**
   * Places in `tokenIds` of tokens that were put there and not drawn (budget forcing, say); absent when there are none.
   * They have no part in the probability of the completion: leave them out of sums of `logProbs`.
   */
  readonly forced?: readonly number[];
}

/** Anything that completes prompts: a local model, an OpenAI-compatible endpoint, a scripted test double. */
export interface Generator {
  /** A name for reports: a model id or folder. */
  readonly name: string;
  /** One array of `n` completions per request, in request order. Requests are independent of each other. */
  generate(requests: readonly GenerateRequest[]): Promise<Completion[][]>;
}
