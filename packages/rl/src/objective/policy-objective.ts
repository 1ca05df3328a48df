import type { Tensor } from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError, showValue } from '@posttrain/interfaces';
import {
  type TokenLoss,
  type TokenLossInputs,
  type TrainingRow,
  type UpdateRule,
  weightedSum,
} from '@posttrain/training';
import type { Advantage, RolloutNeed } from '../advantage/advantage.js';
import type { Aggregation, AggregationContext } from '../aggregation/aggregation.js';
import type { Annotator } from '../annotator.js';
import type { Ratio } from '../ratio/ratio.js';
import type { Regulariser } from '../regulariser/regulariser.js';
import { type Rollout, trainedTokens } from '../rollout.js';
import type { Surrogate } from '../surrogate/surrogate.js';

/** The five independent choices that policy-gradient algorithms differ in. An algorithm is an object literal of them. */
export interface PolicyObjectiveParts {
  /** For reports. */
  readonly name: string;
  readonly advantage: Advantage;
  readonly ratio: Ratio;
  readonly surrogate: Surrogate;
  readonly aggregation: Aggregation;
  /** Default: none. */
  readonly regularisers?: readonly Regulariser[];
  /** What tells of rollouts what the advantage needs, in order: a critic, a greedy baseline. Default: none. */
  readonly annotators?: readonly Annotator[];
  /** How an update is made of the rows: `trpo()`. Default: the optimizer's step of the loss's gradient. */
  readonly update?: UpdateRule;
}

/** What an objective says of rollouts. */
export interface AnnotatedRollouts {
  readonly rows: TrainingRow[];
  readonly advantages: readonly (number | ArrayLike<number>)[];
  /** As the advantage saw them: with the regularisers' penalties taken off their rewards. */
  readonly rollouts: readonly Rollout[];
}

/** An objective ready for a trainer: `annotate` says what every token is worth, `loss` consumes what it says. */
export interface PolicyObjective {
  readonly name: string;
  readonly needsReference: boolean;
  /**
   * Training rows of a step's rollouts. Completions without a trained token make no row, but count in the means they are
   * part of. `advantages` are one per rollout, or one array with an entry per token.
   *
   * @throws PosttrainError OBJECTIVE for rollouts that lack what a part reads
   */
  annotate(rollouts: readonly Rollout[], context: AggregationContext): AnnotatedRollouts;
  readonly loss: TokenLoss;
}

/** What `policyObjective` is told beside its parts. */
export interface PolicyObjectiveOptions {
  /** Divides the logits, as it did when the completions were sampled. Default 1. */
  readonly temperature?: number;
}

/**
 * Composes an objective: loss = Σ_t w_t · surrogate(ρ_t, A_t) + regularisers, where the advantage gives A, the ratio ρ
 * and the aggregation w. Metrics are TRL's: `entropy`, `kl`, `policy_loss` (loss without regularisers), `clip_ratio/*`.
 *
 * @throws PosttrainError for parts that do not go together
 */
export function policyObjective(
  parts: PolicyObjectiveParts,
  { temperature = 1 }: PolicyObjectiveOptions = {},
): PolicyObjective {
  assertKnownOptions('policyObjective', parts, [
    ...['name', 'advantage', 'ratio', 'surrogate', 'aggregation', 'regularisers', 'annotators', 'update'],
  ]);
  const { name, ratio, surrogate, regularisers = [] } = parts;
  if (surrogate.needsRatio && ratio.level === 'none') {
    throw new PosttrainError(
      'OBJECTIVE',
      `${name}: the surrogate "${surrogate.name}" learns through the ratio, but the ratio is "none", so its gradient would be zero; use tokenRatio() or policyGradient()`,
    );
  }
  if (parts.update?.needsValue && !surrogate.needsRatio) {
    const problem =
      `the update "${parts.update.name}" compares values of the loss, and the surrogate "${surrogate.name}" has a ` +
      'gradient only; use unclipped() or clip()';
    throw new PosttrainError('OBJECTIVE', `${name}: ${problem}`);
  }
  if (!(temperature > 0)) {
    throw new PosttrainError('OBJECTIVE', `${name}: temperature must be positive, not ${showValue(temperature)}`);
  }
  const needsReference = regularisers.some((regulariser) => regulariser.needsReference);
  const annotations = [
    ...['advantages', 'old_log_probs', 'token_mean', 'clip_mean'],
    ...(ratio.correct ? ['sampler_log_probs'] : []),
  ];
  return {
    name,
    needsReference,
    annotate: (rollouts, context) => annotate(parts, needsReference, rollouts, context),
    loss: {
      name,
      annotations: needsReference ? [...annotations, 'reference_log_probs'] : annotations,
      temperature,
      combine: { 'clip_ratio/low_min': 'min', 'clip_ratio/high_max': 'max' },
      compute: (inputs) => computeLoss(parts, inputs),
    },
  };
}

