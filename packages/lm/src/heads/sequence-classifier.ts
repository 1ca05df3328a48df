import { concat, type Tensor } from '@posttrain/core-tensor';
import { custom, type Given, integer, options } from '@posttrain/interfaces';
import { classifierHead, defaultLabels } from '../config/head-config.js';
import { architectureWithHead } from '../config/write-config.js';
import { perAdapter } from '../model/adapter.js';
import { assertCausalLM } from '../model/assert-causal-lm.js';
import type { CausalLM } from '../model/causal-lm.js';
import { sequenceLogits } from '../model/head.js';
import { networkOf } from '../model/network-of.js';
import { passInput } from '../score/passes.js';
import {
  compileHeadPass,
  HeadModel,
  type HeadModelParts,
  type HeadScoringOptions,
  quantizedFormats,
  runHead,
  withNewHead,
} from './head-model.js';
import { labelIndex, RewardVerifier, type RewardVerifierOptions } from './reward-verifier.js';

const isLabels = (value: unknown): boolean =>
  typeof value === 'number'
    ? Number.isInteger(value) && value >= 1
    : Array.isArray(value) && value.every((label) => typeof label === 'string');
const newHeadOptions = (where: string) =>
  options(`${where}.fromCausalLM`, {
    /** The outputs' names, or how many there are. Default 1: a reward. */
    labels: custom<number | readonly string[]>()('a list of names, or how many there are', isLabels, { default: 1 }),
    /** Of the head's initial weights. Default 0. */
    seed: integer({ default: 0 }),
  });
/** Options of a new classification head. */
export type NewHeadOptions = Given<ReturnType<typeof newHeadOptions>>;

const passOf = perAdapter((network, adapter) =>
  compileHeadPass('sequenceLogits', adapter, (weights, hooks, tokens, last) =>
    sequenceLogits(network, weights, { ...passInput(tokens), last }, hooks),
  ),
);

/**
 * A `*ForSequenceClassification` model of transformers: one row of logits for a whole sequence, read at its last token.
 * With one label it is an outcome reward model. Immutable, as `CausalLM`.
 */
export class SequenceClassifier extends HeadModel {
  static readonly tasks = ['sequence-classification'] as const;

  /** A causal language model's trunk (shared, quantised or not) with a new head. */
  static async fromCausalLM(model: CausalLM, options: NewHeadOptions = {}): Promise<SequenceClassifier> {
    return new SequenceClassifier(
      await newClassifierParts('SequenceClassifier', model, SequenceClassifier.tasks[0], options),
    );
  }

  /**
   * Logits of each sequence, one per label. They are read at the last token that is not the padding id of the config, as in
   * transformers: an end token that is also the padding is left out.
   */
  async logits(sequences: readonly (readonly number[])[], options: HeadScoringOptions = {}): Promise<Float32Array[]> {
    const results = new Array<Float32Array>(sequences.length);
    const count = this.labels.length;
    const trimmed = sequences.map((tokens) => this.sequenceOf(tokens));
    await runHead('SequenceClassifier.logits', this, trimmed, options, passOf, (output, pass) => {
      pass.sequences.forEach((sequence, row) => {
        results[sequence] = Float32Array.from({ length: count }, (_, label) => output[row * count + label]!);
      });
    });
    return results;
  }

  /** The tokens that the head sees: up to the last one that is not padding, where it reads. */
  sequenceOf(tokens: readonly number[]): readonly number[] {
    return withoutPadding(tokens, this.config.padTokenId);
  }

  /**
   * The same model with some of its outputs, in the order that is asked for: the quality head of a reward model of several. The trunk
   * is shared.
   *
   * @throws PosttrainError LABEL for a label that it has not
   */
  selectLabels(labels: readonly string[]): SequenceClassifier {
    const { tokenizer, chatTemplate, name, head, weights } = this;
    const rows = labels.map((label) => labelIndex(head.labels, label, name));
    const layer = head.hiddenLayer ? `${head.module}.2` : head.module;
    const pick = (tensor: Tensor) =>
      concat(
        rows.map((i) => tensor.slice(0, i, i + 1)),
        0,
      );
    const own = [`${layer}.weight`, ...(head.bias ? [`${layer}.bias`] : [])];
    const picked = Object.fromEntries(own.map((key) => [key, pick(weights[key]!)]));
    const config = { ...this.config, head: { ...head, labels } };
    const network = networkOf(config, quantizedFormats(this.network), this.network.engine);
    return new SequenceClassifier({
      config,
      network,
      weights: { ...weights, ...picked },
      tokenizer,
      chatTemplate,
      name,
    });
  }

  /** This model as a `Verifier`: a reward model, or the probability of a label. */
  verifier(options: RewardVerifierOptions = {}): RewardVerifier {
    return new RewardVerifier(this, options);
  }
}

function withoutPadding(tokens: readonly number[], padTokenId: number | undefined): readonly number[] {
  const last = tokens.findLastIndex((token) => token !== padTokenId);
  // transformers reads a sequence of nothing but padding at its first token.
  return tokens.slice(0, Math.max(1, last + 1));
}

/** The parts of a new classifier. */
export async function newClassifierParts(
  where: string,
  model: CausalLM,
  task: 'sequence-classification' | 'token-classification',
  given: NewHeadOptions,
): Promise<HeadModelParts> {
  assertCausalLM(`${where}.fromCausalLM`, model);
  const { labels, seed } = newHeadOptions(where).read(given);
  const names = typeof labels === 'number' ? defaultLabels(labels) : labels;
  const kind = task === 'token-classification' ? 'token' : 'sequence';
  return withNewHead(model, classifierHead(architectureWithHead(model.config.modelType, kind), task, names), seed);
}
