import { type Tensor, tensor } from '@posttrain/core-tensor';
import { type DecisiveSettings, PosttrainError } from '@posttrain/interfaces';
import { type CoupledLoss, sequenceLogProb, type TokenLoss, type TrainingRow, weightedSum } from '@posttrain/training';

/** What policy and reference think of p pairs of completions, float32 [p] each. Nothing of it is computed unless it is read. */
export interface PairLogProbs {
  /** log π of the completion, summed over its tokens (or their mean, where the loss says `logProbs: 'mean'`). */
  readonly chosen: Tensor;
  readonly rejected: Tensor;
  /** The same under the reference. @throws PosttrainError NO_REFERENCE where the loss says that it needs none */
  readonly referenceChosen: Tensor;
  readonly referenceRejected: Tensor;
  /** Tokens of the completion. */
  readonly chosenLengths: Tensor;
  readonly rejectedLengths: Tensor;
  /** What the rows say in the columns that the loss names. */
  readonly columns: Readonly<Record<string, Tensor>>;
  /** Token by token, [p, t]. @throws PosttrainError NO_TOKENS in a coupled loss */
  readonly chosenTokens: CompletionLogProbs;
  readonly rejectedTokens: CompletionLogProbs;
}

/** Log-probabilities of the tokens of p completions, float32 [p, t] each; 0 outside the completion. */
export interface CompletionLogProbs {
  readonly logProbs: Tensor;
  /** Under the reference. @throws PosttrainError NO_REFERENCE where the loss says that it needs none */
  readonly reference: Tensor;
  /** 1 on the tokens of the completion. */
  readonly mask: Tensor;
}

/** A preference loss over pairs: a pure function of what policy and reference think of them. */
export interface PreferenceLoss {
  readonly kind?: 'pairs';
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** The implicit reward is beta · (log π - log π_ref), without a reference beta · log π: what `rewards/*` logs. */
  readonly beta: number;
  /** Whether it compares with a reference. False: none is run. Default true. */
  readonly reference?: boolean;
  /** Whether log-probabilities, and the rewards that are logged, are sums over tokens or their means. Default `sum`. */
  readonly logProbs?: 'sum' | 'mean';
  /**
   * Adds `weight` times the negative log-likelihood of the chosen completions, a mean over all tokens of the step: of the
   * `completion`, or of the whole `sequence` with its prompt. Default: none.
   */
  readonly nll?: { readonly weight: number; readonly over: 'completion' | 'sequence' };
  /** Columns of the rows that it takes numbers from, one a pair; true is 1 and false is 0. Default: none. */
  readonly columns?: readonly string[];
  /** Whether it needs all pairs of a step at once, because one pair's loss depends on the others. Default false. */
  readonly coupled?: boolean;
  /** Loss of every pair, [p]; or with further numbers of every pair, whose means are logged. */
  compute(
    pairs: PairLogProbs,
  ): Tensor | { readonly losses: Tensor; readonly metrics: Readonly<Record<string, Tensor>> };
}

/** Tokens of a preference pair. */
export interface TokenizedPair {
  readonly promptTokens: readonly number[];
  readonly chosenTokens: readonly number[];
  readonly rejectedTokens: readonly number[];
  /** Of the columns that the loss names. */
  readonly columns?: Readonly<Record<string, number>>;
}

/** log π_ref of every completion token of a pair. */
export interface PairReference {
  readonly chosen: ArrayLike<number>;
  readonly rejected: ArrayLike<number>;
}

/** A pair with what the reference thinks of it, where the loss asks for that. */
export type ReferredPair = TokenizedPair & { readonly reference?: PairReference };

const nothing = (code: string, what: string) => () => {
  throw new PosttrainError(code, what);
};
const noReference = (name: string) =>
  nothing(
    'NO_REFERENCE',
    `the loss ${name} says reference: false, so nothing was computed with a reference; leave it out`,
  );

/** The annotation that has a column of the rows. */
const columnName = (column: string): string => `column_${column}`;

