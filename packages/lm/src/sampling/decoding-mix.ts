import { custom, type DecisiveSettings, PosttrainError, showValue } from '@posttrain/interfaces';
import type { ModelConfig } from '../config/index.js';
import { type Adapter, contextOf } from '../model/adapter.js';
import type { CausalLM } from '../model/causal-lm.js';
import type { Network, RunnableModel } from '../model/network.js';
import { checkInnerLayers } from '../runner/extend-inputs.js';
import type { Logits } from './processors/editable-scores.js';

/** A model that runs in step with the policy, so that its logits can have a part in what is drawn. */
export interface LogitsFrom {
  readonly model: RunnableModel;
  /** Default: none. */
  readonly adapter?: Adapter;
  /**
   * The tokens that it reads in the place of the prompt: without a document, or with an instruction to do badly. What is
   * generated follows them. Default: the row's own prompt.
   */
  readonly prompt?: readonly number[];
}

/**
 * Several models a token: what is drawn from in the place of the policy's logits, made of these and of other models'. The
 * sampler's rules (penalties, temperature, top-k, a constraint, …) apply to what comes out. Log-probabilities and statistics are
 * still the policy's; `samplingLogProbs` are of what was drawn from.
 */
export interface DecodingMix {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** Whose logits it is given beside the policy's, in order. */
  readonly models: readonly LogitsFrom[];
  /**
   * Layers of the policy that it is given the logits of: from 0, the first block's input, to the number of layers − 1. They are
   * what the output layer says of the states after these layers, not normalised. A function says them for a model. Default: none.
   */
  readonly innerLayers?: InnerLayers;
  /**
   * Logits [vocabulary] to draw from; −∞ excludes a token. What it is given belongs to the models: it must not be changed, nor
   * kept. `inner` has those of `innerLayers`, in their order.
   */
  combine(policy: Logits, others: readonly Logits[], inner: readonly Logits[]): Logits;
}

/** Layers of a model, or which they are of a model with this config. */
export type InnerLayers = readonly number[] | ((config: ModelConfig) => readonly number[]);

/** The layers that a mix is given the logits of. */
export function innerLayersOf({ config }: Network, { innerLayers = [] }: Pick<DecodingMix, 'innerLayers'>) {
  return typeof innerLayers === 'function' ? innerLayers(config) : innerLayers;
}

/** An option that is a model in step with the policy. */
export const logitsFrom = () =>
  custom<LogitsFrom>()('a model in step: { model }', isLogitsFrom, { settings: () => 'a model' });

const isLogitsFrom = (value: unknown): boolean => {
  const { model } = (value ?? {}) as Partial<LogitsFrom>;
  return model?.network !== undefined && model.weights !== undefined;
};

/**
 * Throws for a mix whose models cannot be in step with the policy, naming it: one that has fewer tokens, or more, unless its
 * tokenizer shows that those beyond the policy's are padding.
 */
export function checkMix(network: Network, mix: DecodingMix): void {
  const { name, models } = mix;
  if (!Array.isArray(models) || !models.every(isLogitsFrom) || typeof mix.combine !== 'function') {
    const problem = `mix is ${showValue(mix)}; it must be a decoding mix, such as contrastive({ amateur: { model } })`;
    throw new PosttrainError('DECODING_MIX', `generate: ${problem}`);
  }
  checkInnerLayers(network.config, innerLayersOf(network, mix), name);
  const { vocabSize } = network.config;
  for (const [i, { model }] of models.entries()) {
    const theirs = model.network.config.vocabSize;
    // Padding: rows of an output layer that no token of the tokenizer has, and which are left out before anything is computed.
    const { tokenizer } = model as Partial<Pick<CausalLM, 'tokenizer'>>;
    const isPadded = theirs > vocabSize && tokenizer !== undefined && tokenizer.vocabSize <= vocabSize;
    if (theirs === vocabSize || isPadded) continue;
    const problem = `model ${i} has ${theirs} tokens, and the policy ${vocabSize}`;
    throw new PosttrainError('DECODING_MIX', `${name}: ${problem}; use models of one family, with the same tokens`);
  }
}

/** Tokens that a completion of a prompt may have, so that it fits into the context of every model of the mix. */
export function mostTokensOf(models: readonly LogitsFrom[], prompt: readonly number[]): number {
  return Math.min(
    ...models.map(({ model, adapter, prompt: own = prompt }) => contextOf(model.network.config, adapter) - own.length),
  );
}
