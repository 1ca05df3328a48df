import { custom, type Given, integer, number, options, PosttrainError } from '@posttrain/interfaces';
import { adapterOption } from '../model/adapter-option.js';
import { ModelRunner } from '../runner/model-runner.js';
import { contrast } from '../sampling/mixes/contrastive.js';
import { beamShape } from './beam-search.js';
import { searchBeams } from './beams.js';
import { type Continuations, type Hypotheses, ModelHypotheses, type Step } from './hypotheses.js';
import { checkedPrompts, type SearchHypothesis, type SearchPrompt } from './search-prompt.js';

const contrastiveDecodingOptions = options('contrastiveDecoding', {
  ...beamShape,
  /** The weak model, with the vocabulary of the strong one; may be a runner of the same weights, with an adapter on one side. */
  amateur: custom<ModelRunner>()('a ModelRunner', (value) => value instanceof ModelRunner, {}),
  /** Default: none. */
  amateurAdapter: adapterOption,
  /** τ: divides the amateur's logits. Default 1. */
  amateurTemperature: number({ default: 1, above: 0 }),
  /** α ∈ [0, 1]: a token must have this fraction of the expert's most likely token's probability. Default 0.1. */
  alpha: number({ default: 0.1, min: 0, max: 1 }),
  /** Hypotheses kept. Default 5, as in the paper. */
  numBeams: integer({ default: 5, min: 1 }),
});
/** Options of contrastive decoding (arXiv 2210.15097): the amateur, and how plausible a token must be. */
export type ContrastiveDecodingOptions = Given<typeof contrastiveDecodingOptions>;

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
  given: ContrastiveDecodingOptions,
): Promise<SearchHypothesis[][]> {
  const settings = contrastiveDecodingOptions.read(given);
  const { adapter, amateur, amateurAdapter, amateurTemperature, alpha } = settings;
  const { numBeams: size, lengthNormalization, lengthPenalty, earlyStopping } = settings;
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
  const rules = { lengthNormalization, lengthPenalty, earlyStopping };
  return searchBeams(hypotheses, checked, { ...rules, size, groups: 1, diversityPenalty: 0 });
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
