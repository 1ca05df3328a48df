import type { Tensor } from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError, showValue } from '@posttrain/interfaces';
import {
  annotationSpec,
  type Loss,
  predictions,
  type TokenLoss,
  type TokenLossInputs,
  type TrainingRow,
  type UpdateRule,
  weightedSum,
} from '@posttrain/training';
import type { Advantage } from '../advantage/advantage.js';
import { advantagesPerEpisode } from '../advantage/per-episode.js';
import type { Aggregation, AggregationContext } from '../aggregation/aggregation.js';
import type { Annotator } from '../annotator.js';
import type { BesideLoss } from '../beside-loss.js';
import type { LossObjective, PolicyLoss } from '../loss-objective.js';
import type { Ratio } from '../ratio/ratio.js';
import type { PassOfLoss, Regulariser } from '../regulariser/regulariser.js';
import { type Rollout, trainedTokens } from '../rollout.js';
import type { Surrogate } from '../surrogate/surrogate.js';
import { furtherAnnotations, refuseBesideUpdate, refuseMissing, refuseWrongAdvantages } from './check-objective.js';
import type { SamplingMask } from './sampling-mask.js';

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
  /** Log-probabilities are those over what the sampler could draw: `samplingMaskReplay({ keptTokens })`. Default: over every token. */
  readonly samplingMask?: SamplingMask;
  /** How an update is made of the rows: `trpo()`. Default: the optimizer's step of the loss's gradient. */
  readonly update?: UpdateRule;
  /** A loss of other rows in every update: `pretrainingLoss()`. Not with an `update`. Default: none. */
  readonly beside?: BesideLoss;
}

/** What a run may be given as its objective: five parts, or rows and a loss of its own. */
export type AnyPolicyObjective = PolicyObjectiveParts | LossObjective;

/** Whether an objective has a loss of its own. */
export const isLossObjective = (objective: AnyPolicyObjective): objective is LossObjective => 'loss' in objective;

/** What an objective says of rollouts. */
export interface AnnotatedRollouts {
  readonly rows: readonly TrainingRow[];
  readonly advantages: readonly (number | ArrayLike<number>)[];
  /** As the advantage saw them: with the regularisers' penalties taken off their rewards. */
  readonly rollouts: readonly Rollout[];
  /** The numbers that the loss gets in this step. Default: none. */
  readonly scalars?: Readonly<Record<string, number>>;
}

/** The loss of the five parts. Where a regulariser reads more of the pass than its predictions it is a `Loss` too, and is used as that. */
export type PartsLoss = TokenLoss & Partial<Pick<Loss, 'computeFrom'>>;

