import type { Tensor } from '@posttrain/core-tensor';
import type { TrainingRow } from '@posttrain/training';
import type { Completions, PreferenceLossDescription, PreferenceLosses } from './completions.js';

/** What policy and reference think of n completions of several prompts, float32 [n] each. Nothing is computed unless it is read. */
export interface RankedLogProbs extends Completions {
  /** What the completion is worth: higher is better. */
  readonly scores: Tensor;
  /** float32 [n, n]: 1 where two completions are of one prompt, as each is with itself; 0 on padding. */
  readonly together: Tensor;
  /** float32 [n, n]: 1 where the first of two completions of one prompt (axis 0) has the higher score. */
  readonly ahead: Tensor;
}

/** A preference loss over rankings: of any number of completions of a prompt, with what each of them is worth. */
export interface RankedLoss extends PreferenceLossDescription {
  readonly kind: 'ranked';
  /** Adds `weight` times the negative log-likelihood of the best completions, a mean over all of their tokens. Default: none. */
  readonly nll?: { readonly weight: number };
  /**
   * Smallest and largest score that it computes with; a row with another is refused. Default: every finite number.
   */
  readonly scoreRange?: readonly [smallest: number, largest: number];
  /**
   * What every completion adds to the loss of its ranking, [n]; or with further numbers that it adds to what is logged. Rankings
   * count alike, however long they are.
   */
  compute(completions: RankedLogProbs): Tensor | PreferenceLosses;
}

/** Tokens of a ranking. */
export interface TokenizedRanking {
  readonly promptTokens: readonly number[];
  readonly completions: readonly (readonly number[])[];
  /** Of every completion; higher is better. */
  readonly scores: readonly number[];
  /** What the loss declares as its `annotations`, of every completion: see `TrainingRow.annotations`. */
  readonly annotations?: readonly NonNullable<TrainingRow['annotations']>[];
}

/** A ranking with log π_ref of every token of every completion, where the loss asks for that. */
export type ReferredRanking = TokenizedRanking & { readonly references?: readonly ArrayLike<number>[] };

/** Training rows of rankings: their completions one after the other, each token with weight 1 / number of rankings. */
export function annotateRankings(rankings: readonly ReferredRanking[]): TrainingRow[] {
  const all = rankings.flatMap(({ promptTokens, completions, scores, references, annotations }, group) => {
    const [best, worst] = [Math.max(...scores), Math.min(...scores)];
    const [first, last] = [best, worst].map((score) => scores.filter((x) => x === score).length);
    return completions.map((completion, i) => ({
      ...{ promptTokens, completion, group, score: scores[i]!, reference: references?.[i], given: annotations?.[i] },
      isBest: scores[i] === best,
      ofBest: scores[i] === best ? 1 / first! : 0,
      ofWorst: scores[i] === worst ? 1 / last! : 0,
    }));
  });
  const tokensOf = (rows: typeof all) => rows.reduce((sum, { completion }) => sum + completion.length, 0);
  const [tokens, bestTokens] = [tokensOf(all), tokensOf(all.filter(({ isBest }) => isBest))];
  return all.map(
    ({ promptTokens, completion, group, score, reference, isBest, ofBest, ofWorst, given }): TrainingRow => {
      const place = (value: (t: number) => number) => [
        ...new Array<number>(promptTokens.length - 1).fill(0),
        ...completion.map((_, t) => value(t)),
      ];
      return {
        tokens: [...promptTokens, ...completion],
        weights: place(() => 1 / rankings.length),
        group,
        annotations: {
          ...given,
          ...(reference && { reference_log_probs: place((t) => reference[t]!) }),
          token_mean: place(() => 1 / tokens),
          best_token_mean: place(() => (isBest ? 1 / bestTokens : 0)),
          score: [score],
          best_mean: [ofBest / rankings.length],
          worst_mean: [ofWorst / rankings.length],
        },
      };
    },
  );
}

/** float32 [n, n]: 1 where a value (axis 0) is above another. */
export const isAbove = (values: Tensor): Tensor => values.expandDims(1).greater(values.expandDims(0)).cast('float32');

/** Of values [n], the sum over all completions of the same prompt, [n]. */
export const sumTogether = (together: Tensor, values: Tensor): Tensor => together.mul(values).sum(1);
