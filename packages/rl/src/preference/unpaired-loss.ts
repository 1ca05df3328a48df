import type { Tensor } from '@posttrain/core-tensor';
import type { DecisiveSettings } from '@posttrain/interfaces';
import { type Loss, predictions, type TrainingRow, weightedSum } from '@posttrain/training';

/** What policy and reference think of n completions, float32 [n] each. */
export interface UnpairedLogProbs {
  /** log π of the completion, summed over its tokens. */
  readonly logProbs: Tensor;
  /** The same under the reference. */
  readonly reference: Tensor;
  /** Tokens of the completion. */
  readonly lengths: Tensor;
  /** 1 for completions that are desirable, else 0. */
  readonly desirable: Tensor;
}

/** What a loss can ask about a step before its gradients. */
export interface UnpairedStep {
  /**
   * log π(y'|x) - log π_ref(y'|x), summed over tokens, of every prompt x of the step with the completion y' of the row before it
   * (of the last, for the first), as TRL pairs them.
   */
  mismatchedLogRatios(): Promise<readonly number[]>;
}

/** A preference loss over single completions, each of which is desirable or not. */
export interface UnpairedLoss {
  readonly kind: 'unpaired';
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** The implicit reward is beta · (log π - log π_ref): what `rewards/*` logs. */
  readonly beta: number;
  /** Names of the numbers of a step that `before` gives. They are logged under these names. */
  readonly scalars?: readonly string[];
  /** Numbers of the step, from the policy as it is before the update; they get no gradient. */
  before?(step: UnpairedStep): Promise<Readonly<Record<string, number>>>;
  /** Loss of every completion, [n]. */
  compute(completions: UnpairedLogProbs, scalars: Readonly<Record<string, Tensor>>): Tensor;
}

/** A prompt and a completion as tokens, whether it is desirable, and log π_ref of each of its tokens. */
export interface UnpairedCompletion {
  readonly promptTokens: readonly number[];
  readonly completionTokens: readonly number[];
  readonly desirable: boolean;
  readonly reference: ArrayLike<number>;
}

/** Training rows of completions, each token with weight 1 / number of completions. */
export function annotateUnpaired(completions: readonly UnpairedCompletion[]): TrainingRow[] {
  const tokens = completions.reduce((sum, { completionTokens }) => sum + completionTokens.length, 0);
  const desirable = completions.filter((completion) => completion.desirable).length;
  return completions.map((completion): TrainingRow => {
    const { promptTokens, completionTokens, reference, desirable: isDesirable } = completion;
    const place = (value: (t: number) => number) => [
      ...new Array<number>(promptTokens.length - 1).fill(0),
      ...completionTokens.map((_, t) => value(t)),
    ];
    return {
      tokens: [...promptTokens, ...completionTokens],
      weights: place(() => 1 / completions.length),
      annotations: {
        reference_log_probs: place((t) => reference[t]!),
        token_mean: place(() => 1 / tokens),
        desirable: [isDesirable ? 1 : 0],
        desirable_mean: [isDesirable ? 1 / desirable : 0],
        undesirable_mean: [isDesirable ? 0 : 1 / (completions.length - desirable)],
      },
    };
  });
}

/** A loss over rows of `annotateUnpaired`, with the metrics of TRL's KTOTrainer (`logits/*` excepted). */
export function unpairedLoss(preference: UnpairedLoss): Loss {
  const { name, beta, scalars = [] } = preference;
  const perRow = (row: string) => ({ name: row, per: 'row' }) as const;
  return {
    name,
    annotations: [
      'reference_log_probs',
      'token_mean',
      ...['desirable', 'desirable_mean', 'undesirable_mean'].map(perRow),
    ],
    scalars,
    computeFrom(read, { weights, annotations, scalars: numbers }) {
      const { logProbs: tokens, entropies } = read(predictions());
      const mask = weights.notEqual(0).cast('float32');
      const logProbs = tokens.mul(mask).sum(1);
      const reference = annotations.reference_log_probs!.sum(1);
      const completions = { logProbs, reference, lengths: mask.sum(1), desirable: annotations.desirable! };
      const reward = logProbs.sub(reference).mul(beta);
      const [chosen, rejected] = [annotations.desirable_mean!, annotations.undesirable_mean!];
      const rewards = [weightedSum(reward, chosen), weightedSum(reward, rejected)] as const;
      return {
        loss: weightedSum(preference.compute(completions, numbers), weights.max(1)),
        metrics: {
          'rewards/chosen': rewards[0],
          'rewards/rejected': rewards[1],
          'rewards/margins': rewards[0].sub(rewards[1]),
          'logps/chosen': weightedSum(logProbs, chosen),
          'logps/rejected': weightedSum(logProbs, rejected),
          entropy: weightedSum(entropies, annotations.token_mean!),
        },
      };
    },
  };
}
