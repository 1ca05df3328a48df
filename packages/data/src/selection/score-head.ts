import { type Embedder, PosttrainError } from '@posttrain/interfaces';
import { vectorsOf } from './embeddings.js';

/** A linear regression on embeddings: score = w · x + b. */
export interface ScoreHead {
  readonly embedder: string;
  readonly weights: readonly number[];
  readonly bias: number;
  /** Over what it was fitted to. */
  readonly meanSquaredError: number;
}

/** A text and its score, such as that of a judge from 0 to 5. */
export interface ScoredText {
  readonly text: string;
  readonly score: number;
}

/**
 * Fits the head of a scorer as that of FineWeb-Edu (arXiv 2406.17557 §4): linear regression of scores on the embeddings of a frozen model, by least squares with a
 * penalty of `l2` · n on the squares of the weights (ridge), in closed form of centred data: (XᵀX + l2·n·I) w = Xᵀy.
 *
 * @param l2 default 1e-3
 * @throws PosttrainError `SCORE_HEAD` for fewer than two texts, or a score that is no number; DataStepError for what is no embedding
 */
export async function fitScoreHead(
  embedder: Embedder,
  rows: readonly ScoredText[],
  { l2 = 1e-3, batchSize = 64 }: { readonly l2?: number; readonly batchSize?: number } = {},
): Promise<ScoreHead> {
  const fail = (problem: string) => new PosttrainError('SCORE_HEAD', `fitScoreHead: ${problem}`);
  if (rows.length < 2) throw fail(`needs at least two scored texts, got ${rows.length}.`);
  if (!(l2 > 0)) throw fail('l2 must be greater than 0, or weights of words that go together have no limit.');
  const wrong = rows.findIndex(({ score }) => !Number.isFinite(score));
  if (wrong !== -1) throw fail(`the score of text ${wrong + 1} is ${rows[wrong]!.score}.`);
  const vectors: Float32Array[] = [];
  for (let i = 0; i < rows.length; i += batchSize) {
    const texts = rows.slice(i, i + batchSize).map(({ text }) => text);
    vectors.push(...vectorsOf('fitScoreHead', await embedder.embed(texts), texts.length, i, vectors[0]?.length));
  }
  const d = vectors[0]!.length;
  const n = rows.length;
  const mean = new Float64Array(d);
  for (const vector of vectors) for (let i = 0; i < d; i++) mean[i]! += vector[i]! / n;
  const meanScore = rows.reduce((sum, { score }) => sum + score, 0) / n;
  const gram = Array.from({ length: d }, () => new Float64Array(d));
  const target = new Float64Array(d);
  const centred = new Float64Array(d);
  for (const [row, vector] of vectors.entries()) {
    for (let i = 0; i < d; i++) centred[i] = vector[i]! - mean[i]!;
    const y = rows[row]!.score - meanScore;
    for (let i = 0; i < d; i++) {
      target[i]! += centred[i]! * y;
      for (let j = 0; j <= i; j++) gram[i]![j]! += centred[i]! * centred[j]!;
    }
  }
  for (let i = 0; i < d; i++) gram[i]![i]! += l2 * n;
  const weights = solve(gram, target);
  const bias = meanScore - dot(weights, mean);
  const meanSquaredError = vectors.reduce(
    (sum, vector, i) => sum + (dot(weights, vector) + bias - rows[i]!.score) ** 2 / n,
    0,
  );
  return { embedder: embedder.name, weights: Array.from(weights), bias, meanSquaredError };
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};

/** The score that a head gives an embedding. */
export const scoreOf = (head: ScoreHead, vector: ArrayLike<number>): number => dot(head.weights, vector) + head.bias;

/** Cholesky decomposition of a positive definite matrix, of which the lower half is given and is overwritten. */
function solve(a: Float64Array[], b: Float64Array): Float64Array {
  const n = b.length;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i]![j]!;
      for (let k = 0; k < j; k++) sum -= a[i]![k]! * a[j]![k]!;
      a[i]![j] = i === j ? Math.sqrt(sum) : sum / a[j]![j]!;
    }
  }
  const x = Float64Array.from(b);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i]! -= a[i]![k]! * x[k]!;
    x[i]! /= a[i]![i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i]! -= a[k]![i]! * x[k]!;
    x[i]! /= a[i]![i]!;
  }
  return x;
}
