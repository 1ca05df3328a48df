import type { Tensor } from '@posttrain/core-tensor';
import type { DecisiveSettings } from '@posttrain/interfaces';
import { type TokenLoss, type TrainingRow, weightedSum } from '@posttrain/training';

/** Summed log-probabilities of p pairs of completions, float32 [p] each. */
export interface PairLogProbs {
  readonly chosen: Tensor;
  readonly rejected: Tensor;
  readonly referenceChosen: Tensor;
  readonly referenceRejected: Tensor;
}

/** A preference loss: a pure function of what policy and reference think of a pair. */
export interface PreferenceLoss {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** The implicit reward is beta · (log π - log π_ref): what `rewards/*` logs. */
  readonly beta: number;
  /** Loss of every pair, [p]. */
  compute(pairs: PairLogProbs): Tensor;
}

/** Tokens of a preference pair. */
export interface TokenizedPair {
  readonly promptTokens: readonly number[];
  readonly chosenTokens: readonly number[];
  readonly rejectedTokens: readonly number[];
}

/** log π_ref of every completion token of a pair. */
export interface PairReference {
  readonly chosen: ArrayLike<number>;
  readonly rejected: ArrayLike<number>;
}

/** Training rows of pairs: chosen and rejected in turn, each completion token with weight 1 / number of pairs. */
export function annotatePairs(
  pairs: readonly (TokenizedPair & { readonly reference: PairReference })[],
): TrainingRow[] {
  const sum = (of: (pair: TokenizedPair) => number) => pairs.reduce((total, pair) => total + of(pair), 0);
  const chosenTokens = sum((pair) => pair.chosenTokens.length);
  const allTokens = chosenTokens + sum((pair) => pair.rejectedTokens.length);
  return pairs.flatMap(({ promptTokens, chosenTokens: chosen, rejectedTokens: rejected, reference }) => {
    const row = (completion: readonly number[], logProbs: ArrayLike<number>, isChosen: boolean): TrainingRow => {
      const place = (value: (t: number) => number) => [
        ...new Array<number>(promptTokens.length - 1).fill(0),
        ...completion.map((_, t) => value(t)),
      ];
      return {
        tokens: [...promptTokens, ...completion],
        weights: place(() => 1 / pairs.length),
        annotations: {
          reference_log_probs: place((t) => logProbs[t]!),
          token_mean: place(() => 1 / allTokens),
          chosen_token_mean: place(() => (isChosen ? 1 / chosenTokens : 0)),
        },
      };
    };
    return [row(chosen, reference.chosen, true), row(rejected, reference.rejected, false)];
  });
}

/** A preference loss over rows of `annotatePairs`, with the metrics of TRL's DPOTrainer (`logits/*` excepted). */
export function preferenceTokenLoss(preference: PreferenceLoss): TokenLoss {
  return {
    name: preference.name,
    annotations: ['reference_log_probs', 'token_mean', 'chosen_token_mean'],
    groupSize: 2,
    compute({ logProbs, entropies, isGreedy, weights, annotations }) {
      const mask = weights.notEqual(0).cast('float32');
      const pairs = weights.shape[0]! / 2;
      const split = (perSequence: Tensor): [Tensor, Tensor] => {
        const table = perSequence.reshape([pairs, 2]);
        return [table.slice(1, 0, 1).squeeze(1), table.slice(1, 1, 2).squeeze(1)];
      };
      const [chosen, rejected] = split(logProbs.mul(mask).sum(1));
      const [referenceChosen, referenceRejected] = split(annotations.reference_log_probs!.sum(1));
      // 1 / number of pairs in the step, and 0 for pairs that are padding.
      const [pairWeight] = split(weights.max(1));
      const rewardChosen = chosen.sub(referenceChosen).mul(preference.beta);
      const rewardRejected = rejected.sub(referenceRejected).mul(preference.beta);
      const mean = (values: Tensor) => weightedSum(values, pairWeight);
      return {
        loss: mean(preference.compute({ chosen, rejected, referenceChosen, referenceRejected })),
        metrics: {
          'rewards/chosen': mean(rewardChosen),
          'rewards/rejected': mean(rewardRejected),
          'rewards/accuracies': mean(rewardChosen.greater(rewardRejected).cast('float32')),
          'rewards/margins': mean(rewardChosen.sub(rewardRejected)),
          'logps/chosen': mean(chosen),
          'logps/rejected': mean(rejected),
          entropy: weightedSum(entropies, annotations.token_mean!),
          mean_token_accuracy: weightedSum(isGreedy, annotations.chosen_token_mean!),
        },
      };
    },
  };
}
