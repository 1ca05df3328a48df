import type { Tensor } from '@posttrain/core-tensor';
import { type DecisiveSettings, PosttrainError } from '@posttrain/interfaces';
import { type Loss, predictions, type TrainingRow, weightedSum } from '@posttrain/training';

/** What policy and reference think of n completions of several prompts, float32 [n] each. Nothing is computed unless it is read. */
export interface RankedLogProbs {
  /** log π of the completion, summed over its tokens (or their mean, where the loss says `logProbs: 'mean'`). */
  readonly logProbs: Tensor;
  /** The same under the reference. @throws PosttrainError NO_REFERENCE where the loss says that it needs none */
  readonly reference: Tensor;
  /** Tokens of the completion. */
  readonly lengths: Tensor;
  /** What the completion is worth: higher is better. */
  readonly scores: Tensor;
  /** float32 [n, n]: 1 where two completions are of one prompt, as each is with itself; 0 on padding. */
  readonly together: Tensor;
  /** float32 [n, n]: 1 where the first of two completions of one prompt (axis 0) has the higher score. */
  readonly ahead: Tensor;
}

/** A preference loss over rankings: of any number of completions of a prompt, with what each of them is worth. */
export interface RankedLoss {
  readonly kind: 'ranked';
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** The implicit reward is beta · (log π - log π_ref), without a reference beta · log π: what `rewards/*` logs. */
  readonly beta: number;
  /** Whether it compares with a reference. False: none is run. Default true. */
  readonly reference?: boolean;
  /** Whether log-probabilities, and the rewards that are logged, are sums over tokens or their means. Default `sum`. */
  readonly logProbs?: 'sum' | 'mean';
  /** Adds `weight` times the negative log-likelihood of the best completions, a mean over all of their tokens. Default: none. */
  readonly nll?: { readonly weight: number };
  /** What every completion adds to the loss of its ranking, [n]. Rankings count alike, however long they are. */
  compute(completions: RankedLogProbs): Tensor;
}

/** Tokens of a ranking. */
export interface TokenizedRanking {
  readonly promptTokens: readonly number[];
  readonly completions: readonly (readonly number[])[];
  /** Of every completion; higher is better. */
  readonly scores: readonly number[];
}

/** A ranking with log π_ref of every token of every completion, where the loss asks for that. */
export type ReferredRanking = TokenizedRanking & { readonly references?: readonly ArrayLike<number>[] };

/** Training rows of rankings: their completions one after the other, each token with weight 1 / number of rankings. */
export function annotateRankings(rankings: readonly ReferredRanking[]): TrainingRow[] {
  const all = rankings.flatMap(({ promptTokens, completions, scores, references }, group) => {
    const [best, worst] = [Math.max(...scores), Math.min(...scores)];
    const [first, last] = [best, worst].map((score) => scores.filter((x) => x === score).length);
    return completions.map((completion, i) => ({
      ...{ promptTokens, completion, group, score: scores[i]!, reference: references?.[i] },
      isBest: scores[i] === best,
      ofBest: scores[i] === best ? 1 / first! : 0,
      ofWorst: scores[i] === worst ? 1 / last! : 0,
    }));
  });
  const tokensOf = (rows: typeof all) => rows.reduce((sum, { completion }) => sum + completion.length, 0);
  const [tokens, bestTokens] = [tokensOf(all), tokensOf(all.filter(({ isBest }) => isBest))];
  return all.map(({ promptTokens, completion, group, score, reference, isBest, ofBest, ofWorst }): TrainingRow => {
    const place = (value: (t: number) => number) => [
      ...new Array<number>(promptTokens.length - 1).fill(0),
      ...completion.map((_, t) => value(t)),
    ];
    return {
      tokens: [...promptTokens, ...completion],
      weights: place(() => 1 / rankings.length),
      group,
      annotations: {
        ...(reference && { reference_log_probs: place((t) => reference[t]!) }),
        token_mean: place(() => 1 / tokens),
        best_token_mean: place(() => (isBest ? 1 / bestTokens : 0)),
        score: [score],
        best_mean: [ofBest / rankings.length],
        worst_mean: [ofWorst / rankings.length],
      },
    };
  });
}

/** float32 [n, n]: 1 where a value (axis 0) is above another. */
const isAbove = (values: Tensor): Tensor => values.expandDims(1).greater(values.expandDims(0)).cast('float32');

/** Of values [n], the sum over all completions of the same prompt, [n]. */
export const sumTogether = (together: Tensor, values: Tensor): Tensor => together.mul(values).sum(1);

/**
 * A loss over rows of `annotateRankings`. Its metrics have the names of those of pairs: `chosen` are the best completions of a
 * ranking, `rejected` the worst ones, and `rewards/accuracies` is the share of unequal pairs of a ranking that the policy orders
 * rightly.
 */
export function rankedLoss(preference: RankedLoss): Loss {
  const { name, beta, reference: hasReference = true, logProbs: kind = 'sum', nll } = preference;
  const perRow = (row: string) => ({ name: row, per: 'row' }) as const;
  return {
    name,
    groupSize: 'any',
    annotations: [
      ...(hasReference ? ['reference_log_probs'] : []),
      ...['token_mean', 'best_token_mean'],
      ...['score', 'best_mean', 'worst_mean'].map(perRow),
    ],
    computeFrom(read, { weights, annotations, groups }) {
      const { logProbs: tokens, entropies, isGreedy } = read(predictions());
      const mask = weights.notEqual(0).cast('float32');
      // Of padding the length is 1, so that nothing is divided by 0.
      const lengths = mask.sum(1).maximum(1);
      const scaled = (perToken: Tensor) => (kind === 'mean' ? perToken.sum(1).div(lengths) : perToken.sum(1));
      const logProbs = scaled(tokens.mul(mask));
      const scores = annotations.score!;
      const known = groups!.notEqual(0).cast('float32');
      const together = groups!.expandDims(1).equal(groups!.expandDims(0)).cast('float32').mul(known);
      const ahead = together.mul(isAbove(scores));
      const losses = preference.compute({
        ...{ logProbs, lengths, scores, together, ahead },
        get reference() {
          if (hasReference) return scaled(annotations.reference_log_probs!);
          const problem = `the loss ${name} says reference: false, so nothing was computed with a reference; leave it out`;
          throw new PosttrainError('NO_REFERENCE', problem);
        },
      });
      const rewards = (hasReference ? logProbs.sub(scaled(annotations.reference_log_probs!)) : logProbs).mul(beta);
      const [best, worst] = [annotations.best_mean!, annotations.worst_mean!];
      const weight = weights.max(1);
      const right = ahead.mul(isAbove(rewards)).sum(1);
      const pairs = sumTogether(together, ahead.sum(1));
      const likelihood = nll && weightedSum(tokens.neg(), annotations.best_token_mean!);
      const loss = weightedSum(losses, weight);
      const [chosen, rejected] = [weightedSum(rewards, best), weightedSum(rewards, worst)];
      return {
        loss: likelihood ? loss.add(likelihood.mul(nll.weight)) : loss,
        metrics: {
          'rewards/chosen': chosen,
          'rewards/rejected': rejected,
          'rewards/accuracies': weightedSum(right.div(pairs.maximum(1)), weight),
          'rewards/margins': chosen.sub(rejected),
          'logps/chosen': weightedSum(logProbs, best),
          'logps/rejected': weightedSum(logProbs, worst),
          ...(likelihood && { nll_loss: likelihood }),
          entropy: weightedSum(entropies, annotations.token_mean!),
          mean_token_accuracy: weightedSum(isGreedy, annotations.best_token_mean!),
        },
      };
    },
  };
}
