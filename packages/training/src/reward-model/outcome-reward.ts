import { softplus } from '@posttrain/core-tensor';
import { options, type Prompt, showValue } from '@posttrain/interfaces';
import { HeadError } from '@posttrain/lm';
import { weightedSum } from '../loss/token-loss.js';
import { sequenceLogits } from '../readouts/heads.js';
import { answerTokens, type RewardModelLoss, RewardRowError, readAtEnd, tooLong } from './reward-model-loss.js';

/** An answer, and whether it is right. */
export interface OutcomeRow {
  readonly prompt?: Prompt;
  readonly completion: Prompt;
  /** Whether it is right, or the probability that it is. */
  readonly label: boolean | number;
  /** JSON schemas of the functions that the assistant may call, or their JSON text. */
  readonly tools?: unknown;
  /** Variables of the chat template. */
  readonly chat_template_kwargs?: unknown;
}

const outcomeRewardOptions = options('outcomeReward', {});

/**
 * An outcome reward model, a verifier of whole solutions (arXiv 2110.14168): -y log σ(r) - (1 - y) log(1 - σ(r)),
 * with r the output of a head at the last token; of a head with two labels, r is the second less the first, so that
 * it is the cross-entropy of transformers. For a `SequenceClassifier` with one label, whose `RewardVerifier` then
 * gives log-odds, or with two.
 */
export function outcomeReward(): RewardModelLoss<OutcomeRow> {
  return {
    name: 'outcome',
    settings: outcomeRewardOptions.settings({}),
    annotations: [{ name: 'label', per: 'row' }],
    wholeRow: true,
    example(model, row, { index, maxLength }) {
      const label = Number(row.label);
      const isLabel = typeof row.label === 'boolean' || typeof row.label === 'number';
      if (!isLabel || !(label >= 0 && label <= 1)) {
        throw new RewardRowError(
          index,
          `label must be true, false or a number of 0 to 1, and is ${showValue(row.label)}`,
        );
      }
      const tokens = answerTokens(model, row, 'completion', index);
      if (tokens.length > maxLength) return tooLong(maxLength);
      return { rows: [readAtEnd(tokens, { label: [label] })], count: 1 };
    },
    computeFrom(read, { weights, annotations }) {
      const logits = read(sequenceLogits);
      const count = logits.shape[1]!;
      if (count > 2) throw new HeadError(`an outcome reward model has one or two labels, but the head has ${count}`);
      const last = logits.slice(1, count - 1, count).squeeze(1);
      const reward = count === 1 ? last : last.sub(logits.slice(1, 0, 1).squeeze(1));
      const label = annotations.label!;
      const mean = (values: typeof label) => weightedSum(values, weights.sum(1));
      const isRight = reward.greater(0).equal(label.greater(0.5));
      return {
        loss: mean(softplus(reward).sub(reward.mul(label))),
        metrics: { mean_reward: mean(reward), accuracy: mean(isRight.cast('float32')) },
      };
    },
  };
}