/** Training rows of pairs: chosen and rejected in turn, each completion token with weight 1 / number of pairs. */
export function annotatePairs(
  pairs: readonly ReferredPair[],
  { nll, columns = [] }: Pick<PreferenceLoss, 'nll' | 'columns'> = {},
): TrainingRow[] {
  const sum = (of: (pair: TokenizedPair) => number) => pairs.reduce((total, pair) => total + of(pair), 0);
  const chosenTokens = sum((pair) => pair.chosenTokens.length);
  const promptTokens = sum((pair) => pair.promptTokens.length - 1);
  const allTokens = chosenTokens + sum((pair) => pair.rejectedTokens.length);
  const likely = chosenTokens + (nll?.over === 'sequence' ? promptTokens : 0);
  return pairs.flatMap((pair) => {
    const { promptTokens: prompt, chosenTokens: chosen, rejectedTokens: rejected, reference } = pair;
    // A number of the pair stands at its first token.
    const numbers = columns.map(
      (name) => [columnName(name), (t: number) => (t === 0 ? pair.columns![name]! : 0)] as const,
    );
    const row = (
      completion: readonly number[],
      logProbs: ArrayLike<number> | undefined,
      isChosen: boolean,
    ): TrainingRow => {
      const place = (value: (t: number) => number, ofPrompt = 0) => [
        ...new Array<number>(prompt.length - 1).fill(ofPrompt),
        ...completion.map((_, t) => value(t)),
      ];
      const likelihood = isChosen ? 1 / likely : 0;
      return {
        tokens: [...prompt, ...completion],
        weights: place(() => 1 / pairs.length),
        annotations: {
          ...(logProbs && { reference_log_probs: place((t) => logProbs[t]!) }),
          ...(nll && { nll_weights: place(() => likelihood, nll.over === 'sequence' ? likelihood : 0) }),
          ...Object.fromEntries(numbers.map(([name, value]) => [name, place(value)])),
          token_mean: place(() => 1 / allTokens),
          chosen_token_mean: place(() => (isChosen ? 1 / chosenTokens : 0)),
        },
      };
    };
    return [row(chosen, reference?.chosen, true), row(rejected, reference?.rejected, false)];
  });
}

/** Of [2p, ...], chosen and rejected in turn: [p, ...] each. */
function split(rows: Tensor): [chosen: Tensor, rejected: Tensor] {
  const [n, ...rest] = rows.shape as [number, ...number[]];
  const table = rows.reshape([n / 2, 2, ...rest]);
  return [table.slice(1, 0, 1).squeeze(1), table.slice(1, 1, 2).squeeze(1)];
}

/** What a loss is asked with, of what each row has: [2p]. */
function pairsOf(
  { name, logProbs: kind = 'sum', reference: hasReference = true, columns = [] }: PreferenceLoss,
  rows: {
    readonly sums: Tensor;
    readonly lengths: () => Tensor;
    readonly references: () => Tensor;
    readonly column: (name: string) => Tensor;
  },
  tokens: () => [CompletionLogProbs, CompletionLogProbs],
): PairLogProbs {
  const scaled = (values: Tensor) => (kind === 'mean' ? values.div(rows.lengths()) : values);
  const [chosen, rejected] = split(scaled(rows.sums));
  let known: [Tensor, Tensor] | undefined;
  const references = () => {
    known ??= hasReference ? split(scaled(rows.references())) : noReference(name)();
    return known;
  };
  return {
    ...{ chosen, rejected },
    columns: Object.fromEntries(columns.map((column) => [column, split(rows.column(column))[0]])),
    get referenceChosen() {
      return references()[0];
    },
    get referenceRejected() {
      return references()[1];
    },
    get chosenLengths() {
      return split(rows.lengths())[0];
    },
    get rejectedLengths() {
      return split(rows.lengths())[1];
    },
    get chosenTokens() {
      return tokens()[0];
    },
    get rejectedTokens() {
      return tokens()[1];
    },
  };
}

/** The loss of every pair with the means that are logged for it. */
function resultOf(preference: PreferenceLoss, pairs: PairLogProbs, mean: (values: Tensor) => Tensor) {
  const { beta, reference = true } = preference;
  const { chosen, rejected } = pairs;
  const rewardChosen = (reference ? chosen.sub(pairs.referenceChosen) : chosen).mul(beta);
  const rewardRejected = (reference ? rejected.sub(pairs.referenceRejected) : rejected).mul(beta);
  const computed = preference.compute(pairs);
  const { losses, metrics = {} } = 'losses' in computed ? computed : { losses: computed };
  return {
    loss: mean(losses),
    metrics: {
      'rewards/chosen': mean(rewardChosen),
      'rewards/rejected': mean(rewardRejected),
      'rewards/accuracies': mean(rewardChosen.greater(rewardRejected).cast('float32')),
      'rewards/margins': mean(rewardChosen.sub(rewardRejected)),
      'logps/chosen': mean(chosen),
      'logps/rejected': mean(rejected),
      ...Object.fromEntries(Object.entries(metrics).map(([name, values]) => [name, mean(values)])),
    },
  };
}

