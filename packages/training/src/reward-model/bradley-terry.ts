import { logSigmoid, softplus, type Tensor, where } from '@posttrain/core-tensor';
import { boolean, type Given, number, options, type Prompt, showValue } from '@posttrain/interfaces';
import type { TrainingRow } from '../loss/rows.js';
import { weightedSum } from '../loss/token-loss.js';
import { sequenceLogits } from '../readouts/heads.js';
import {
  answerTokens,
  type RewardModelLoss,
  RewardRowError,
  readAtEnd,
  rewardExampleRows,
  tooLong,
} from './reward-model-loss.js';

const bradleyTerryOptions = options('bradleyTerry', {
  /** η, how strongly the two rewards of a pair are held to add up to zero (arXiv 2312.09244); TRL's `center_rewards_coefficient`. Default 0. */
  centerRewardsCoefficient: number({ default: 0, min: 0 }),
  /** Whether rows say by `probability` how likely the chosen one is preferred: 0.5 is a tie. Default false. */
  softLabels: boolean({ default: false }),
});
/** Options of `bradleyTerry`. */
export type BradleyTerryOptions = Given<typeof bradleyTerryOptions>;

/** Two completions of a prompt as whole sequences. */
export interface RewardPair {
  readonly chosenTokens: readonly number[];
  readonly rejectedTokens: readonly number[];
  /** By how much the reward of the chosen one is to be higher. Default 0. */
  readonly margin?: number;
  /** With `softLabels`, how likely the chosen one is preferred; 0.5 is a tie. Default 1. */
  readonly probability?: number;
}

/** A preference as TRL has it. */
export interface RewardPairRow {
  /** Left out: `chosen` and `rejected` have it, each. */
  readonly prompt?: Prompt;
  readonly chosen: Prompt;
  readonly rejected: Prompt;
  /** By how much the reward of the chosen one is to be higher. Default 0. */
  readonly margin?: number | null;
  /** With `softLabels`, how likely the chosen one is preferred; 0.5 is a tie. Default 1. */
  readonly probability?: number;
  /** JSON schemas of the functions that the assistant may call, or their JSON text. */
  readonly tools?: unknown;
  /** Variables of the chat template. */
  readonly chat_template_kwargs?: unknown;
}

const exampleOf = ({ chosenTokens, rejectedTokens, margin = 0, probability }: RewardPair) => ({
  rows: [chosenTokens, rejectedTokens].map((tokens) =>
    readAtEnd(tokens, { margin: [margin], ...(probability !== undefined && { probability: [probability] }) }),
  ),
  count: 1,
});

/**
 * Rows of pairs for `bradleyTerry`: chosen and rejected in turn. The loss is the mean over all pairs that are given.
 */
export const rewardRows = (pairs: readonly RewardPair[]): TrainingRow[] => rewardExampleRows(pairs.map(exampleOf));

/**
 * The reward model of Bradley and Terry over rows of `rewardRows`: -log σ(r_chosen - r_rejected - margin) + η (r_chosen +
 * r_rejected)², with r the output of a head of one label at the last token (arXiv 2203.02155, eq. 1; the margin is that of Llama 2,
 * arXiv 2307.09288, eq. 2). With `softLabels` it is the cross-entropy of `probability` p, -p log σ(Δ) - (1 - p) log σ(-Δ)
 * with Δ = r_chosen - r_rejected - margin: ties (p = 0.5), which RRM (arXiv 2409.13156) is made of. For a `SequenceClassifier` with one label. The metrics are those of TRL's RewardTrainer.
 */
export function bradleyTerry(given: BradleyTerryOptions = {}): RewardModelLoss<RewardPairRow> {
  const { centerRewardsCoefficient, softLabels } = bradleyTerryOptions.read(given);
  return {
    name: 'bradley-terry',
    settings: bradleyTerryOptions.settings(given),
    annotations: ['margin', ...(softLabels ? ['probability'] : [])].map((name) => ({ name, per: 'row' })),
    groupSize: 2,
    wholeRow: true,
    combine: { min_reward: 'min', max_reward: 'max' },
    example(model, row, { index, maxLength }) {
      const margin = row.margin ?? 0;
      if (!Number.isFinite(margin))
        throw new RewardRowError(index, `margin must be a number, and is ${showValue(margin)}`);
      const { probability = 1 } = row;
      if (!(typeof probability === 'number' && probability >= 0 && probability <= 1)) {
        const problem = `probability must be a number of 0 to 1, and is ${showValue(probability)}`;
        throw new RewardRowError(index, problem);
      }
      if (probability !== 1 && !softLabels) {
        const remedy = 'rewardModelLosses.bradleyTerry({ softLabels: true }) takes it';
        throw new RewardRowError(index, `has the probability ${probability}, which this loss does not read; ${remedy}`);
      }
      const [chosenTokens, rejectedTokens] = [
        answerTokens(model, row, 'chosen', index),
        answerTokens(model, row, 'rejected', index),
      ];
      if (Math.max(chosenTokens.length, rejectedTokens.length) > maxLength) return tooLong(maxLength);
      // Their gradient is zero but for rounding, of which Adam would make updates of full size.
      if (String(chosenTokens) === String(rejectedTokens)) return 'are the same twice';
      return exampleOf({ chosenTokens, rejectedTokens, margin, ...(softLabels && { probability }) });
    },
    computeFrom(read, { weights, annotations }) {
      const pairs = weights.shape[0]! / 2;
      const split = (perRow: Tensor): [chosen: Tensor, rejected: Tensor] => {
        const table = perRow.reshape([pairs, 2]);
        return [table.slice(1, 0, 1).squeeze(1), table.slice(1, 1, 2).squeeze(1)];
      };
      const rewards = read(sequenceLogits).squeeze(1);
      const [chosen, rejected] = split(rewards);
      const [margin] = split(annotations.margin!);
      // 1 / number of pairs in the step, and 0 for pairs that are padding.
      const [weight] = split(weights.sum(1));
      const mean = (values: Tensor) => weightedSum(values, weight);
      const difference = chosen.sub(rejected);
      const losses = softLabels
        ? softplus(difference.sub(margin)).sub(split(annotations.probability!)[0].mul(difference.sub(margin)))
        : logSigmoid(difference.sub(margin)).neg();
      const centered = chosen.add(rejected).square().mul(centerRewardsCoefficient);
      // Rewards of padding are neither the least nor the greatest.
      const isRow = weights.sum(1).notEqual(0);
      return {
        loss: mean(centerRewardsCoefficient === 0 ? losses : losses.add(centered)),
        metrics: {
          min_reward: where(isRow, rewards, Number.POSITIVE_INFINITY).min(0),
          max_reward: where(isRow, rewards, Number.NEGATIVE_INFINITY).max(0),
          mean_reward: mean(chosen.add(rejected)).mul(0.5),
          accuracy: mean(chosen.greater(rejected).cast('float32')),
          margin: mean(difference),
        },
      };
    },
  };
}