/** An objective ready for a trainer: `annotate` says what every token is worth, `loss` consumes what it says. */
export interface PolicyObjective<L extends PolicyLoss = PartsLoss> {
  readonly name: string;
  readonly needsReference: boolean;
  /**
   * Training rows of a step's rollouts. Completions without a trained token make no row, but count in the means they are
   * part of. `advantages` are one per rollout, or one array with an entry per token.
   *
   * @throws PosttrainError OBJECTIVE for rollouts that lack what a part reads
   */
  annotate(rollouts: readonly Rollout[], context: AggregationContext): AnnotatedRollouts;
  readonly loss: L;
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
export function policyObjective(parts: PolicyObjectiveParts, options?: PolicyObjectiveOptions): PolicyObjective;
export function policyObjective(
  parts: AnyPolicyObjective,
  options?: PolicyObjectiveOptions,
): PolicyObjective<PolicyLoss>;
export function policyObjective(
  parts: AnyPolicyObjective,
  { temperature = 1 }: PolicyObjectiveOptions = {},
): PolicyObjective<PolicyLoss> {
  if (isLossObjective(parts)) return lossObjective(parts, { temperature });
  assertKnownOptions('policyObjective', parts, [
    ...['name', 'advantage', 'ratio', 'surrogate', 'aggregation', 'regularisers', 'annotators', 'update'],
    ...['samplingMask', 'beside'],
  ]);
  refuseBesideUpdate(parts);
  const { name, ratio, surrogate, samplingMask, regularisers = [] } = parts;
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
    ...(ratio.correct || surrogate.needsSampler ? ['sampler_log_probs'] : []),
    ...(needsReference ? ['reference_log_probs'] : []),
  ];
  if (samplingMask && needsReference) {
    const problem =
      'samplingMask compares tokens over what the sampler could draw, which the reference does not have: a KL to it says nothing';
    throw new PosttrainError('OBJECTIVE', `${name}: ${problem}; use beta: 0, or no samplingMask`);
  }
  const further = [
    ...regularisers.flatMap((regulariser) => regulariser.annotations ?? []),
    ...(samplingMask ? [samplingMask.annotation] : []),
  ];
  const names = [...annotations, ...further.map((one) => annotationSpec(one).name)];
  const twice = names.find((one, i) => names.indexOf(one) < i);
  if (twice !== undefined) {
    throw new PosttrainError(
      'OBJECTIVE',
      `${name}: two of its parts have an annotation "${twice}"; name one otherwise`,
    );
  }
  const loss: PartsLoss = {
    name,
    annotations: [...annotations, ...further],
    temperature,
    combine: { 'clip_ratio/low_min': 'min', 'clip_ratio/high_max': 'max' },
    compute: (inputs) => computeLoss(parts, inputs, temperature),
  };
  const readout = predictions({ temperature });
  const needsPass = samplingMask !== undefined || regularisers.some((regulariser) => regulariser.needsPass);
  return {
    name,
    needsReference,
    annotate: (rollouts, context) => annotate(parts, needsReference, rollouts, context),
    loss: needsPass
      ? {
          ...loss,
          computeFrom: (read, { segments, ...inputs }) =>
            computeLoss(parts, { ...inputs, ...read(readout) }, temperature, { read, segments }),
        }
      : loss,
  };
}

/** An objective with rows and a loss of its own, made ready. @throws PosttrainError for parts that do not go together */
function lossObjective(
  own: LossObjective,
  { temperature = 1 }: PolicyObjectiveOptions = {},
): PolicyObjective<PolicyLoss> {
  assertKnownOptions('policyObjective', own, [
    ...['name', 'settings', 'needsReference', 'needs', 'needsGroup', 'loss', 'rows', 'annotators', 'update', 'beside'],
  ]);
  refuseBesideUpdate(own);
  const { name, needs = [], needsReference = false, update } = own;
  const loss = typeof own.loss === 'function' ? own.loss({ temperature }) : own.loss;
  if (update && 'readout' in loss) {
    const problem = `the update "${update.name}" takes one pass, and the loss "${loss.name}" meets all rows of a step`;
    throw new PosttrainError('OBJECTIVE', `${name}: ${problem}`);
  }
  return {
    ...{ name, needsReference, loss },
    annotate(rollouts, context) {
      for (const rollout of rollouts) {
        for (const need of needs) refuseMissing(name, rollout, need, 'its loss');
        if (needsReference) refuseMissing(name, rollout, 'referenceLogProbs', 'its loss');
      }
      const { rows, advantages = rollouts.map(() => 0), scalars = {} } = own.rows(rollouts, context);
      return { rows, advantages, rollouts, scalars };
    },
  };
}

