import type { Tensor } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import { type Loss, predictions, weightedSum } from '@posttrain/training';
import {
  checkedLosses,
  columnName,
  completionsOf,
  type PreferenceLossDescription,
  type ReferenceInPass,
} from './completions.js';
import { lossOfPairs, type PreferenceLoss, pairsOf, splitPairs } from './preference-loss.js';
import { isAbove, type RankedLoss, sumTogether } from './ranked-loss.js';
import type { UnpairedLoss } from './unpaired-loss.js';

/** A preference loss of any kind. */
export type AnyPreferenceLoss = PreferenceLoss | UnpairedLoss | RankedLoss;

/** What a preference loss is lifted with. */
export interface LiftPreferenceOptions {
  /** The reference in the pass of the policy, for a loss that says `runsReference`. */
  readonly reference?: ReferenceInPass;
}

/**
 * A preference loss as a `Loss` over the rows that `annotatePairs`, `annotateUnpaired` or `annotateRankings` make, with the metrics
 * of TRL's DPOTrainer and KTOTrainer (`logits/*` excepted), and `nll_loss` where it has that term. Of rankings `chosen` are the best
 * completions, `rejected` the worst ones, and `rewards/accuracies` is the share of unequal pairs that the policy orders rightly.
 *
 * @throws PosttrainError COUPLED_LOSS for a loss that needs all pairs of a step at once: `coupledPairs` is for those
 */
export function liftPreferenceLoss(loss: AnyPreferenceLoss, options: LiftPreferenceOptions = {}): Loss {
  if (loss.kind === 'unpaired') return liftUnpaired(loss, options);
  return loss.kind === 'ranked' ? liftRanked(loss, options) : liftPairs(loss, options);
}

const perRow = (...names: string[]) => names.map((name) => ({ name, per: 'row' }) as const);
const ownAnnotations = ({ reference = true, annotations = [] }: PreferenceLossDescription) => [
  ...(reference ? ['reference_log_probs'] : []),
  ...annotations,
];
/** Their weighted means. */
const means = (metrics: Readonly<Record<string, Tensor>>, weights: Tensor) =>
  Object.fromEntries(Object.entries(metrics).map(([name, values]) => [name, weightedSum(values, weights)]));

function liftPairs(preference: PreferenceLoss, { reference }: LiftPreferenceOptions): Loss {
  const { name, nll, coupled, columns = [] } = preference;
  if (coupled)
    throw new PosttrainError('COUPLED_LOSS', `the loss ${name} couples the pairs of a step; use coupledPairs`);
  return {
    name,
    groupSize: 2,
    annotations: [
      ...[...ownAnnotations(preference), ...(nll ? ['nll_weights'] : [])],
      ...[...columns.map(columnName), 'token_mean', 'chosen_token_mean'],
    ],
    computeFrom(read, inputs) {
      const { weights, annotations } = inputs;
      const { logProbs, entropies, isGreedy } = read(predictions());
      const numbers = columns.map((of) => [of, splitPairs(annotations[columnName(of)]!.sum(1))[0]] as const);
      const pairs = pairsOf(completionsOf(preference, read, inputs, reference), Object.fromEntries(numbers));
      // 1 / number of pairs in the step, and 0 for pairs that are padding.
      const [pairWeight] = splitPairs(weights.max(1));
      const { loss, metrics } = lossOfPairs(preference, pairs, (values) => weightedSum(values, pairWeight));
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

function liftUnpaired(preference: UnpairedLoss, { reference }: LiftPreferenceOptions): Loss {
  const { name, beta, scalars = [], columns = [] } = preference;
  return {
    name,
    annotations: [
      ...[...ownAnnotations(preference), 'token_mean'],
      ...perRow('desirable', 'desirable_mean', 'undesirable_mean', ...columns.map(columnName)),
    ],
    scalars,
    computeFrom(read, inputs) {
      const { weights, annotations, scalars: numbers } = inputs;
      const { entropies } = read(predictions());
      const completions = completionsOf(preference, read, inputs, reference);
      const { logProbs } = completions;
      const reward = logProbs.sub(completions.reference).mul(beta);
      const ofRows = Object.fromEntries(columns.map((of) => [of, annotations[columnName(of)]!]));
      const seen = Object.create(completions, {
        desirable: { value: annotations.desirable!, enumerable: true },
        columns: { value: ofRows, enumerable: true },
      });
      const { losses, metrics } = checkedLosses(name, preference.compute(seen, numbers));
      const [chosen, rejected] = [annotations.desirable_mean!, annotations.undesirable_mean!];
      const rewards = [weightedSum(reward, chosen), weightedSum(reward, rejected)] as const;
      const weight = weights.max(1);
      return {
        loss: weightedSum(losses, weight),
        metrics: {
          'rewards/chosen': rewards[0],
          'rewards/rejected': rewards[1],
          'rewards/margins': rewards[0].sub(rewards[1]),
          'logps/chosen': weightedSum(logProbs, chosen),
          'logps/rejected': weightedSum(logProbs, rejected),
          ...means(metrics, weight),
          entropy: weightedSum(entropies, annotations.token_mean!),
        },
      };
    },
  };
}

function liftRanked(preference: RankedLoss, { reference }: LiftPreferenceOptions): Loss {
  const { name, beta, reference: hasReference = true, nll } = preference;
  return {
    name,
    groupSize: 'any',
    annotations: [
      ...[...ownAnnotations(preference), 'token_mean', 'best_token_mean'],
      ...perRow('score', 'best_mean', 'worst_mean'),
    ],
    computeFrom(read, inputs) {
      const { weights, annotations, groups } = inputs;
      const { logProbs: tokens, entropies, isGreedy } = read(predictions());
      const completions = completionsOf(preference, read, inputs, reference);
      const { logProbs } = completions;
      const scores = annotations.score!;
      const known = groups!.notEqual(0).cast('float32');
      const together = groups!.expandDims(1).equal(groups!.expandDims(0)).cast('float32').mul(known);
      const ahead = together.mul(isAbove(scores));
      const parts = Object.entries({ scores, together, ahead });
      const seen = Object.create(
        completions,
        Object.fromEntries(parts.map(([part, value]) => [part, { value, enumerable: true }])),
      );
      const { losses, metrics } = checkedLosses(name, preference.compute(seen));
      const rewards = (hasReference ? logProbs.sub(completions.reference) : logProbs).mul(beta);
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
          ...means(metrics, weight),
          ...(likelihood && { nll_loss: likelihood }),
          entropy: weightedSum(entropies, annotations.token_mean!),
          mean_token_accuracy: weightedSum(isGreedy, annotations.best_token_mean!),
        },
      };
    },
  };
}
