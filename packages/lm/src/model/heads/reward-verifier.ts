import {
  assertKnownOptions,
  PosttrainError,
  type Prompt,
  type Verdict,
  type Verifier,
  type VerifyRequest,
} from '@posttrain/interfaces';
import { NoChatTemplateError } from '../../generate/prompt-tokens.js';
import type { Adapter } from '../adapter.js';
import type { CausalLM } from '../causal-lm.js';
import type { SequenceClassifier } from './sequence-classifier.js';

export interface RewardVerifierOptions {
  /** Asked before every call. Default: none. */
  readonly adapter?: () => Adapter;
  /** The label whose probability is the score. Default: the second of two; of one label the logit itself is the score. */
  readonly label?: string;
}

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
    assertKnownOptions('RewardVerifier', options, ['adapter', 'label']);
    this.name = model.name;
    this.#model = model;
    this.#options = options;
    this.#label = labelIndex(model.labels, options.label, model.name);
  }

  async verify(requests: readonly VerifyRequest[]): Promise<Verdict[]> {
    const adapter = this.#options.adapter?.();
    const sequences = requests.map(({ prompt, completion }) => answerTokens(this.#model, prompt, completion));
    const logits = await this.#model.logits(sequences, adapter ? { adapter } : {});
    const independent = this.#model.head.problemType === 'multi_label_classification';
    return logits.map((row) => {
      if (row.length === 1) return { score: row[0]! };
      return { score: independent ? sigmoid(row[this.#label]!) : softmaxAt(row, this.#label) };
    });
  }
}

/**
 * The tokens of a prompt with its whole answer, as TRL's reward trainer makes them: a conversation goes through the chat
 * template with the assistant's message closed, text gets the end token.
 */
export function answerTokens(
  model: Pick<CausalLM, 'name' | 'tokenizer' | 'chatTemplate'>,
  prompt: Prompt,
  completion: string,
): number[] {
  const { tokenizer, chatTemplate, name } = model;
  if (typeof prompt === 'string') {
    const tokens = tokenizer.encode(prompt + completion);
    return tokenizer.eosId === undefined || tokens.at(-1) === tokenizer.eosId ? tokens : [...tokens, tokenizer.eosId];
  }
  if (!chatTemplate) throw new NoChatTemplateError(name);
  return chatTemplate.renderChat([...prompt, { role: 'assistant', content: completion }]).tokenIds;
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