function refuseIncomplete(parts: PolicyObjectiveParts, needsReference: boolean, rollout: Rollout) {
  const { name, advantage, ratio, surrogate, samplingMask } = parts;
  for (const need of advantage.needs ?? []) refuseMissing(name, rollout, need, `the advantage ${advantage.name}`);
  if (samplingMask) refuseMissing(name, rollout, samplingMask.need, `its ${samplingMask.name}`);
  if (ratio.correct) refuseMissing(name, rollout, 'samplerLogProbs', `the ratio ${ratio.name}`);
  if (surrogate.needsSampler) refuseMissing(name, rollout, 'samplerLogProbs', `the surrogate ${surrogate.name}`);
  if (needsReference) refuseMissing(name, rollout, 'referenceLogProbs', 'a regulariser');
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

/** A mask as what gives one annotation. */
const giverOf = ({ name, annotation, annotate: give }: SamplingMask) => ({
  ...{ name, annotations: [annotation] },
  annotate: (rollout: Rollout) => ({ [annotationSpec(annotation).name]: give(rollout) }),
});

function annotate(
  parts: PolicyObjectiveParts,
  needsReference: boolean,
  rollouts: readonly Rollout[],
  context: AggregationContext,
): AnnotatedRollouts {
  const { name, advantage, aggregation, ratio, surrogate, samplingMask, regularisers = [] } = parts;
  for (const rollout of rollouts) refuseIncomplete(parts, needsReference, rollout);
  const masks = rollouts.map(trainedTokens);
  const lengths = masks.map((mask) => mask.reduce((a: number, b) => a + b, 0));
  const tokens = Math.max(
    1,
    lengths.reduce((a, b) => a + b, 0),
  );
  const weights = aggregation.weights(lengths, context);
  const seen = rollouts.map((rollout, i) => penalized(parts, rollout, masks[i]!));
  const advantages = advantagesPerEpisode(advantage, seen);
  refuseWrongAdvantages(parts, advantages, rollouts);
  const rows = rollouts.flatMap((rollout, i): TrainingRow[] => {
    const own = advantages[i]!;
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
          ...(ratio.correct || surrogate.needsSampler ? { sampler_log_probs: place((t) => samplerLogProbs![t]!) } : {}),
          ...(needsReference ? { reference_log_probs: place((t) => referenceLogProbs![t]!) } : {}),
          ...Object.assign(
            {},
            ...regularisers.map((one) => furtherAnnotations(name, one, rollout, rollouts, advantages, seen)),
            samplingMask && furtherAnnotations(name, giverOf(samplingMask), rollout, rollouts, advantages, seen),
          ),
        },
      },
    ];
  });
  return { rows, advantages, rollouts: seen };
}

function computeLoss(
  { ratio, surrogate, samplingMask, regularisers = [] }: PolicyObjectiveParts,
  inputs: TokenLossInputs,
  temperature: number,
  pass?: PassOfLoss,
) {
  const { weights, entropies, annotations } = inputs;
  const tokenMean = annotations.token_mean!;
  const mask = tokenMean.notEqual(0).cast('float32');
  // Log-probabilities of padding can be anything; at 0 they stay harmless in every exponential below.
  const drawn = samplingMask?.logMass(pass!.read, temperature);
  const logProbs = (drawn ? inputs.logProbs.sub(drawn) : inputs.logProbs).mul(mask);
  const oldLogProbs = annotations.old_log_probs!;
  const logRatio = logProbs.sub(oldLogProbs);
  const advantages = annotations.advantages!;
  const samplerLogProbs = annotations.sampler_log_probs;
  const ratios = ratio.compute(logRatio, mask);
  const { loss: uncorrected, clipped } = surrogate.compute({
    ...{ logProbs, advantages, oldLogProbs, samplerLogProbs, mask },
    ratio: ratios,
  });
  const correction = ratio.correct?.(oldLogProbs.sub(samplerLogProbs!), mask);
  const policyLoss = weightedSum(correction ? uncorrected.mul(correction) : uncorrected, weights);
  const metrics: Record<string, Tensor> = {
    policy_loss: policyLoss,
    entropy: weightedSum(entropies, tokenMean),
    old_logp_difference: weightedSum(logRatio.abs(), tokenMean),
    ...(drawn && { 'sampling_mask/mass': weightedSum(drawn.exp(), tokenMean) }),
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
    const term = regulariser.compute({
      ...{ logProbs, entropies, oldLogProbs, referenceLogProbs, weights, tokenMean, ratio: ratios },
      ...{ temperature, annotations, pass },
    });
    if (term.loss) loss = loss.add(term.loss);
    Object.assign(metrics, term.metrics);
  }
  return { loss, metrics };
}
