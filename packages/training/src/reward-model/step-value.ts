import { relu, type Tensor } from '@posttrain/core-tensor';
import { type Given, number, options, showValue } from '@posttrain/interfaces';
import { weightedSum } from '../loss/token-loss.js';
import { sequenceLogits } from '../readouts/heads.js';
import { answerTokens, type RewardModelLoss, RewardRowError, readAtEnd, tooLong } from './reward-model-loss.js';

/** Two steps behind the same text, with what a tree search knows of each: rows of `traceRows(trace, { kind: 'step-value' })` of tts. */
export interface StepValueRow {
  /** The problem, and what the solution had come to. */
  readonly prompt: string;
  readonly chosen: string;
  readonly rejected: string;
  /** Q of each. */
  readonly chosen_value: number;
  readonly rejected_value: number;
}

const stepValueOptions = options('stepValue', {
  /** γ: by how much the value of the better step is to be above that of the other. Default 0.1. */
  margin: number({ default: 0.1, min: 0 }),
  /** What the margin loss counts beside the squared error; 0 is a value model of Q alone. Default 1. */
  rankWeight: number({ default: 1, min: 0 }),
});
/** Options of `stepValue`. */
export type StepValueOptions = Given<typeof stepValueOptions>;

/**
 * The explicit value model of step-level value preference optimization (SVPO, arXiv 2406.10858): it is held to Q of a Monte Carlo tree search, and
 * to the order of steps from one place, which the policy learns by its preference loss,
 *
 *   ½ [(V(s_w) - Q_w)² + (V(s_l) - Q_l)²] + w max(0, γ - (V(s_w) - V(s_l)))
 *
 * with V the output of a head of one label at the last token. The paper names both terms, and not what one counts beside the other here: γ and w
 * are ours. For a `SequenceClassifier` with one label. Metrics: `value_error`, the root of the mean squared error, and `accuracy`, of the order.
 */
export function stepValue(given: StepValueOptions = {}): RewardModelLoss<StepValueRow> {
  const { margin, rankWeight } = stepValueOptions.read(given);
  return {
    name: 'step-value',
    settings: stepValueOptions.settings(given),
    annotations: [{ name: 'value', per: 'row' }],
    groupSize: 2,
    wholeRow: true,
    example(model, row, { index, maxLength }) {
      const { chosen_value: better, rejected_value: worse } = row;
      for (const [name, value] of Object.entries({ chosen_value: better, rejected_value: worse })) {
        if (!Number.isFinite(value)) {
          throw new RewardRowError(index, `${name} must be a number, and is ${showValue(value)}`);
        }
      }
      if (better < worse) {
        throw new RewardRowError(index, `prefers a step of the value ${better} to one of ${worse}`);
      }
      const tokens = [answerTokens(model, row, 'chosen', index), answerTokens(model, row, 'rejected', index)] as const;
      if (tokens.some((one) => one.length > maxLength)) return tooLong(maxLength);
      const rows = tokens.map((one, i) => readAtEnd(one, { value: [i === 0 ? better : worse] }));
      return { rows, count: 1 };
    },
    computeFrom(read, { weights, annotations }) {
      const pairs = weights.shape[0]! / 2;
      const split = (perRow: Tensor) => {
        const table = perRow.reshape([pairs, 2]);
        return [table.slice(1, 0, 1).squeeze(1), table.slice(1, 1, 2).squeeze(1)] as const;
      };
      const values = read(sequenceLogits).squeeze(1);
      const errors = values.sub(annotations.value!).square();
      const [better, worse] = split(values);
      const [ofBetter, ofWorse] = split(errors);
      // 1 / number of pairs in the step, and 0 for pairs that are padding.
      const [weight] = split(weights.sum(1));
      const mean = (of: Tensor) => weightedSum(of, weight);
      const error = mean(ofBetter.add(ofWorse).mul(0.5));
      const behind = mean(relu(better.sub(worse).neg().add(margin)));
      return {
        loss: error.add(behind.mul(rankWeight)),
        metrics: {
          value_error: error.sqrt(),
          margin: mean(better.sub(worse)),
          accuracy: mean(better.greater(worse).cast('float32')),
        },
      };
    },
  };
}