/**
 * A preference loss over rows of `annotatePairs`, with the metrics of TRL's DPOTrainer (`logits/*` excepted), and `nll_loss` where
 * it has that term.
 *
 * @throws PosttrainError COUPLED_LOSS for a loss that needs all pairs of a step at once: `coupledPairs` is for those
 */
export function preferenceTokenLoss(preference: PreferenceLoss): TokenLoss {
  const { name, nll, reference = true, coupled, columns = [] } = preference;
  if (coupled)
    throw new PosttrainError('COUPLED_LOSS', `the loss ${name} couples the pairs of a step; use coupledPairs`);
  const own = [...(reference ? ['reference_log_probs'] : []), ...(nll ? ['nll_weights'] : [])];
  return {
    name,
    annotations: [...own, ...columns.map(columnName), 'token_mean', 'chosen_token_mean'],
    groupSize: 2,
    compute({ logProbs, entropies, isGreedy, weights, annotations }) {
      const mask = weights.notEqual(0).cast('float32');
      // Of padding the length is 1, so that nothing is divided by 0.
      const lengths = () => mask.sum(1).maximum(1);
      const referenceTokens = annotations.reference_log_probs;
      const rows = {
        ...{ sums: logProbs.mul(mask).sum(1), lengths, references: () => referenceTokens!.sum(1) },
        column: (column: string) => annotations[columnName(column)]!.sum(1),
      };
      const tokens = (): [CompletionLogProbs, CompletionLogProbs] => {
        const [own, masks] = [split(logProbs.mul(mask)), split(mask)];
        const references = reference ? () => split(referenceTokens!) : noReference(name);
        const of = (i: 0 | 1): CompletionLogProbs => ({
          ...{ logProbs: own[i], mask: masks[i] },
          get reference() {
            return references()[i];
          },
        });
        return [of(0), of(1)];
      };
      // 1 / number of pairs in the step, and 0 for pairs that are padding.
      const [pairWeight] = split(weights.max(1));
      const mean = (values: Tensor) => weightedSum(values, pairWeight);
      const { loss, metrics } = resultOf(preference, pairsOf(preference, rows, tokens), mean);
      const likelihood = nll && weightedSum(logProbs.neg(), annotations.nll_weights!);
      return {
        loss: likelihood ? loss.add(likelihood.mul(nll.weight)) : loss,
        metrics: {
          ...metrics,
          ...(likelihood && { nll_loss: likelihood }),
          entropy: weightedSum(entropies, annotations.token_mean!),
          mean_token_accuracy: weightedSum(isGreedy, annotations.chosen_token_mean!),
        },
      };
    },
  };
}

/**
 * A coupled preference loss over the rows of `annotatePairs` of a whole step, for `forwardBackwardCoupled`.
 *
 * @throws PosttrainError COUPLED_LOSS for one with an NLL term
 */
export function coupledPairs(preference: PreferenceLoss, pairs: readonly ReferredPair[]): CoupledLoss {
  const { name, nll } = preference;
  if (nll)
    throw new PosttrainError('COUPLED_LOSS', `the loss ${name} couples the pairs of a step, and cannot have an nll`);
  const rows = (of: (tokens: readonly number[], reference: ArrayLike<number> | undefined) => number) => {
    const values = pairs.flatMap(({ chosenTokens, rejectedTokens, reference }) => [
      of(chosenTokens, reference?.chosen),
      of(rejectedTokens, reference?.rejected),
    ]);
    return tensor(Float32Array.from(values), [values.length]);
  };
  const total = (values: ArrayLike<number>) => Array.prototype.reduce.call(values, (a, b) => a + b, 0) as number;
  const lengths = () => rows((tokens) => tokens.length);
  const references = () => rows((_, reference) => total(reference!));
  const column = (of: string) => {
    const values = pairs.flatMap(({ columns }) => [columns![of]!, columns![of]!]);
    return tensor(Float32Array.from(values), [values.length]);
  };
  const noTokens = nothing('NO_TOKENS', `the loss ${name} couples the pairs of a step, and sees no tokens`);
  return {
    name,
    groupSize: 2,
    readout: sequenceLogProb,
    compute: (sums) =>
      resultOf(preference, pairsOf(preference, { sums, lengths, references, column }, noTokens), (values) =>
        values.mean(),
      ),
  };
}
