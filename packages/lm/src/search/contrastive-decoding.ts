import { assertKnownOptions, PosttrainError, showValue } from '@posttrain/interfaces';
import type { Adapter } from '../model/adapter.js';
import type { ModelRunner } from '../runner/model-runner.js';
import { contrast } from '../sampling/mixes/contrastive.js';
import { type BeamSearchOptions, beamRules } from './beam-search.js';
import { checkNumber, searchBeams } from './beams.js';
import { type Continuations, type Hypotheses, ModelHypotheses, type Step } from './hypotheses.js';
import { checkedPrompts, type SearchHypothesis, type SearchPrompt } from './search-prompt.js';

/** Options of contrastive decoding (arXiv 2210.15097): the amateur, and how plausible a token must be. */
export interface ContrastiveDecodingOptions extends Omit<BeamSearchOptions, 'numBeams'> {
  /** The weak model, with the vocabulary of the strong one; may be a runner of the same weights, with an adapter on one side. */
  readonly amateur: ModelRunner;
  /** Default: none. */
  readonly amateurAdapter?: Adapter;
  /** τ: divides the amateur's logits. Default 1. */
  readonly amateurTemperature?: number;
  /** α ∈ [0, 1]: a token must have this fraction of the expert's most likely token's probability. Default 0.1. */
  readonly alpha?: number;
  /** Hypotheses kept. Default 5, as in the paper. */
  readonly numBeams?: number;
}

/**
 * Contrastive decoding (arXiv 2210.15097): beam search by what an expert model finds likelier than an amateur does,
 *
 *   Σ_t log p_expert(y_t | y_<t) - log p_amateur(y_t | y_<t; τ)   over y_t with p_expert(y_t) ≥ α max_w p_expert(w)
 *
 * Finished hypotheses and scores are those of `beamSearch`; `logProbs` are the expert's, and its are what `process` changes,
 * so that what is plausible is so among the tokens it lets through.
 *
 * @throws OutOfBlocksError when a runner's cache cannot hold the beams; nothing is kept in either then
 */
export async function contrastiveDecoding(
  expert: ModelRunner,
  prompts: readonly SearchPrompt[],
  options: ContrastiveDecodingOptions,
): Promise<SearchHypothesis[][]> {
  const own = ['amateur', 'amateurAdapter', 'amateurTemperature', 'alpha'];
  assertKnownOptions('contrastiveDecoding', options, [
    ...own,
    ...['numBeams', 'lengthPenalty', 'earlyStopping', 'adapter'],
  ]);
  const { adapter, amateur, amateurAdapter, amateurTemperature = 1, alpha = 0.1, numBeams = 5, ...beams } = options;
  const rules = beamRules({ ...beams, numBeams });
  checkNumber('alpha', alpha, 0);
  if (alpha > 1) throw new PosttrainError('SEARCH', `search: alpha must be at most 1, not ${showValue(alpha)}`);
  const [ours, theirs] = [expert.network.config.vocabSize, amateur.network.config.vocabSize];
  if (ours !== theirs) {
    throw new PosttrainError('SEARCH', `contrastiveDecoding: vocabularies of ${ours} and ${theirs} tokens differ`);
  }
  const hypotheses = new ContrastedHypotheses(
    new ModelHypotheses(expert, adapter ? { adapter } : {}),
    new ModelHypotheses(amateur, {
      temperature: amateurTemperature,
      ...(amateurAdapter ? { adapter: amateurAdapter } : {}),
    }),
    alpha,
  );
  const checked = checkedPrompts(amateur.network, checkedPrompts(expert.network, prompts, adapter), amateurAdapter);
  return searchBeams(hypotheses, checked, rules);
}

class ContrastedHypotheses implements Hypotheses {
  readonly #expert: Hypotheses;
  readonly #amateur: Hypotheses;
  readonly #alpha: number;

  constructor(expert: Hypotheses, amateur: Hypotheses, alpha: number) {
    this.#expert = expert;
    this.#amateur = amateur;
    this.#alpha = alpha;
  }

  async start(prompts: readonly (readonly number[])[]): Promise<Continuations[]> {
    return this.#contrast(await this.#expert.start(prompts), await this.#amateur.start(prompts));
  }

  async advance(steps: readonly Step[]): Promise<Continuations[]> {
    return this.#contrast(await this.#expert.advance(steps), await this.#amateur.advance(steps));
  }

  release(): void {
    this.#expert.release();
    this.#amateur.release();
  }

  #contrast(expert: readonly Continuations[], amateur: readonly Continuations[]): Continuations[] {
    return expert.map(({ logProbs }, i) => ({
      logProbs,
      scores: (processed) => contrast(processed, amateur[i]!.logProbs, { alpha: this.#alpha }),
    }));
  }
}
