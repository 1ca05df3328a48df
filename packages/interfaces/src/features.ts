import { assertArgument } from './options/option-error.js';
import type { Prompt } from './prompt.js';
import { hashText } from './settings.js';

/** A text that a model is asked about as if it were trained on it. */
export interface FeatureRequest {
  readonly prompt: Prompt;
  readonly completion: string;
}

/** What a row is like to a model: a vector of one length for all rows. */
export interface RowFeatures {
  readonly name: string;
  /** Length of each vector, where it is known before the first is asked for. */
  readonly dimension?: number;
  /** One vector a request, in their order: hidden states, say, averaged over the completion's tokens. */
  features(requests: readonly FeatureRequest[], options?: FeatureOptions): Promise<Float32Array[]>;
}

/** How rows are asked about. */
export interface FeatureOptions {
  readonly signal?: AbortSignal;
}

/** How gradients are made smaller before they leave the model. */
export interface GradientOptions extends FeatureOptions {
  /** Length of a random projection of each gradient (LESS: 8192). Default: none, the gradient of all trained parameters. */
  readonly projection?: number;
  /** Seed of the projection: gradients of one seed and length are of one space. Default 0. */
  readonly seed?: number;
  /**
   * What the gradient is of: `loss`, the mean negative log-likelihood of the completion (LESS, arXiv 2402.04333); `hallucinated`, the same with the
   * model's own most likely token in the place of each (BADGE, arXiv 1906.03671). Default `loss`.
   */
  readonly of?: 'loss' | 'hallucinated';
  /** What the gradient is taken by: all that is trained, or the output layer alone, as BADGE does. Default `trained`. */
  readonly parameters?: 'trained' | 'output';
  /** `adam`: the update that Adam would make of it, from the optimizer state of the model's training (LESS). Default `sgd`: the gradient. */
  readonly direction?: 'sgd' | 'adam';
}

/** Gradients of rows, one each: what LESS selects by and BADGE's k-means++ starts from. */
export interface RowGradients {
  readonly name: string;
  /** One vector a request, in their order; all of one length. */
  gradients(requests: readonly FeatureRequest[], options?: GradientOptions): Promise<Float32Array[]>;
}

/**
 * Bag of words by hashing (feature hashing, arXiv 0902.2206) as features: each word of prompt and completion adds ±1 at a place of its hash. Needs no model:
 * for tests, and as a baseline of what features are worth.
 *
 * @param dimension length of the vectors, 1 or more; default 256
 */
export function hashedWords(dimension = 256): RowFeatures {
  assertArgument(
    'hashedWords',
    'dimension',
    dimension,
    Number.isSafeInteger(dimension) && dimension >= 1,
    'a whole number of at least 1',
  );
  return {
    name: `hashed words ${dimension}`,
    dimension,
    features: async (requests, { signal } = {}) =>
      requests.map(({ prompt, completion }) => {
        signal?.throwIfAborted();
        const vector = new Float32Array(dimension);
        const asked = typeof prompt === 'string' ? prompt : prompt.map(({ content }) => content).join(' ');
        for (const word of `${asked} ${completion}`.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []) {
          const hash = Number.parseInt(hashText(word), 16);
          vector[Math.floor(hash / 2) % dimension]! += hash % 2 === 0 ? 1 : -1;
        }
        return vector;
      }),
  };
}
