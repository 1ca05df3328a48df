import type { Tensor } from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError, showValue } from '@posttrain/interfaces';
import { type TokenLoss, type TokenLossInputs, type TrainingRow, weightedSum } from '@posttrain/training';
import type { Advantage } from '../advantage/advantage.js';
import type { Aggregation, AggregationContext } from '../aggregation/aggregation.js';
import type { Ratio } from '../ratio/ratio.js';
import type { Regulariser } from '../regulariser/regulariser.js';
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
}

/** A sampled completion as an objective sees it. Arrays have one entry per completion token. */
export interface Rollout {
  readonly promptTokens: readonly number[];
  readonly completionTokens: readonly number[];
  /** 0 for tokens that are not trained (written by a tool, or of a truncated completion). Default: all trained. */
  readonly mask?: ArrayLike<number>;
  /** null: not scorable. */
  readonly reward: number | null;
  /** log π_old of each token: under the policy that sampled it. */
  readonly oldLogProbs: ArrayLike<number>;
  /** log π_ref of each token; needed when `needsReference`. */
  readonly referenceLogProbs?: ArrayLike<number>;
}

/** An objective ready for a trainer: `annotate` says what every token is worth, `loss` consumes what it says. */
export interface PolicyObjective {
  readonly name: string;
  readonly needsReference: boolean;
  /**
   * Training rows of a step's completions, one array of rollouts per prompt. Completions without a trained token make
   * no row, but count in the means they are part of. `advantages` has the shape of `groups`.
   */
  annotate(
    groups: readonly (readonly Rollout[])[],
    context: AggregationContext,
  ): { readonly rows: TrainingRow[]; readonly advantages: number[][] };
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
    ...['name', 'advantage', 'ratio', 'surrogate', 'aggregation', 'regularisers'],
  ]);
  const { name, ratio, surrogate, regularisers = [] } = parts;
  if (surrogate.needsRatio && ratio.level === 'none') {
    throw new PosttrainError(
      'OBJECTIVE',
      `${name}: the surrogate "${surrogate.name}" learns through the ratio, but the ratio is "none", so its gradient would be zero; use tokenRatio() or policyGradient()`,
    );
  }
  if (!(temperature > 0)) {
    throw new PosttrainError('OBJECTIVE', `${name}: temperature must be positive, not ${showValue(temperature)}`);
  }
  const needsReference = regularisers.some((regulariser) => regulariser.needsReference);
  const annotations = ['advantages', 'old_log_probs', 'token_mean', 'clip_mean'];
  return {
    name,
    needsReference,
    annotate: (groups, context) => annotate(parts, needsReference, groups, context),
    loss: {
      name,
      annotations: needsReference ? [...annotations, 'reference_log_probs'] : annotations,
      temperature,
      combine: { 'clip_ratio/low_min': 'min', 'clip_ratio/high_max': 'max' },
      compute: (inputs) => computeLoss(parts, inputs),
    },
  };
}

function annotate(
  { name, advantage, aggregation, ratio, regularisers = [] }: PolicyObjectiveParts,
  needsReference: boolean,
  groups: readonly (readonly Rollout[])[],
  context: AggregationContext,
): { rows: TrainingRow[]; advantages: number[][] } {
  const rollouts = groups.flat();
  if (needsReference && rollouts.some((rollout) => !rollout.referenceLogProbs)) {
    throw new PosttrainError(
      'OBJECTIVE',
      `${name}: every rollout needs referenceLogProbs, because a regulariser reads them`,
    );
  }
  const masks = rollouts.map(({ completionTokens, mask }) =>
    completionTokens.map((_, t) => ((mask?.[t] ?? 1) ? 1 : 0)),
  );
  const lengths = masks.map((mask) => mask.reduce((a: number, b) => a + b, 0));
  const tokens = Math.max(
    1,
    lengths.reduce((a, b) => a + b, 0),
  );
  const weights = aggregation.weights(lengths, context);

  let next = 0;
  const rewards = groups.map((group) =>
    group.map(({ reward, oldLogProbs, referenceLogProbs }) => {
      const mask = masks[next++]!;
      if (reward === null || Number.isNaN(reward)) return null;
      const trained = (values: ArrayLike<number>) => Array.from(values).filter((_, t) => mask[t]);
      const penalties = regularisers.map((r) =>
        r.rewardPenalty ? r.rewardPenalty(trained(oldLogProbs), trained(referenceLogProbs!)) : 0,
      );
      return penalties.reduce((left, penalty) => left - penalty, reward);
    }),
  );
  const advantages = advantage.compute(rewards);
  const flat = advantages.flat();
  const rows = rollouts.flatMap((rollout, i): TrainingRow[] => {
    if (lengths[i] === 0) return [];
    // Entry t of a row belongs to predicting token t + 1, so the first completion token is at the prompt's last entry.
    const place = (value: (t: number) => number) => [
      ...new Array<number>(rollout.promptTokens.length - 1).fill(0),
      ...masks[i]!.map((trained, t) => (trained ? value(t) : 0)),
    ];
    const { oldLogProbs, referenceLogProbs } = rollout;
    return [
      {
        tokens: [...rollout.promptTokens, ...rollout.completionTokens],
        weights: place(() => weights[i]!),
        annotations: {
          advantages: place(() => flat[i]!),
          old_log_probs: place((t) => oldLogProbs[t]!),
          token_mean: place(() => 1 / tokens),
          clip_mean: place(() => (ratio.level === 'sequence' ? 1 / (rollouts.length * lengths[i]!) : 1 / tokens)),
          ...(needsReference ? { reference_log_probs: place((t) => referenceLogProbs![t]!) } : {}),
        },
      },
    ];
  });
  return { rows, advantages };
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
  const { loss: perToken, clipped } = surrogate.compute({ logProbs, ratio: ratio.compute(logRatio, mask), advantages });
  const policyLoss = weightedSum(perToken, weights);
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
