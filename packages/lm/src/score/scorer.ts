import {
  assertKnownOptions,
  type ContinuationScore,
  PosttrainError,
  type ScoreRequest,
  type Scorer,
} from '@posttrain/interfaces';
import { promptTokens } from '../generate/prompt-tokens.js';
import type { Adapter } from '../model/adapter.js';
import type { CausalLM } from '../model/causal-lm.js';
import { sequenceLogProbs } from './token-log-probs.js';

export interface LocalScorerOptions {
  /** Asked before every call. Default: none. */
  readonly adapter?: () => Adapter;
}

/** A local model as a `Scorer`: log-likelihoods of continuations. */
export class LocalScorer implements Scorer {
  readonly name: string;
  readonly #model: CausalLM;
  readonly #options: LocalScorerOptions;

  constructor(model: CausalLM, options: LocalScorerOptions = {}) {
    assertKnownOptions('LocalScorer', options, ['adapter']);
    this.name = model.name;
    this.#model = model;
    this.#options = options;
  }

  /**
   * The continuation's tokens are those that follow the prompt's in the tokens of prompt + continuation, with spaces at
   * the end of the prompt counted to the continuation, as lm-evaluation-harness splits them.
   */
  async score(requests: readonly ScoreRequest[]): Promise<ContinuationScore[]> {
    const sequences = requests.map((request, i) => this.#split(request, i));
    const adapter = this.#options.adapter?.();
    const scored = await sequenceLogProbs(
      this.#model.network,
      this.#model.weights,
      sequences.map(({ tokens }) => tokens),
      adapter ? { adapter } : {},
    );
    return scored.map(({ logProbs, isGreedy }, i): ContinuationScore => {
      const from = sequences[i]!.start - 1;
      return {
        logProb: logProbs.subarray(from).reduce((a, b) => a + b, 0),
        tokens: logProbs.length - from,
        isGreedy: isGreedy.subarray(from).every((flag) => flag === 1),
      };
    });
  }

  #split({ prompt, continuation }: ScoreRequest, i: number): { tokens: number[]; start: number } {
    const trailing = typeof prompt === 'string' ? prompt.length - prompt.trimEnd().length : 0;
    const context = typeof prompt === 'string' ? prompt.slice(0, prompt.length - trailing) : prompt;
    const rest = (typeof prompt === 'string' ? prompt.slice(prompt.length - trailing) : '') + continuation;
    const start = promptTokens(this.#model, context).length;
    const tokens = promptTokens(this.#model, context, rest);
    if (start === 0 || tokens.length <= start) {
      throw new PosttrainError('SCORE', `score request ${i}: the prompt or the continuation has no tokens`);
    }
    return { tokens, start };
  }
}
