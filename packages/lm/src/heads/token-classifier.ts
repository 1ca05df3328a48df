import { perAdapter } from '../model/adapter.js';
import type { CausalLM } from '../model/causal-lm.js';
import { tokenLogits } from '../model/head.js';
import { passInput } from '../score/passes.js';
import { compileHeadPass, HeadModel, type HeadScoringOptions, runHead } from './head-model.js';
import { labelIndex, sigmoid, softmaxAt } from './reward-verifier.js';
import { type NewHeadOptions, newClassifierParts } from './sequence-classifier.js';
import { StepVerifier, type StepVerifierOptions, type TokenScores } from './step-verifier.js';

/** Options of a token classifier as a verifier of steps. */
export interface TokenVerifierOptions extends StepVerifierOptions {
  /** The label whose probability is the score. Default: the second of two. */
  readonly label?: string;
}

const passOf = perAdapter((network, adapter) =>
  compileHeadPass('tokenLogits', adapter, (weights, hooks, tokens) =>
    tokenLogits(network, weights, passInput(tokens), hooks),
  ),
);

/**
 * A `*ForTokenClassification` model of transformers: a row of logits after every token. Read at the ends of steps it is a
 * process reward model (arXiv 2305.20050), as TRL trains them; Qwen2.5-Math-PRM's head (arXiv 2501.07301) is one too.
 */
export class TokenClassifier extends HeadModel {
  static readonly tasks = ['token-classification'] as const;

  /** A causal language model's trunk (shared, quantised or not) with a new head. Default: 2 labels. */
  static async fromCausalLM(model: CausalLM, options: NewHeadOptions = {}): Promise<TokenClassifier> {
    return new TokenClassifier(
      await newClassifierParts('TokenClassifier', model, TokenClassifier.tasks[0], { labels: 2, ...options }),
    );
  }

  /** Logits after every token of each sequence: one row of labels per token. */
  async logits(sequences: readonly (readonly number[])[], options: HeadScoringOptions = {}): Promise<Float32Array[][]> {
    const results = new Array<Float32Array[]>(sequences.length);
    const count = this.labels.length;
    await runHead('TokenClassifier.logits', this, sequences, options, passOf, (output, { sequences: rows, width }) => {
      rows.forEach((sequence, row) => {
        results[sequence] = sequences[sequence]!.map((_, t) => {
          return Float32Array.from({ length: count }, (__, label) => output[(row * width + t) * count + label]!);
        });
      });
    });
    return results;
  }

  /**
   * This model as a process reward model. The score of a step is the probability of `label` after its tag: softmax over the
   * labels (default: the second of two), or sigmoid of a single one.
   */
  verifier({ label, ...options }: TokenVerifierOptions): StepVerifier {
    const index = labelIndex(this.labels, label, this.name);
    const probability = (row: Float32Array) => (row.length === 1 ? sigmoid(row[0]!) : softmaxAt(row, index));
    const scores: TokenScores = async (sequences, adapter) => {
      const logits = await this.logits(sequences, adapter ? { adapter } : {});
      return logits.map((rows) => rows.map(probability));
    };
    return new StepVerifier(this, scores, options);
  }
}
