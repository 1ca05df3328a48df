import type { Logits } from './processors/editable-scores.js';

/** The distribution p = softmax(logits / temperature) of a place, and the token that came there. */
export interface TokenView {
  readonly token: number;
  readonly logits: Logits;
  /** 1 / temperature. */
  readonly rate: number;
  /** p up to the factor `total`, which is their sum. */
  readonly weights: Float32Array;
  readonly total: number;
  /** The first of the likeliest tokens. */
  readonly mostLikely: number;
  /** log p of a token. */
  readonly logProbOf: (token: number) => number;
}

/** What can be said of every generated token, each a number of the distribution that the model had in its place. */
export const tokenStatistics = {
  /** H = −Σ p log p, in nats. */
  entropy,
  /** Σ p (−log p − H)², in nats²: the variance of the surprise. */
  varentropy: (view) => {
    const mean = entropy(view);
    return expected(view, (token) => (view.logProbOf(token) + mean) ** 2);
  },
  /** p of the likeliest token minus p of the second one. */
  margin: ({ weights, total, mostLikely }) => {
    let second = 0;
    for (let i = 0; i < weights.length; i++) if (i !== mostLikely && weights[i]! > second) second = weights[i]!;
    return (weights[mostLikely]! - second) / total;
  },
  /** 1 + how many tokens are likelier than the one that came. */
  rank: ({ logits, token }) => {
    let rank = 1;
    for (let i = 0; i < logits.length; i++) if (logits[i]! > logits[token]!) rank++;
    return rank;
  },
  /** log p of the likeliest token. */
  topLogProb: ({ logProbOf, mostLikely }) => logProbOf(mostLikely),
  /** −(1/V) Σ log(V p) = KL(uniform ‖ p): self-certainty (arXiv 2502.18581). */
  selfCertainty: ({ logits, logProbOf }) => {
    let sum = 0;
    for (let i = 0; i < logits.length; i++) sum += logProbOf(i);
    return -Math.log(logits.length) - sum / logits.length;
  },
} as const satisfies Readonly<Record<string, (view: TokenView) => number>>;

/** The name of a statistic. */
export type TokenStatistic = keyof typeof tokenStatistics;

export const TOKEN_STATISTICS = Object.keys(tokenStatistics) as readonly TokenStatistic[];

function entropy(view: TokenView): number {
  return expected(view, (token) => -view.logProbOf(token));
}

/** Σ p f: tokens without probability have no part in it. */
function expected({ weights, total }: TokenView, of: (token: number) => number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) if (weights[i]! > 0) sum += weights[i]! * of(i);
  return sum / total;
}
