import { logSumExp, type Tensor, where } from '@posttrain/core-tensor';
import { options, type Prompt } from '@posttrain/interfaces';
import { weightedSum } from '../loss/token-loss.js';
import { sequenceLogits } from '../readouts/heads.js';
import { rankingScores } from './ranking.js';
import { answerTokens, type RewardModelLoss, RewardRowError, readAtEnd, tooLong } from './reward-model-loss.js';

/** Two or more completions of a prompt with `ranks` (1 is the best; equal ones are ties) or `scores` (higher is better). */
export interface RewardRankingRow {
  /** Left out: the completions have it, each. */
  readonly prompt?: Prompt;
  readonly completions: readonly Prompt[];
  readonly ranks?: readonly number[];
  readonly scores?: readonly number[];
  /** JSON schemas of the functions that the assistant may call, or their JSON text. */
  readonly tools?: unknown;
  /** Variables of the chat template. */
  readonly chat_template_kwargs?: unknown;
}

/** What is not in the running any more. */
const OUT = -1e30;

/**
 * What each of n completions adds to -log of the Plackett-Luce probability of their rankings, [n]: log Σ_{j not ahead of k} e^(s_j) - s_k,
 * and 0 for those of a ranking's last rank, which are never chosen. Completions of one rank are each chosen before all that
 * follow and beside each other (Breslow's form).
 *
 * @param s [n], of every completion
 * @param together [n, n], 1 where two completions are of one ranking, as each is with itself
 * @param ahead [n, n], 1 where the first (axis 0) ranks above the second
 */
export function plackettLuceTerms(s: Tensor, together: Tensor, ahead: Tensor): Tensor {
  const remaining = where(together.sub(ahead.transpose()).greater(0.5), s.expandDims(0), OUT);
  return logSumExp(remaining).squeeze(1).sub(s).mul(ahead.sum(1).minimum(1));
}

const plackettLuceOptions = options('plackettLuce', {});

/**
 * The reward model of Plackett and Luce over rankings of any length (arXiv 2305.18290, appendix A.3, eq. 18; ListMLE):
 * -Σ_k [r_k - log Σ_{j ≥ k} e^(r_j)] over completions from best to worst, with r the output of a head of one label at the last token,
 * the mean over rankings. Two completions are `bradleyTerry` without a margin. A ranking of the best m gives all others one last
 * rank. `accuracy` and `margin` are means over the ordered pairs of a ranking.
 */
export function plackettLuce(): RewardModelLoss<RewardRankingRow> {
  return {
    name: 'plackett-luce',
    settings: plackettLuceOptions.settings({}),
    annotations: [{ name: 'score', per: 'row' }],
    groupSize: 'any',
    wholeRow: true,
    combine: { min_reward: 'min', max_reward: 'max' },
    example(model, row, { index, maxLength }) {
      const scores = rankingScores(row, (problem) => new RewardRowError(index, problem));
      if (new Set(scores).size === 1) return 'have all completions in one rank';
      const { completions: _, ...columns } = row;
      const tokens = row.completions.map((completion, i) => {
        const column = `completions[${i}]`;
        return answerTokens(model, { ...columns, [column]: completion }, column, index);
      });
      if (Math.max(...tokens.map(({ length }) => length)) > maxLength) return tooLong(maxLength);
      // Equal rewards have gradients that are rounding only, of which Adam would make updates of full size.
      if (new Set(tokens.map(String)).size === 1) return 'are the same in all completions';
      return { rows: tokens.map((ids, i) => ({ ...readAtEnd(ids, { score: [scores[i]!] }), group: index })), count: 1 };
    },
    computeFrom(read, { weights, annotations, groups }) {
      const rewards = read(sequenceLogits).squeeze(1);
      const score = annotations.score!;
      const isRow = groups!.notEqual(0);
      const isOne = groups!.expandDims(1).equal(groups!.expandDims(0));
      const together = isOne.cast('float32').mul(isRow.cast('float32'));
      const ahead = together.mul(score.expandDims(1).greater(score.expandDims(0)).cast('float32'));
      // 1 / number of rankings in the step, in every row.
      const weight = weights.sum(1);
      const pairs = together.mul(ahead.sum(1).expandDims(0)).sum(1).maximum(1);
      const ofPairs = ahead.mul(weight.div(pairs).expandDims(1));
      const members = together.sum(1).maximum(1);
      const difference = rewards.expandDims(1).sub(rewards.expandDims(0));
      return {
        loss: weightedSum(plackettLuceTerms(rewards, together, ahead), weight),
        metrics: {
          min_reward: where(isRow, rewards, Number.POSITIVE_INFINITY).min(0),
          max_reward: where(isRow, rewards, Number.NEGATIVE_INFINITY).max(0),
          mean_reward: weightedSum(rewards, weight.div(members)),
          accuracy: weightedSum(difference.greater(0).cast('float32'), ofPairs),
          margin: weightedSum(difference, ofPairs),
        },
      };
    },
  };
}
