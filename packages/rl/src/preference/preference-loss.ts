import { Tensor, tensor } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import {
  type CoupledLoss,
  type Readout,
  type ReadoutValue,
  sequenceLogProb,
  type TeacherModel,
  type TrainingRow,
} from '@posttrain/training';
import {
  type CompletionLogProbs,
  type Completions,
  checkedLosses,
  columnName,
  noReference,
  nothing,
  type PreferenceLossDescription,
  type PreferenceLosses,
} from './completions.js';

/** What a readout gives of both completions of a pair. */
export interface OfPair<T> {
  readonly chosen: T;
  readonly rejected: T;
}

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
  /** As `Completions.read`, of both completions. @throws PosttrainError NO_TOKENS in a coupled loss */
  read<T extends ReadoutValue>(readout: Readout<T>): OfPair<T>;
  /** As `Completions.readReference`. @throws PosttrainError NO_REFERENCE, REFERENCE_PASS; NO_TOKENS in a coupled loss */
  readReference<T extends ReadoutValue>(readout: Readout<T>): OfPair<T>;
  /** As `Completions.readAgainst`. @throws PosttrainError NO_REFERENCE, REFERENCE_PASS; NO_TOKENS in a coupled loss */
  readAgainst<T extends ReadoutValue>(make: (reference: TeacherModel) => Readout<T>): OfPair<T>;
}

/** A preference loss over pairs: a pure function of what policy and reference think of them. */
export interface PreferenceLoss extends PreferenceLossDescription {
  readonly kind?: 'pairs';
  /**
   * Adds `weight` times the negative log-likelihood of the chosen completions, a mean over all tokens of the step: of the
   * `completion`, or of the whole `sequence` with its prompt. Default: none.
   */
  readonly nll?: { readonly weight: number; readonly over: 'completion' | 'sequence' };
  /** Columns of the rows that it takes numbers from, one a pair; true is 1 and false is 0. Default: none. */
  readonly columns?: readonly string[];
  /** Whether it needs all pairs of a step at once, because one pair's loss depends on the others. Default false. */
  readonly coupled?: boolean;
  /**
   * Whether pairs of twice the same completion teach it something. Default false: they are left out, as what is left of their
   * gradient is rounding.
   */
  readonly learnsFromEqual?: boolean;
  /** Loss of every pair, [p]; or with further numbers of every pair, whose means are logged. */
  compute(pairs: PairLogProbs): Tensor | PreferenceLosses;
}

/** Tokens of a preference pair. */
export interface TokenizedPair {
  readonly promptTokens: readonly number[];
  readonly chosenTokens: readonly number[];
  readonly rejectedTokens: readonly number[];
  /** Of the columns that the loss names. */
  readonly columns?: Readonly<Record<string, number>>;
  /** What the loss declares as its `annotations`, of the rows of prompt and completion: see `TrainingRow.annotations`. */
  readonly annotations?: OfPair<NonNullable<TrainingRow['annotations']>>;
}

/** log π_ref of every completion token of a pair. */
export interface PairReference {
  readonly chosen: ArrayLike<number>;
  readonly rejected: ArrayLike<number>;
}

/** A pair with what the reference thinks of it, where the loss asks for that. */
export type ReferredPair = TokenizedPair & { readonly reference?: PairReference };

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
          ...pair.annotations?.[isChosen ? 'chosen' : 'rejected'],
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
export function splitPairs(rows: Tensor): [chosen: Tensor, rejected: Tensor] {
  const [n, ...rest] = rows.shape as [number, ...number[]];
  const table = rows.reshape([n / 2, 2, ...rest]);
  return [table.slice(1, 0, 1).squeeze(1), table.slice(1, 1, 2).squeeze(1)];
}

/** The same of tensors by name. */
function splitValue<T extends ReadoutValue>(value: T): OfPair<T> {
  if (value instanceof Tensor) {
    const [chosen, rejected] = splitPairs(value) as [T & Tensor, T & Tensor];
    return { chosen, rejected };
  }
  const parts = Object.entries(value).map(([name, x]) => [name, splitPairs(x)] as const);
  const of = (i: 0 | 1) => Object.fromEntries(parts.map(([name, pair]) => [name, pair[i]])) as T;
  return { chosen: of(0), rejected: of(1) };
}

