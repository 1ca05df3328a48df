import { type Given, integer, options } from '@posttrain/interfaces';
import { logSoftmax } from '../sampling/log-softmax.js';
import { mostLikelyTokens } from '../sampling/report-token.js';
import type { Logits } from '../sampling/sampler.js';
import type { EagleDraft, MakeEagleDraft } from './eagle-draft.js';
import type { Proposal } from './proposer.js';

export const eagle2Options = options('speculative: dynamicTree', {
  /** Tokens of a depth that are asked what follows them, and tokens that are considered behind each. Default 10, as in the paper. */
  topK: integer({ default: 10, min: 1 }),
  /** Tokens on a path. Default 6, as in the paper. */
  depth: integer({ default: 6, min: 1 }),
  /** Tokens of the proposal. Default 60, as in the paper for a model of 7B. */
  totalTokens: integer({ default: 60, min: 1 }),
});
/** Options of EAGLE-2's tree. */
export type Eagle2Tree = Given<typeof eagle2Options>;

/** The settings of `eagle2Tree`, all of them. */
export type Eagle2Settings = Required<Eagle2Tree>;

/**
 * The tree of EAGLE-2 (arXiv 2406.16858 §4), whose shape follows what the head is sure of. With the confidence c of the head in a token
 * after those before it, a token is worth
 *
 *   V_i = Π_(j on the path to i) c_j
 *
 * Expansion: at each depth the `topK` tokens of the largest V are asked what follows them, and the `topK` likeliest tokens behind each are
 * considered. Reranking: of all that were considered the `totalTokens` of the largest V are proposed, of equals the shallower; they are
 * a tree, for no token is worth more than the one that it follows. Nothing is drawn: the row draws for itself, and gets what it would get
 * without.
 */
export const eagle2Tree =
  (settings: Eagle2Settings): MakeEagleDraft =>
  (_, most) =>
    new DynamicTree({ ...settings, depth: Math.min(settings.depth, most) });

class DynamicTree implements EagleDraft {
  readonly tokens: number[] = [];
  readonly parents: number[] = [];
  readonly #settings: Eagle2Settings;
  /** log V. */
  readonly #values: number[] = [];
  #asked: readonly number[] = [-1];
  #depth = 0;

  constructor(settings: Eagle2Settings) {
    this.#settings = settings;
  }

  next(logits: readonly Logits[]): readonly number[] {
    const { topK, depth } = this.#settings;
    const first = this.tokens.length;
    for (const [i, parent] of this.#asked.entries()) {
      for (const [token, logProb] of likeliest(logits[i]!, topK)) {
        this.tokens.push(token);
        this.parents.push(parent);
        this.#values.push((this.#values[parent] ?? 0) + logProb);
      }
    }
    this.#depth++;
    const level = Array.from({ length: this.tokens.length - first }, (_, i) => first + i);
    this.#asked = this.#depth < depth ? this.#best(level, topK) : [];
    return this.#asked;
  }

  get proposal(): Proposal {
    const kept = this.#best(
      this.tokens.map((_, i) => i),
      this.#settings.totalTokens,
    );
    const places = new Map([[-1, -1], ...kept.map((at, i) => [at, i] as const)]);
    return {
      tokens: kept.map((at) => this.tokens[at]!),
      parents: kept.map((at) => places.get(this.parents[at]!)!),
    };
  }

  /** The ones of the largest value, falling; of equals the earlier. */
  #best(places: readonly number[], count: number): number[] {
    return [...places].sort((a, b) => this.#values[b]! - this.#values[a]! || a - b).slice(0, count);
  }
}

/** The likeliest tokens and their log-probabilities, of those that are possible; none where the numbers are not finite. */
function likeliest(logits: Logits, count: number): (readonly [token: number, logProb: number])[] {
  let logProbs: Float64Array;
  try {
    logProbs = logSoftmax(logits);
  } catch {
    return [];
  }
  const best = mostLikelyTokens(logits, count).map((token) => [token, logProbs[token]!] as const);
  return best.filter(([, logProb]) => logProb > Number.NEGATIVE_INFINITY);
}
