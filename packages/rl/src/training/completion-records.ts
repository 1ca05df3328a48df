import type { ChatMessage } from '@posttrain/interfaces';
import type { StepRecord } from '@posttrain/training';
import type { AnnotatedRollouts } from '../objective/policy-objective.js';
import type { PromptRow } from '../rewards/reward.js';
import { type VersionSpan, versionSpans } from '../rollout/policy-version.js';
import { type ScoredRollout, trainedTokens } from '../rollout.js';

/** One line of `completions.jsonl`. */
export interface CompletionRecord extends StepRecord {
  readonly prompt: PromptRow['prompt'];
  readonly completion: string;
  /** What the row has as its `answer`, where that is a text. */
  readonly answer?: string;
  readonly finish_reason: string;
  /** Of an episode: why it ended, and what failed. */
  readonly stop_reason?: string;
  readonly failure?: string;
  readonly tokens: number;
  readonly rewards: Readonly<Record<string, number | null>>;
  readonly reward: number | null;
  /** Where tokens have their own, the mean over those that are trained. */
  readonly advantage: number;
  /** What of the rewards failed, by name. */
  readonly reward_failures?: Readonly<Record<string, string>>;
  /** Of an episode. */
  readonly messages?: readonly ChatMessage[];
  /** Where the sampler is not the policy itself: of which versions of it the tokens are, in their order. */
  readonly policy_versions?: readonly VersionSpan[] | undefined;
}

/** What `completions.jsonl` says of a step's rollouts; of which versions of the policy they are, where the source is off-policy. */
export function completionRecords(
  step: number,
  rollouts: readonly ScoredRollout[],
  advantages: AnnotatedRollouts['advantages'],
  isOffPolicy = false,
): CompletionRecord[] {
  return rollouts.map((rollout, i) => ({
    step,
    prompt: rollout.row.prompt,
    completion: rollout.text,
    finish_reason: rollout.finishReason,
    tokens: rollout.completionTokens.length,
    rewards: rollout.rewards,
    reward: rollout.reward,
    advantage: meanAdvantage(rollout, advantages[i]!),
    ...answerOf(rollout.row),
    ...(rollout.stopReason && { stop_reason: rollout.stopReason }),
    ...(rollout.failure !== undefined && { failure: rollout.failure }),
    ...(rollout.rewardFailures && { reward_failures: rollout.rewardFailures }),
    ...(rollout.messages && { messages: rollout.messages }),
    ...(isOffPolicy && { policy_versions: versionSpans(rollout) }),
  }));
}

/** So that the log can be read without the rows. */
const answerOf = (row: PromptRow & { readonly answer?: unknown }): Pick<CompletionRecord, 'answer'> =>
  typeof row.answer === 'string' ? { answer: row.answer } : {};

/** One number for a completion; of its trained tokens' it is the mean. */
function meanAdvantage(rollout: ScoredRollout, advantage: number | ArrayLike<number>): number {
  if (typeof advantage === 'number') return advantage;
  const trained = trainedTokens(rollout).flatMap((isTrained, t) => (isTrained ? [advantage[t]!] : []));
  return trained.reduce((a, b) => a + b, 0) / Math.max(trained.length, 1);
}
