import { custom, type Given, number, options } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';

const isNumbers = (value: unknown): boolean => Array.isArray(value) || ArrayBuffer.isView(value);

const minKOptions = options('minKProb', {
  /** The share of tokens that count, the least likely ones. Default 0.2. */
  ratio: number({ default: 0.2, above: 0, max: 1 }),
  /**
   * μ and σ of log p(z | before) over the vocabulary, z drawn from the model, at each token: `tokenMoments` makes them of logits. With them it is Min-K%++. Default: none.
   */
  moments: custom<{ readonly means: ArrayLike<number>; readonly deviations: ArrayLike<number> }>()(
    'an object { means, deviations } of one number a token',
    (value) =>
      isNumbers((value as { means?: unknown } | null)?.means) &&
      isNumbers((value as { deviations?: unknown }).deviations),
    { optional: true },
  ),
});
/** Options of `minKProb`. */
export type MinKOptions = Given<typeof minKOptions>;

/**
 * Min-K% Prob (arXiv 2310.16789): the mean log-probability of the k % least likely tokens of a text; higher where a model was trained on it. With `moments` Min-K%++
 * (arXiv 2404.02936, eq. 3): of (log p − μ) / σ. ⌊ratio · tokens⌋ tokens count, as its authors' script has it. Scores of several texts go into `auroc`.
 *
 * @param logProbs natural log-probabilities of the tokens of a text, as `TokenScorer` gives them
 * @throws OptionError; EvaluationError `TOO_SHORT` for a text of which no token counts, `UNPAIRED` for moments of other numbers, `NOT_FINITE` for a σ of 0
 */
export function minKProb(logProbs: ArrayLike<number>, given: MinKOptions = {}): number {
  const { ratio, moments } = minKOptions.read(given);
  const values = Array.from(logProbs);
  const count = Math.floor(values.length * ratio);
  if (count < 1)
    throw new EvaluationError(
      'TOO_SHORT',
      `minKProb: ${ratio} of ${values.length} tokens is none; give longer texts, or a larger ratio.`,
    );
  if (moments && (moments.means.length !== values.length || moments.deviations.length !== values.length))
    throw new EvaluationError(
      'UNPAIRED',
      `minKProb: there are ${moments.means.length} moments for ${values.length} tokens.`,
    );
  const scores = moments ? values.map((log, i) => (log - moments.means[i]!) / moments.deviations[i]!) : values;
  const at = scores.findIndex((score) => !Number.isFinite(score));
  if (at >= 0) throw new EvaluationError('NOT_FINITE', `minKProb: token ${at} has the score ${scores[at]}.`);
  return (
    scores
      .sort((a, b) => a - b)
      .slice(0, count)
      .reduce((sum, x) => sum + x, 0) / count
  );
}

/** μ = Σ p log p and σ = √(Σ p (log p)² − μ²) of softmax(logits), a row a token: what Min-K%++ sets log p against. */
export function tokenMoments(logits: readonly ArrayLike<number>[]): { means: number[]; deviations: number[] } {
  const moments = logits.map((given) => {
    const row = Array.from(given);
    const most = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const log = most + Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
    const mean = row.reduce((sum, x) => sum + Math.exp(x - log) * (x - log), 0);
    const square = row.reduce((sum, x) => sum + Math.exp(x - log) * (x - log - mean) ** 2, 0);
    return { mean, deviation: Math.sqrt(square) };
  });
  return { means: moments.map(({ mean }) => mean), deviations: moments.map(({ deviation }) => deviation) };
}
