import {
  options as declare,
  type Given,
  PosttrainError,
  text,
  type Verdict,
  type Verifier,
  type VerifyRequest,
} from '@posttrain/interfaces';
import { askedAdapterOption } from '../model/adapter-option.js';
import { tokenizeCompletion } from '../prompts/tokenize-completion.js';
import type { SequenceClassifier } from './sequence-classifier.js';

const rewardVerifierOptions = declare('RewardVerifier', {
  /** Asked before every call. Default: none. */
  adapter: askedAdapterOption,
  /** The label whose probability is the score. Default: the second of two; of one label the logit itself is the score. */
  label: text({ optional: true }),
});
/** Options of `RewardVerifier`. */
export type RewardVerifierOptions = Given<typeof rewardVerifierOptions>;

/**
 * A sequence classifier as a `Verifier`. The score of one label is its logit (a reward: a log-odds or a regression); of
 * several, the probability of `label` (softmax, or sigmoid where the config says multi_label_classification).
 */
export class RewardVerifier implements Verifier {
  readonly name: string;
  readonly #model: SequenceClassifier;
  readonly #options: RewardVerifierOptions;
  readonly #label: number;

  constructor(model: SequenceClassifier, options: RewardVerifierOptions = {}) {
    rewardVerifierOptions.read(options);
    this.name = model.name;
    this.#model = model;
    this.#options = options;
    this.#label = labelIndex(model.labels, options.label, model.name);
  }

  async verify(requests: readonly VerifyRequest[]): Promise<Verdict[]> {
    const adapter = this.#options.adapter?.();
    const sequences = requests.map(({ prompt, completion: content }) => {
      const completion = typeof prompt === 'string' ? content : [{ role: 'assistant', content }];
      return tokenizeCompletion(this.#model, prompt, completion).tokens;
    });
    const logits = await this.#model.logits(sequences, adapter ? { adapter } : {});
    const independent = this.#model.head.problemType === 'multi_label_classification';
    return logits.map((row) => {
      if (row.length === 1) return { score: row[0]! };
      return { score: independent ? sigmoid(row[this.#label]!) : softmaxAt(row, this.#label) };
    });
  }
}

/** Which output is the score. */
export function labelIndex(labels: readonly string[], label: string | undefined, name: string): number {
  if (label === undefined) {
    if (labels.length <= 2) return labels.length - 1;
    throw new PosttrainError(
      'LABEL',
      `${name} has ${labels.length} labels: say which is the score (${labels.join(', ')})`,
    );
  }
  const index = labels.indexOf(label);
  if (index >= 0) return index;
  throw new PosttrainError('LABEL', `${name} has no label "${label}"; there are ${labels.join(', ')}`);
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** The probability of entry `index` under softmax. */
export function softmaxAt(logits: ArrayLike<number>, index: number): number {
  const values = Array.from(logits);
  const largest = Math.max(...values);
  return Math.exp(values[index]! - largest) / values.reduce((sum, x) => sum + Math.exp(x - largest), 0);
}
