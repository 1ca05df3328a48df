import { type Given, number, options, PosttrainError, text, type VerifyRequest } from '@posttrain/interfaces';
import type { Annotator } from '../annotator.js';
import type { ScoredRollout } from '../rollout.js';
import { stepScoresOf, verdictsOf, verifierOption } from './members.js';

const stepRewardsOptions = options('stepRewards', {
  /** Gives `stepScores`: a process reward model, `processAdvantage`, `implicitProcessReward`, `hybridReward`. */
  verifier: verifierOption,
  /** w_p, what they are multiplied by. Default 1. The outcome's weight w_o is that of the run's reward. */
  weight: number({ default: 1, min: 0 }),
  /** What separates steps in a completion, as the verifier has it; parts without text are no steps. Default `\n\n`. */
  stepDelimiter: text({ default: '\n\n' }),
});
/** Options of `stepRewards`. */
export type StepRewardsOptions = Given<typeof stepRewardsOptions>;

/**
 * Rewards of steps in a run, beside that of the outcome: r_t = w_p · step_t at the last token of each step (of the delimiter's part, where a token
 * is of both), in `tokenRewards`, for an advantage of tokens (`gae`); the reward, w_o · outcome, belongs to the last token. An annotator of
 * an objective. A completion that the verifier cannot score has no rewards of steps.
 *
 * @throws PosttrainError STEP_SCORES where the verifier counts other steps than `stepDelimiter` makes
 */
export function stepRewards(given: StepRewardsOptions): Annotator {
  const { verifier, weight, stepDelimiter } = stepRewardsOptions.read(given);
  return {
    name: 'step-rewards',
    settings: stepRewardsOptions.settings(given),
    gives: ['tokenRewards'],
    async annotate(rollouts, { model, step }) {
      const requests = rollouts.map(({ row, text: completion, completionTokens, finishReason }): VerifyRequest => {
        const columns = row as unknown as Readonly<Record<string, unknown>>;
        return { prompt: row.prompt, completion, row: columns, tokenIds: completionTokens, finishReason, step };
      });
      const verdicts = await verdictsOf(verifier, requests);
      return rollouts.map((rollout, i) => {
        const tokenRewards = Float64Array.from(
          rollout.tokenRewards ?? new Array(rollout.completionTokens.length).fill(0),
        );
        const verdict = verdicts[i]!;
        if (verdict.score === null) return { ...rollout, tokenRewards };
        const scores = stepScoresOf(verifier, verdict);
        const ends = stepEnds(rollout, stepDelimiter, (tokens) =>
          model.tokenizer.decode(tokens, { skipSpecialTokens: true }),
        );
        if (ends.length !== scores.length) {
          const problem = `${verifier.name} has scores of ${scores.length} steps, where the completion has ${ends.length}`;
          const remedy = `give both the same stepDelimiter (here ${JSON.stringify(stepDelimiter)})`;
          throw new PosttrainError('STEP_SCORES', `stepRewards: ${problem}; ${remedy}`);
        }
        ends.forEach((end, t) => {
          tokenRewards[end] = tokenRewards[end]! + weight * scores[t]!;
        });
        return { ...rollout, tokenRewards };
      });
    },
  };
}

/** The token in which each step of a completion ends. */
function stepEnds(
  { text: completion, completionTokens }: Pick<ScoredRollout, 'text' | 'completionTokens'>,
  delimiter: string,
  decode: (tokens: number[]) => string,
): number[] {
  let end = 0;
  const ends: number[] = [];
  for (const [i, part] of completion.split(delimiter).entries()) {
    end += (i === 0 ? 0 : delimiter.length) + part.length;
    if (part.trim() === '') continue;
    // The first token with which the decoded text reaches the end: texts of more tokens are no shorter.
    let [low, high] = [0, completionTokens.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (decode(completionTokens.slice(0, middle + 1)).length >= end) high = middle;
      else low = middle + 1;
    }
    ends.push(low);
  }
  return ends;
}
