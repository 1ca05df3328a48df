import { type Given, options, showValue, text } from '@posttrain/interfaces';
import type { PromptRow } from '../rewards/reward.js';
import type { SampledRollout } from '../rollout.js';
import { RolloutError } from './check-rollouts.js';
import type { RolloutSource } from './rollout-source.js';
import { singleTurn } from './single-turn.js';

/** A completion that some policy wrote once, and what it was worth. */
export interface LoggedCompletion {
  readonly tokens: readonly number[];
  readonly reward: number;
  /** log μ of each token under the policy that wrote it, in nats. */
  readonly logProbs: ArrayLike<number>;
}

const loggedOptions = options('loggedRollouts', {
  /** Column of the rows with what was written: a list of `LoggedCompletion`. Default `completions`. */
  column: text({ default: 'completions' }),
});
/** Options of `loggedRollouts`. */
export type LoggedRolloutsOptions = Given<typeof loggedOptions>;

/**
 * Policy gradients from a fixed log (offline batch RL; arXiv 2005.01643, § 3): the rollouts of a row are the first `completionsPerPrompt` of
 * its column, with the rewards of then. Nothing is sampled, and no reward is asked. They are off-policy: a run says `oldLogProbs: 'recomputed'`, and
 * `truncatedImportance` weighs them by π / μ. Evaluations sample from the policy.
 *
 * @throws OptionError; RolloutError for a row without so many completions, or one without tokens, reward or log-probs
 */
export function loggedRollouts<Row extends PromptRow = PromptRow>(
  given: LoggedRolloutsOptions = {},
): RolloutSource<Row> {
  const { column } = loggedOptions.read(given);
  const wrong = (problem: string) => new RolloutError('the source of rollouts logged', problem);
  return {
    name: 'logged',
    settings: loggedOptions.settings(given),
    isOffPolicy: true,
    evaluated: singleTurn<Row>(),
    async sample({ rows, prompts, completionsPerPrompt, firstGroup, model }) {
      return rows.flatMap((row, i) => {
        const logged = (row as unknown as Readonly<Record<string, unknown>>)[column];
        if (!Array.isArray(logged) || logged.length < completionsPerPrompt) {
          const there = Array.isArray(logged) ? `${logged.length} completions` : showValue(logged);
          throw wrong(
            `nothing for row ${i}: its column "${column}" has ${there}, and completionsPerPrompt is ${completionsPerPrompt}`,
          );
        }
        return (logged as readonly Partial<LoggedCompletion>[])
          .slice(0, completionsPerPrompt)
          .map((one, j): SampledRollout => {
            const { tokens, reward, logProbs } = one ?? {};
            if (!tokens || tokens.length === 0 || !Number.isFinite(reward) || logProbs?.length !== tokens.length) {
              throw wrong(
                `nothing for row ${i}: completion ${j} must have tokens, a reward, and logProbs, one for each token`,
              );
            }
            return {
              ...{
                group: firstGroup + i,
                row,
                promptTokens: prompts[i]!,
                completionTokens: tokens,
                finishReason: 'stop',
              },
              ...{ samplerLogProbs: logProbs, reward: reward!, rewards: { logged: reward! } },
              text: model.tokenizer.decode([...tokens], { skipSpecialTokens: true }),
            };
          });
      });
    },
  };
}
