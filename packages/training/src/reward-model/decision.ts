import { iota, logSumExp, type Tensor, where } from '@posttrain/core-tensor';
import { type Given, integer, number, oneOf, options, type Prompt, showValue } from '@posttrain/interfaces';
import { HeadError } from '@posttrain/lm';
import { weightedSum } from '../loss/token-loss.js';
import { sequenceLogits } from '../readouts/heads.js';
import { answerTokens, type RewardModelLoss, RewardRowError, readAtEnd, tooLong } from './reward-model-loss.js';

/** A question with a few options, and which is right, or how likely each is. */
export interface DecisionRow {
  readonly prompt?: Prompt;
  readonly completion: Prompt;
  /** Number of the right option from 0, or the probability of each. */
  readonly target: number | readonly number[];
  /** How many of the head's first outputs are its options. Default: as many as `target` is long, or all. */
  readonly options?: number;
  /** Whether the options are levels, in their order: the only rows that RPS counts in. Default false. */
  readonly ordinal?: boolean;
  /** JSON schemas of the functions that the assistant may call, or their JSON text. */
  readonly tools?: unknown;
  /** Variables of the chat template. */
  readonly chat_template_kwargs?: unknown;
}

const decisionOptions = options('decision', {
  /** Outputs of the head: the most options that a row may have. */
  labels: integer({ min: 2 }),
  /** ε: the target becomes (1 - ε) target + ε / options in the cross-entropy. Default 0. */
  labelSmoothing: number({ default: 0, min: 0, max: 1 }),
  /** What the Brier score counts, the mean of (p - target)² over the options. Default 0. */
  brierWeight: number({ default: 0, min: 0 }),
  /** What the ranked probability score of ordinal rows counts, Σ (P - T)² over cumulative probabilities. Default 0. */
  rpsWeight: number({ default: 0, min: 0 }),
  /** Divides the ranked probability score: 1, or the number of options less one (`levels`). Default 1. */
  rpsDivisor: oneOf(['none', 'levels'], { default: 'none' }),
});
/** Options of `decision`. */
export type DecisionOptions = Given<typeof decisionOptions>;

/** Not an option of the row. */
const OUT = -1e30;

/**
 * A decision model: a head that chooses among a row's options by proper scoring rules, as ms-swift's `loss/decision.py`. The cross-entropy of the
 * target with the softmax over the row's own options, -Σ t log p; with `rpsWeight` 0.5 its `ce_rps` for levels in an order, with
 * `labelSmoothing` 0.1 and `brierWeight` 1 its `smooth_brier`, with `rpsWeight` 0.5, `rpsDivisor: 'levels'` and a teacher's probabilities as targets
 * its `distill_rps`. Smoothing is no proper rule: it biases p. For a `SequenceClassifier` with `labels` outputs, whose `RewardVerifier` gives the
 * probability of a label. Metrics: `accuracy`, `entropy`, and of each term that counts `brier` and `rps`.
 */
export function decision(given: DecisionOptions): RewardModelLoss<DecisionRow> {
  const { labels, labelSmoothing, brierWeight, rpsWeight, rpsDivisor } = decisionOptions.read(given);
  return {
    name: 'decision',
    settings: decisionOptions.settings(given),
    annotations: [
      { name: 'target', per: 'row', width: labels },
      { name: 'options', per: 'row' },
      { name: 'ordinal', per: 'row' },
    ],
    wholeRow: true,
    example(model, row, { index, maxLength }) {
      const { target, count } = targetOf(row, labels, index);
      const tokens = answerTokens(model, row, 'completion', index);
      if (tokens.length > maxLength) return tooLong(maxLength);
      const annotations = { target, options: [count], ordinal: [row.ordinal ? 1 : 0] };
      return { rows: [readAtEnd(tokens, annotations)], count: 1 };
    },
    computeFrom(read, { weights, annotations }) {
      const logits = read(sequenceLogits);
      if (logits.shape[1] !== labels)
        throw new HeadError(`decision has ${labels} labels, but the head has ${logits.shape[1]}`);
      const target = annotations.target!;
      // Rows of padding have no option; one keeps them finite.
      const count = annotations.options!.maximum(1).expandDims(1);
      const isOption = iota([1, labels], 1).cast('float32').less(count);
      const mask = isOption.cast('float32');
      const masked = where(isOption, logits, OUT);
      const logProbs = masked.sub(logSumExp(masked)).mul(mask);
      const probabilities = logProbs.exp().mul(mask);
      const weight = weights.sum(1);
      const mean = (perRow: Tensor) => weightedSum(perRow, weight);
      const smooth =
        labelSmoothing === 0 ? target : target.mul(1 - labelSmoothing).add(mask.div(count).mul(labelSmoothing));
      const crossEntropy = mean(smooth.mul(logProbs).sum(1).neg());
      const brier = mean(probabilities.sub(target).square().div(count).sum(1));
      // Both cumulative sums are 1 from the last option on.
      const upTo = iota([labels, labels], 0)
        .lessEqual(iota([labels, labels], 1))
        .cast('float32');
      const gaps = probabilities.sub(target).matmul(upTo).square().mul(mask).sum(1);
      const ofLevels = rpsDivisor === 'none' ? gaps : gaps.div(count.squeeze(1).sub(1).maximum(1));
      const rps = mean(ofLevels.mul(annotations.ordinal!));
      const chosen = probabilities.greaterEqual(probabilities.max(1).expandDims(1));
      const best = target.greaterEqual(target.max(1).expandDims(1));
      const isRight = chosen.and(best).cast('float32').mul(mask).max(1);
      return {
        loss: crossEntropy.add(brier.mul(brierWeight)).add(rps.mul(rpsWeight)),
        metrics: {
          accuracy: mean(isRight),
          entropy: mean(probabilities.mul(logProbs).sum(1).neg()),
          ...(brierWeight > 0 && { brier }),
          ...(rpsWeight > 0 && { rps }),
        },
      };
    },
  };
}

/** The probability of each output, 0 for those that are no option, and how many are. @throws RewardRowError */
function targetOf({ target, options: asked }: DecisionRow, labels: number, index: number) {
  const count = asked ?? (Array.isArray(target) ? target.length : labels);
  if (!(Number.isInteger(count) && count >= 2 && count <= labels)) {
    const remedy = 'a head with more outputs takes more';
    throw new RewardRowError(
      index,
      `options must be a whole number of 2 to ${labels}, and is ${showValue(count)}; ${remedy}`,
    );
  }
  if (typeof target === 'number') {
    if (Number.isInteger(target) && target >= 0 && target < count) {
      return { target: Array.from({ length: labels }, (_, i) => (i === target ? 1 : 0)), count };
    }
    throw new RewardRowError(index, `target must be a whole number of 0 to ${count - 1}, and is ${showValue(target)}`);
  }
  const isGood = Array.isArray(target) && target.length === count && target.every((p) => p >= 0 && p <= 1);
  const total = isGood ? target.reduce((sum, p) => sum + p, 0) : Number.NaN;
  if (!(Math.abs(total - 1) < 1e-4)) {
    const wanted = `the number of an option, or ${count} probabilities that add up to 1`;
    throw new RewardRowError(index, `target must be ${wanted}, and is ${showValue(target)}`);
  }
  return { target: Array.from({ length: labels }, (_, i) => (target[i] ?? 0) / total), count };
}