/** Where a rollout has what an advantage needs. */
export const FIELD_OF_NEED = {
  values: 'values',
  tokenRewards: 'tokenRewards',
  turnRewards: 'turnRewards',
  rewardsByFunction: 'rewards',
  baseline: 'baseline',
} as const satisfies Record<RolloutNeed, keyof Rollout>;

function refuseIncomplete({ name, advantage, ratio }: PolicyObjectiveParts, needsReference: boolean, rollout: Rollout) {
  const missing = (field: keyof Rollout, reader: string) => {
    if (rollout[field] !== undefined) return;
    throw new PosttrainError('OBJECTIVE', `${name}: every rollout needs ${field}, because ${reader} reads them`);
  };
  for (const need of advantage.needs ?? []) missing(FIELD_OF_NEED[need], `the advantage ${advantage.name}`);
  if (ratio.correct) missing('samplerLogProbs', `the ratio ${ratio.name}`);
  if (needsReference) missing('referenceLogProbs', 'a regulariser');
}

/** The rollout with the regularisers' penalties taken off its reward, or off those of its tokens. */
function penalized(
  { advantage, regularisers = [] }: PolicyObjectiveParts,
  rollout: Rollout,
  mask: readonly number[],
): Rollout {
  const { reward, oldLogProbs, referenceLogProbs, tokenRewards } = rollout;
  if (reward === null || Number.isNaN(reward)) return { ...rollout, reward: null };
  const penalize = (start: number, old: readonly number[], reference: readonly number[]) =>
    regularisers.reduce((left, r) => left - (r.rewardPenalty?.(old, reference) ?? 0), start);
  if (advantage.level !== 'token') {
    const trained = (values: ArrayLike<number> = []) => Array.from(values).filter((_, t) => mask[t]);
    return { ...rollout, reward: penalize(reward, trained(oldLogProbs), trained(referenceLogProbs)) };
  }
  const left = mask.map((isTrained, t) => {
    const given = tokenRewards?.[t] ?? 0;
    return isTrained ? penalize(given, [oldLogProbs[t]!], [referenceLogProbs?.[t] ?? Number.NaN]) : given;
  });
  return { ...rollout, tokenRewards: left };
}

