import type { Tensor } from '@posttrain/core-tensor';
import type { TrainingRow } from '@posttrain/training';
import { type Completions, columnName, type PreferenceLossDescription, type PreferenceLosses } from './completions.js';

/** What policy and reference think of n completions, float32 [n] each. */
export interface UnpairedLogProbs extends Completions {
  /** 1 for completions that are desirable, else 0. */
  readonly desirable: Tensor;
  /** What the rows say in the columns that the loss names. */
  readonly columns: Readonly<Record<string, Tensor>>;
}

/** What a loss can ask about a step before its gradients. */
export interface UnpairedStep {
  /**
   * log π(y'|x) - log π_ref(y'|x), summed over tokens, of every prompt x of the step with the completion y' of the row before it
   * (of the last, for the first), as TRL pairs them.
   */
  mismatchedLogRatios(): Promise<readonly number[]>;
  /** log π(y|x) - log π_ref(y|x) of the completions of the step, summed over tokens. */
  logRatios(): Promise<readonly number[]>;
  /** The numbers of the step before, which a resumed run has again; undefined for the first step, and for evaluations before it. */
  readonly previous: Readonly<Record<string, number>> | undefined;
  /** Whether it is an evaluation, whose numbers no later step sees. */
  readonly isEvaluation: boolean;
}

/** A preference loss over single completions, each of which is desirable or not. It always compares with a reference. */
export interface UnpairedLoss extends Omit<PreferenceLossDescription, 'reference' | 'logProbs'> {
  readonly kind: 'unpaired';
  /** Names of the numbers of a step that `before` gives. They are logged under these names. */
  readonly scalars?: readonly string[];
  /** Columns of the rows that it takes numbers from; true is 1 and false is 0. Default: none. */
  readonly columns?: readonly string[];
  /** Numbers of the step, from the policy as it is before the update; they get no gradient. */
  before?(step: UnpairedStep): Promise<Readonly<Record<string, number>>>;
  /** Loss of every completion, [n]; or with further numbers of every completion, whose means are logged. */
  compute(completions: UnpairedLogProbs, scalars: Readonly<Record<string, Tensor>>): Tensor | PreferenceLosses;
}

/** A prompt and a completion as tokens, whether it is desirable, and log π_ref of each of its tokens. */
export interface UnpairedCompletion {
  readonly promptTokens: readonly number[];
  readonly completionTokens: readonly number[];
  readonly desirable: boolean;
  readonly reference: ArrayLike<number>;
  /** Of the columns that the loss names. */
  readonly columns?: Readonly<Record<string, number>>;
  /** What the loss declares as its `annotations`: see `TrainingRow.annotations`. */
  readonly annotations?: NonNullable<TrainingRow['annotations']>;
}

/** Training rows of completions, each token with weight 1 / number of completions. */
export function annotateUnpaired(
  completions: readonly UnpairedCompletion[],
  { columns = [] }: Pick<UnpairedLoss, 'columns'> = {},
): TrainingRow[] {
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
        ...completion.annotations,
        ...Object.fromEntries(columns.map((name) => [columnName(name), [completion.columns![name]!]])),
        reference_log_probs: place((t) => reference[t]!),
        token_mean: place(() => 1 / tokens),
        desirable: [isDesirable ? 1 : 0],
        desirable_mean: [isDesirable ? 1 / desirable : 0],
        undesirable_mean: [isDesirable ? 0 : 1 / (completions.length - desirable)],
      },
    };
  });
}
