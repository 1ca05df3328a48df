import { type Given, integer, oneOf, options } from '@posttrain/interfaces';
import { classifierHead, defaultLabels, valueHead } from '../config/head-config.js';
import { architectureWithHead } from '../config/write-config.js';
import { perAdapter } from '../model/adapter.js';
import { assertCausalLM } from '../model/assert-causal-lm.js';
import type { CausalLM } from '../model/causal-lm.js';
import { HeadError, tokenValues } from '../model/head.js';
import { passInput } from '../score/passes.js';
import {
  compileHeadPass,
  HeadModel,
  type HeadModelParts,
  type HeadScoringOptions,
  runHead,
  withNewHead,
} from './head-model.js';

const valueHeadOptions = options('ValueModel.fromCausalLM', {
  /**
   * `score`: a linear layer without bias in place of the output layer, the `*ForSequenceClassification` folder that TRL's
   * PPO takes as value and reward model. `v_head`: a linear layer with bias beside the output layer, as TRL's
   * `AutoModelForCausalLMWithValueHead` stores it. Default `score`.
   */
  format: oneOf(['score', 'v_head'], { default: 'score' }),
  /** Of the head's initial weights. Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of a new value head. */
export type NewValueHeadOptions = Given<typeof valueHeadOptions>;

const passOf = perAdapter((network, adapter) =>
  compileHeadPass('tokenValues', adapter, (weights, hooks, tokens) =>
    tokenValues(network, weights, passInput(tokens), hooks),
  ),
);

/** A critic: a value for the state after every token. Any folder whose head has one output can be one. */
export class ValueModel extends HeadModel {
  static readonly tasks = ['value', 'sequence-classification', 'token-classification'] as const;

  constructor(parts: HeadModelParts) {
    super(parts);
    if (this.labels.length === 1) return;
    throw new HeadError(`${this.name}: a value is one number, but the head has ${this.labels.length} outputs`);
  }

  /** A causal language model's trunk (shared, quantised or not) with a new head. */
  static async fromCausalLM(model: CausalLM, given: NewValueHeadOptions = {}): Promise<ValueModel> {
    assertCausalLM('ValueModel.fromCausalLM', model);
    const { format, seed } = valueHeadOptions.read(given);
    const head =
      format === 'v_head'
        ? valueHead()
        : classifierHead(
            architectureWithHead(model.config.modelType, 'sequence'),
            'sequence-classification',
            defaultLabels(1),
          );
    return new ValueModel(await withNewHead(model, head, seed));
  }

  /** The values of each sequence: entry t is that of the state after tokens 0 … t. */
  async values(sequences: readonly (readonly number[])[], options: HeadScoringOptions = {}): Promise<Float32Array[]> {
    const results = new Array<Float32Array>(sequences.length);
    await runHead('ValueModel.values', this, sequences, options, passOf, (output, { sequences: rows, width }) => {
      rows.forEach((sequence, row) => {
        results[sequence] = Float32Array.from(sequences[sequence]!, (_, t) => output[row * width + t]!);
      });
    });
    return results;
  }
}
