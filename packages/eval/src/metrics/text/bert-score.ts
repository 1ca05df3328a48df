import {
  boolean,
  custom,
  type Given,
  number,
  options,
  type TokenEmbedder,
  type TokenVectors,
} from '@posttrain/interfaces';
import { EvaluationError } from '../../errors.js';
import { referencesOf } from './words.js';

const bertScoreOptions = options('bertScore', {
  /** What gives tokens their vectors: a `LocalEmbedder` over an encoder, say, whose last hidden states they are. */
  embedder: custom<TokenEmbedder>()(
    'a token embedder ({ name, tokenVectors(texts) })',
    (value) => typeof (value as Partial<TokenEmbedder> | null)?.tokenVectors === 'function',
    {},
  ),
  /** Weigh tokens by ln((M + 1) / (df + 1)) of the M references. Default false. */
  idf: boolean({ default: false }),
  /** b of (x − b) / (1 − b), which spreads scores over the range from 0 to 1: the mean score of texts that have nothing to do with each other. Default 0. */
  baseline: number({ default: 0, below: 1 }),
});
/** Options of `bertScore`. */
export type BertScoreOptions = Given<typeof bertScoreOptions>;

/** Similarity of tokens, −1 to 1 (before a baseline). */
export interface BertScore {
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
}

/**
 * BERTScore of each text (arXiv 1904.09675), as bert-score matches: every token with the token of the other text that is most like it by cosine,
 *
 *   P = Σ_i w_i max_j cos(x_i, y_j) / Σ w_i,  R likewise for the reference,  F1 = 2PR / (P + R)
 *
 * Special tokens weigh 0 and may be matched. The published numbers are of one layer of a certain model; scores of other models are on other scales. A text without tokens
 * of its own has 0. Of several references the one with the highest F1 counts.
 *
 * @throws OptionError; EvaluationError `UNPAIRED`, `NO_REFERENCE`, `BAD_RESPONSE` for vectors out of shape
 */
export async function bertScore(
  hypotheses: readonly string[],
  references: readonly (string | readonly string[])[],
  given: BertScoreOptions,
): Promise<BertScore[]> {
  const { embedder, idf, baseline } = bertScoreOptions.read(given);
  const wanted = referencesOf('bertScore', hypotheses, references);
  const texts = [...new Set([...hypotheses, ...wanted.flat()])];
  const embedded = await embedder.tokenVectors(texts);
  if (embedded.length !== texts.length) {
    const got = `${embedded.length} answers for ${texts.length} texts`;
    throw new EvaluationError('BAD_RESPONSE', `bertScore: ${embedder.name} gave ${got}.`);
  }
  const unit = new Map(texts.map((text, i) => [text, unitVectors(embedder.name, embedded[i]!)]));
  const documents = new Map<string, number>();
  const corpus = wanted.flat();
  if (idf) {
    for (const text of corpus) {
      for (const token of new Set(unit.get(text)!.tokens)) documents.set(token, (documents.get(token) ?? 0) + 1);
    }
  }
  const weightsOf = ({ tokens, special }: TokenVectors): number[] =>
    tokens.map((token, i) => {
      if (special[i]) return 0;
      return idf ? Math.log((corpus.length + 1) / ((documents.get(token) ?? 0) + 1)) : 1;
    });
  return hypotheses.map((text, i) => {
    const said = unit.get(text)!;
    const scores = wanted[i]!.map((reference) => {
      const other = unit.get(reference)!;
      const isEmpty = [said, other].some(({ special }) => special.every(Boolean));
      if (isEmpty) return { precision: 0, recall: 0, f1: 0 };
      const precision = matched(said, other, weightsOf(said));
      const recall = matched(other, said, weightsOf(other));
      const sum = precision + recall;
      const f1 = sum === 0 ? 0 : (2 * precision * recall) / sum;
      const scaled = (x: number) => (x - baseline) / (1 - baseline);
      return { precision: scaled(precision), recall: scaled(recall), f1: scaled(f1) };
    });
    return scores.reduce((best, score) => (score.f1 > best.f1 ? score : best));
  });
}

/** The mean of the best cosines of a text's tokens. */
function matched(from: TokenVectors, to: TokenVectors, weights: readonly number[]): number {
  const total = weights.reduce((sum, x) => sum + x, 0);
  // All tokens are in every reference.
  if (total === 0) return 0;
  let sum = 0;
  from.vectors.forEach((vector, i) => {
    if (weights[i] === 0) return;
    let best = Number.NEGATIVE_INFINITY;
    for (const other of to.vectors) {
      let cosine = 0;
      for (let k = 0; k < vector.length; k++) cosine += vector[k]! * other[k]!;
      if (cosine > best) best = cosine;
    }
    sum += weights[i]! * best;
  });
  return sum / total;
}

function unitVectors(name: string, text: TokenVectors): TokenVectors {
  const { tokens, vectors, special } = text;
  const width = vectors[0]?.length;
  if (vectors.length !== tokens.length || special.length !== tokens.length || vectors.some((v) => v.length !== width)) {
    throw new EvaluationError(
      'BAD_RESPONSE',
      `bertScore: ${name} must give each token a vector of one length, and say whether it is special.`,
    );
  }
  const units = vectors.map((vector) => {
    const length = Math.hypot(...vector);
    return vector.map((x) => x / length);
  });
  return { tokens, vectors: units, special };
}
