import { softplus } from '@posttrain/core-tensor';
import { type Given, number, options, type Prompt, showValue } from '@posttrain/interfaces';
import { weightedSum } from '../loss/token-loss.js';
import { sequenceLogits } from '../readouts/heads.js';
import { answerTokens, type RewardModelLoss, RewardRowError, readAtEnd, tooLong } from './reward-model-loss.js';

/** An answer that somebody could have reacted to, and whether they did. */
export interface ImplicitFeedbackRow {
  readonly prompt?: Prompt;
  readonly completion: Prompt;
  /** Whether it was clicked, accepted, copied, voted for. */
  readonly clicked: boolean;
  /** p: how likely it was to be seen at all, above 0 and at most 1: of its position, of its time on the page. */
  readonly propensity: number;
  /** JSON schemas of the functions that the assistant may call, or their JSON text. */
  readonly tools?: unknown;
  /** Variables of the chat template. */
  readonly chat_template_kwargs?: unknown;
}

const implicitFeedbackOptions = options('implicitFeedback', {
  /** Propensities below this count as this: less variance for some bias. Default 0: none is clipped. */
  minPropensity: number({ default: 0, min: 0, max: 1 }),
});
/** Options of `implicitFeedback`. */
export type ImplicitFeedbackOptions = Given<typeof implicitFeedbackOptions>;

/**
 * A reward model of what people did, by inverse propensity scores (IPS; arXiv 1608.04468, pointwise 1909.03601): with c = 1 where it was clicked and
 * p the probability that it was seen, -(c / p) log σ(r) - (1 - c / p) log(1 - σ(r)), with r the output of a head of one label at the last
 * token. If a click needs a look and a liking, c = o · y with P(o) = p, its expectation is the cross-entropy of `outcomeReward` with y,
 * whatever was shown where; with p = 1 it is that of the clicks, which rewards exposure. A clicked row of small p can make the
 * loss negative: its mean over many rows is not.
 */
export function implicitFeedback(given: ImplicitFeedbackOptions = {}): RewardModelLoss<ImplicitFeedbackRow> {
  const { minPropensity } = implicitFeedbackOptions.read(given);
  return {
    name: 'implicit-feedback',
    settings: implicitFeedbackOptions.settings(given),
    annotations: [{ name: 'clicked_over_propensity', per: 'row' }],
    wholeRow: true,
    example(model, row, { index, maxLength }) {
      const { clicked, propensity } = row;
      if (typeof clicked !== 'boolean')
        throw new RewardRowError(index, `clicked must be true or false, and is ${showValue(clicked)}`);
      if (!(typeof propensity === 'number' && propensity > 0 && propensity <= 1)) {
        const remedy = 'what was never shown is no feedback: leave the row out';
        throw new RewardRowError(
          index,
          `propensity must be a number above 0 and at most 1, and is ${showValue(propensity)}; ${remedy}`,
        );
      }
      const tokens = answerTokens(model, row, 'completion', index);
      if (tokens.length > maxLength) return tooLong(maxLength);
      const ratio = clicked ? 1 / Math.max(propensity, minPropensity) : 0;
      return { rows: [readAtEnd(tokens, { clicked_over_propensity: [ratio] })], count: 1 };
    },
    computeFrom(read, { weights, annotations }) {
      const reward = read(sequenceLogits).squeeze(1);
      const weight = weights.sum(1);
      const ratio = annotations.clicked_over_propensity!;
      // -q log σ(r) - (1 - q) log(1 - σ(r)) = softplus(r) - q r, for any q.
      return {
        loss: weightedSum(softplus(reward).sub(ratio.mul(reward)), weight),
        metrics: { mean_reward: weightedSum(reward, weight), clicks: weightedSum(ratio.minimum(1), weight) },
      };
    },
  };
}
