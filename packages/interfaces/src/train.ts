import type { OnProgress } from './progress.js';
import type { Prompt } from './prompt.js';
import type { Scorer } from './score.js';

/** A row that a model is trained on. */
export interface TrainableRow {
  readonly prompt: Prompt;
  readonly completion: string;
}

/** How one model of several is trained. */
export interface TrainScorerOptions {
  /** Of the model's start and the order of rows: equal seeds and rows give equal scorers. Default 0. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/**
 * Anything that makes a model of rows and lets it score: what shadow models (LiRA, arXiv 2112.03570), leave-one-out influence, cross-fitting and
 * reference models of data selection need. Each call trains a model of its own from the same start.
 */
export interface ScorerTrainer {
  readonly name: string;
  /** @throws the signal's reason once it fires */
  train(rows: readonly TrainableRow[], options?: TrainScorerOptions): Promise<Scorer>;
}

/**
 * Unigram model of words with add-one smoothing: p(word) = (count + 1) / (total + words known + 1), one place left for all that is unknown. A `ScorerTrainer` that needs no
 * tensors, for tests and as the least that a trained scorer can be. The prompt is not looked at.
 */
export const unigramTrainer: ScorerTrainer = {
  name: 'unigram',
  async train(rows, { signal } = {}) {
    const counts = new Map<string, number>();
    let total = 0;
    for (const { completion } of rows) {
      signal?.throwIfAborted();
      for (const word of wordsOf(completion)) {
        counts.set(word, (counts.get(word) ?? 0) + 1);
        total++;
      }
    }
    const places = total + counts.size + 1;
    return {
      name: 'unigram',
      score: async (requests) =>
        requests.map(({ continuation }) => {
          const words = wordsOf(continuation);
          const logProb = words.reduce((sum, word) => sum + Math.log(((counts.get(word) ?? 0) + 1) / places), 0);
          return { logProb, tokens: words.length, isGreedy: false };
        }),
    };
  },
};

const wordsOf = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');