function annotate(
  parts: PolicyObjectiveParts,
  needsReference: boolean,
  rollouts: readonly Rollout[],
  context: AggregationContext,
): AnnotatedRollouts {
  const { name, advantage, aggregation, ratio } = parts;
  for (const rollout of rollouts) refuseIncomplete(parts, needsReference, rollout);
  const masks = rollouts.map(trainedTokens);
  const lengths = masks.map((mask) => mask.reduce((a: number, b) => a + b, 0));
  const tokens = Math.max(
    1,
    lengths.reduce((a, b) => a + b, 0),
  );
  const weights = aggregation.weights(lengths, context);
  const seen = rollouts.map((rollout, i) => penalized(parts, rollout, masks[i]!));
  const advantages = advantage.compute(seen);
  const rows = rollouts.flatMap((rollout, i): TrainingRow[] => {
    const own = advantages[i];
    const count = rollout.completionTokens.length;
    if (own === undefined || (typeof own !== 'number' && own.length !== count)) {
      const gave = own === undefined ? 'nothing' : `${(own as ArrayLike<number>).length} numbers`;
      const problem = `gave ${gave} for rollout ${i}, which has ${count} tokens; give one number, or one for each token`;
      throw new PosttrainError('OBJECTIVE', `${name}: the advantage ${advantage.name} ${problem}`);
    }
    if (lengths[i] === 0) return [];
    // Entry t of a row belongs to predicting token t + 1, so the first completion token is at the prompt's last entry.
    const place = (value: (t: number) => number) => [
      ...new Array<number>(rollout.promptTokens.length - 1).fill(0),
      ...masks[i]!.map((trained, t) => (trained ? value(t) : 0)),
    ];
    const { oldLogProbs, referenceLogProbs, samplerLogProbs } = rollout;
    return [
      {
        tokens: [...rollout.promptTokens, ...rollout.completionTokens],
        weights: place(() => weights[i]!),
        annotations: {
          advantages: place((t) => (typeof own === 'number' ? own : own[t]!)),
          old_log_probs: place((t) => oldLogProbs[t]!),
          token_mean: place(() => 1 / tokens),
          clip_mean: place(() => (ratio.level === 'sequence' ? 1 / (rollouts.length * lengths[i]!) : 1 / tokens)),
          ...(ratio.correct ? { sampler_log_probs: place((t) => samplerLogProbs![t]!) } : {}),
          ...(needsReference ? { reference_log_probs: place((t) => referenceLogProbs![t]!) } : {}),
        },
      },
    ];
  });
  return { rows, advantages, rollouts: seen };
}

function computeLoss({ ratio, surrogate, regularisers = [] }: PolicyObjectiveParts, inputs: TokenLossInputs) {
  const { weights, entropies, annotations } = inputs;
  const tokenMean = annotations.token_mean!;
  const mask = tokenMean.notEqual(0).cast('float32');
  // Log-probabilities of padding can be anything; at 0 they stay harmless in every exponential below.
  const logProbs = inputs.logProbs.mul(mask);
  const oldLogProbs = annotations.old_log_probs!;
  const logRatio = logProbs.sub(oldLogProbs);
  const advantages = annotations.advantages!;
  const { loss: uncorrected, clipped } = surrogate.compute({
    ...{ logProbs, advantages },
    ratio: ratio.compute(logRatio, mask),
  });
  const correction = ratio.correct?.(oldLogProbs.sub(annotations.sampler_log_probs!), mask);
  const policyLoss = weightedSum(correction ? uncorrected.mul(correction) : uncorrected, weights);
  const metrics: Record<string, Tensor> = {
    policy_loss: policyLoss,
    entropy: weightedSum(entropies, tokenMean),
    old_logp_difference: weightedSum(logRatio.abs(), tokenMean),
  };
  if (clipped) {
    const fraction = (flags: Tensor) => weightedSum(flags.cast('float32'), annotations.clip_mean!);
    metrics['clip_ratio/low_mean'] = fraction(clipped.low);
    metrics['clip_ratio/high_mean'] = fraction(clipped.high);
    metrics['clip_ratio/region_mean'] = fraction(clipped.low.or(clipped.high));
    const lengths = mask.sum(1);
    const perSequence = (flags: Tensor) => flags.cast('float32').mul(mask).sum(1).div(lengths.maximum(1));
    // Rows of padding count as clipped whole, so that none is the minimum.
    metrics['clip_ratio/low_min'] = perSequence(clipped.low).add(lengths.equal(0).cast('float32')).min();
    metrics['clip_ratio/high_max'] = perSequence(clipped.high).max();
  }
  let loss = policyLoss;
  const referenceLogProbs = annotations.reference_log_probs;
  for (const regulariser of regularisers) {
    const term = regulariser.compute({ logProbs, entropies, oldLogProbs, referenceLogProbs, weights, tokenMean });
    if (term.loss) loss = loss.add(term.loss);
    Object.assign(metrics, term.metrics);
  }
  return { loss, metrics };
}
