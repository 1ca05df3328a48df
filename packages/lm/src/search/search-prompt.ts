import { type Completion, PosttrainError, showValue } from '@posttrain/interfaces';
import { type Adapter, contextOf } from '../model/adapter.js';
import type { Network } from '../model/network.js';
import { checkPrompt } from '../sampling/decode-row.js';

/** A prompt to search from: tokens in, tokens out. */
export interface SearchPrompt {
  readonly prompt: readonly number[];
  /** Most tokens of a hypothesis. The context may allow fewer. */
  readonly maxTokens: number;
  /** Each ends a hypothesis, as its last token. */
  readonly endTokens: ReadonlySet<number>;
  /**
   * Changes the log-probabilities [vocabulary] that the tokens after the generated ones are scored by, in place; −Infinity
   * excludes one. Those that are reported stay the model's.
   */
  readonly process?: (scores: Float64Array, generated: readonly number[]) => void;
  /** Whether these generated tokens end the hypothesis (a stop string, say). */
  readonly isFinished?: (generated: readonly number[]) => boolean;
  /** Asked before every step: whether to end the search with what there is. */
  readonly isCancelled?: () => boolean;
}

/** A sequence that a search has come to, with its score. */
export interface SearchHypothesis {
  /** Generated tokens, with the end token. */
  readonly tokens: readonly number[];
  /** log p of each token under the model, natural log: before `process` and penalties. */
  readonly logProbs: readonly number[];
  /** What the method ranks by. */
  readonly score: number;
  readonly finishReason: Completion['finishReason'];
}

/** `process` has left no token at all. */
export class NoContinuationError extends PosttrainError {
  constructor() {
    super('NO_CONTINUATION', 'search: every token that could come next was excluded; let one through in `process`');
  }
}

/** The prompts with `maxTokens` that fit the context. @throws ContextLengthError, PosttrainError */
export function checkedPrompts<P extends SearchPrompt>(
  network: Network,
  prompts: readonly P[],
  adapter: Adapter | undefined,
): P[] {
  return prompts.map((prompt, i) => {
    checkPrompt(network, prompt.prompt, `prompt ${i}`, adapter);
    if (!Number.isInteger(prompt.maxTokens) || prompt.maxTokens < 1) {
      throw new PosttrainError(
        'SEARCH',
        `search: maxTokens must be a positive integer, not ${showValue(prompt.maxTokens)}`,
      );
    }
    const room = contextOf(network.config, adapter) - prompt.prompt.length;
    return { ...prompt, maxTokens: Math.min(prompt.maxTokens, room) };
  });
}
