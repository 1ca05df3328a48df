import type { Tensor } from '@posttrain/core-tensor';
import { custom, type Given, listOf, number, OptionError, options } from '@posttrain/interfaces';
import { checkedLosses } from './completions.js';
import type { PairLogProbs, PreferenceLoss } from './preference-loss.js';

/** What a loss of pairs may be given as, in words. */
export const PAIR_LOSS = 'a loss of pairs, such as preferenceLosses.sft()';

/** Whether a value is a loss of pairs. */
export const isPairLoss = (value: unknown): boolean => {
  if (typeof value !== 'object' || value === null || !('compute' in value)) return false;
  const { kind = 'pairs' } = value as Pick<PreferenceLoss, 'kind'>;
  return kind === 'pairs';
};

const combinedOptions = options('combinedLoss', {
  /** Losses of pairs; TRL's `loss_type`. */
  losses: listOf(custom<PreferenceLoss>()(PAIR_LOSS, isPairLoss, {}), {}),
  /** What each of them counts; TRL's `loss_weights`. Default 1 each. */
  lossWeights: listOf(number({}), { optional: true }),
});
/** Options of `combinedLoss`. */
export type CombinedLossOptions = Given<typeof combinedOptions>;

/**
 * Σ w_i L_i of several losses of pairs, as TRL has it with a list as `loss_type`: MPO (arXiv 2411.10442) is
 * `combinedLoss({ losses: [dpoLoss(), bcoLoss(), sftLoss()], lossWeights: [0.8, 0.2, 1] })`. Each keeps its own β; the rewards that are
 * logged are those of the first. A reference is run where one of them compares with it.
 *
 * @throws OptionError for no loss, as many weights as there are not losses, likelihoods over different tokens, and a likelihood beside
 *   a loss that couples the pairs of a step
 */
export function combinedLoss(given: CombinedLossOptions): PreferenceLoss {
  const { losses, lossWeights = losses.map(() => 1) } = combinedOptions.read(given);
  const wrong = (option: string, problem: string) => new OptionError('INVALID_OPTION', 'combinedLoss', option, problem);
  const [first] = losses;
  if (first === undefined) throw wrong('losses', 'losses is empty; give at least one.');
  if (lossWeights.length !== losses.length) {
    throw wrong('lossWeights', `lossWeights has ${lossWeights.length} numbers for ${losses.length} losses.`);
  }
  const likelihoods = losses.flatMap(({ nll }, i) => (nll ? [{ ...nll, weight: nll.weight * lossWeights[i]! }] : []));
  const [likelihood] = likelihoods;
  if (likelihoods.some(({ over }) => over !== likelihood!.over)) {
    throw wrong('losses', 'one has the likelihood of completions and another that of whole sequences.');
  }
  const coupled = losses.find((loss) => loss.coupled);
  if (coupled && likelihood) {
    throw wrong('losses', `${coupled.name} couples the pairs of a step, and cannot stand beside a likelihood.`);
  }
  const columns = [...new Set(losses.flatMap((loss) => loss.columns ?? []))];
  const annotations = losses.flatMap((loss) => loss.annotations ?? []);
  const runsReference = losses.some((loss) => loss.runsReference);
  if (coupled && runsReference) {
    throw wrong('losses', `${coupled.name} couples the pairs of a step, and no reference is run in a pass beside it.`);
  }
  const { beta, logProbs = 'sum' } = first;
  return {
    name: losses.map(({ name }) => name).join('+'),
    settings: combinedOptions.settings(given),
    ...{ beta, logProbs, reference: losses.some(({ reference = true }) => reference) },
    ...(likelihood && {
      nll: { over: likelihood.over, weight: likelihoods.reduce((sum, { weight }) => sum + weight, 0) },
    }),
    ...(columns.length > 0 && { columns }),
    ...(coupled && { coupled: true }),
    ...(runsReference && { runsReference }),
    ...(annotations.length > 0 && { annotations }),
    compute(pairs) {
      const results = losses.map((loss) =>
        checkedLosses(loss.name, loss.compute(scaledTo(loss.logProbs ?? 'sum', logProbs, pairs))),
      );
      const total = results.map(({ losses: one }, i) => one.mul(lossWeights[i]!)).reduce((a, b) => a.add(b));
      return { losses: total, metrics: Object.assign({}, ...results.map(({ metrics }) => metrics)) };
    },
  };
}

type Scale = NonNullable<PreferenceLoss['logProbs']>;

/** Pairs whose log-probabilities are of one scale, as those of another. */
function scaledTo(wanted: Scale, is: Scale, pairs: PairLogProbs): PairLogProbs {
  if (wanted === is) return pairs;
  const scale = (values: Tensor, lengths: Tensor) => (wanted === 'mean' ? values.div(lengths) : values.mul(lengths));
  const scaled = {
    chosen: () => scale(pairs.chosen, pairs.chosenLengths),
    rejected: () => scale(pairs.rejected, pairs.rejectedLengths),
    referenceChosen: () => scale(pairs.referenceChosen, pairs.chosenLengths),
    referenceRejected: () => scale(pairs.referenceRejected, pairs.rejectedLengths),
  };
  const getters = Object.entries(scaled).map(([name, get]) => [name, { get }] as const);
  return Object.create(pairs, Object.fromEntries(getters)) as PairLogProbs;
}