/** Completions, chosen and rejected in turn, as pairs. */
export function pairsOf(completions: Completions, columns: Readonly<Record<string, Tensor>>): PairLogProbs {
  const [chosen, rejected] = splitPairs(completions.logProbs);
  let known: [Tensor, Tensor] | undefined;
  const references = () => {
    known ??= splitPairs(completions.reference);
    return known;
  };
  const tokens = (i: 0 | 1): CompletionLogProbs => {
    const { logProbs, mask } = completions.tokens;
    return {
      ...{ logProbs: splitPairs(logProbs)[i], mask: splitPairs(mask)[i] },
      get reference() {
        return splitPairs(completions.tokens.reference)[i];
      },
    };
  };
  return {
    ...{ chosen, rejected, columns },
    get referenceChosen() {
      return references()[0];
    },
    get referenceRejected() {
      return references()[1];
    },
    get chosenLengths() {
      return splitPairs(completions.lengths)[0];
    },
    get rejectedLengths() {
      return splitPairs(completions.lengths)[1];
    },
    get chosenTokens() {
      return tokens(0);
    },
    get rejectedTokens() {
      return tokens(1);
    },
    read: (readout) => splitValue(completions.read(readout)),
    readReference: (readout) => splitValue(completions.readReference(readout)),
    readAgainst: (make) => splitValue(completions.readAgainst(make)),
  };
}

/** The loss of every pair with the means that are logged for it. */
export function lossOfPairs(preference: PreferenceLoss, pairs: PairLogProbs, mean: (values: Tensor) => Tensor) {
  const { name, beta, reference = true } = preference;
  const { chosen, rejected } = pairs;
  const rewardChosen = (reference ? chosen.sub(pairs.referenceChosen) : chosen).mul(beta);
  const rewardRejected = (reference ? rejected.sub(pairs.referenceRejected) : rejected).mul(beta);
  const { losses, metrics } = checkedLosses(name, preference.compute(pairs));
  return {
    loss: mean(losses),
    metrics: {
      'rewards/chosen': mean(rewardChosen),
      'rewards/rejected': mean(rewardRejected),
      'rewards/accuracies': mean(rewardChosen.greater(rewardRejected).cast('float32')),
      'rewards/margins': mean(rewardChosen.sub(rewardRejected)),
      'logps/chosen': mean(chosen),
      'logps/rejected': mean(rejected),
      ...Object.fromEntries(Object.entries(metrics).map(([metric, values]) => [metric, mean(values)])),
    },
  };
}

/**
 * A coupled preference loss over the rows of `annotatePairs` of a whole step, for `forwardBackwardCoupled`. It sees one number of
 * every completion, and no tokens and readouts.
 *
 * @throws PosttrainError COUPLED_LOSS for one with an NLL term, or that runs its reference
 */
export function coupledPairs(preference: PreferenceLoss, pairs: readonly ReferredPair[]): CoupledLoss {
  const { name, nll, reference: hasReference = true, logProbs: kind, columns = [], runsReference } = preference;
  if (nll || runsReference) {
    const what = nll ? 'cannot have an nll' : 'runs no reference in a pass';
    throw new PosttrainError('COUPLED_LOSS', `the loss ${name} couples the pairs of a step, and ${what}`);
  }
  const rows = (of: (tokens: readonly number[], reference: ArrayLike<number> | undefined) => number) => {
    const values = pairs.flatMap(({ chosenTokens, rejectedTokens, reference }) => [
      of(chosenTokens, reference?.chosen),
      of(rejectedTokens, reference?.rejected),
    ]);
    return tensor(Float32Array.from(values), [values.length]);
  };
  const total = (values: ArrayLike<number>) => Array.prototype.reduce.call(values, (a, b) => a + b, 0) as number;
  const lengths = () => rows((tokens) => tokens.length);
  const scaled = (sums: Tensor) => (kind === 'mean' ? sums.div(lengths()) : sums);
  const column = (of: string) =>
    tensor(
      Float32Array.from(pairs, (pair) => pair.columns![of]!),
      [pairs.length],
    );
  const noTokens = nothing('NO_TOKENS', `the loss ${name} couples the pairs of a step, and sees no tokens`);
  return {
    name,
    groupSize: 2,
    readout: sequenceLogProb,
    compute(sums) {
      const completions: Completions = {
        logProbs: scaled(sums),
        get reference() {
          return hasReference ? scaled(rows((_, reference) => total(reference!))) : noReference(name)();
        },
        get lengths() {
          return lengths();
        },
        get tokens() {
          return noTokens();
        },
        ...{ read: noTokens, readReference: noTokens, readAgainst: noTokens },
      };
      const named = Object.fromEntries(columns.map((of) => [of, column(of)]));
      return lossOfPairs(preference, pairsOf(completions, named), (values) => values.mean());
    },
  };
}
