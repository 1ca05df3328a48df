import {
  type ChatMessage,
  type Completion,
  type DecisiveSettings,
  excerpt,
  PosttrainError,
  type Prompt,
  type Verifier,
  type VerifyRequest,
} from '@posttrain/interfaces';
import type { ChecksRows, VerifierResult } from '@posttrain/interfaces/verifiers';

/** A dataset row: the prompt, and any further columns, which reach the reward functions. */
export interface PromptRow {
  readonly prompt: Prompt;
  /** JSON schemas of the functions that the assistant may call, or their JSON text. */
  readonly tools?: unknown;
  /** Variables of the chat template. */
  readonly chat_template_kwargs?: unknown;
}

/** What an environment paid for one turn of an episode. */
export interface TurnReward {
  /** Index in `completionTokens` of the turn's last token. */
  readonly at: number;
  readonly reward: number;
}

/** What a reward function knows beside the completion's text. */
export interface RewardContext<Row extends PromptRow = PromptRow> {
  readonly prompt: Prompt;
  /** The dataset row with all its columns: a reference answer, a checker's input, a topic. */
  readonly row: Row;
  /** As sampled, the end token included. */
  readonly completionTokens: readonly number[];
  /** `length`: cut off at the limit. */
  readonly finishReason: Completion['finishReason'];
  /** Training step, counted from 0. */
  readonly step: number;
  /** Completions of one number are of one prompt, where the step has groups. */
  readonly group?: number;
  /** The whole conversation of an episode. */
  readonly messages?: readonly ChatMessage[];
  /** What the environment of an episode says it is worth. */
  readonly episodeReward?: number | null;
  /** What it paid for the episode's turns. */
  readonly turnRewards?: readonly TurnReward[];
  /** Fires when the call has run out of time or the run ends: pass it to `fetch`. */
  readonly signal: AbortSignal;
}

/** What a verifier is asked as a reward: beside the request of every verifier, what the step knows. */
export interface RewardRequest extends VerifyRequest, Pick<RewardContext, 'group' | 'episodeReward' | 'turnRewards'> {}

/**
 * How good one completion (its text, without special tokens) is; higher is better. `null` means "not scorable", which is
 * not 0: the completion then has no part in the step's means. May be async: calls run concurrently.
 *
 * A resumed run must have the same functions: a hash of their source text is compared, and the property `settings`, where
 * there is one. What a function has captured (a `const` outside of it) cannot be seen: put it into `settings`.
 */
export type RewardFunction<Row extends PromptRow = PromptRow> = (
  completion: string,
  context: RewardContext<Row>,
) => VerifierResult | Promise<VerifierResult>;

/**
 * A reward: any `Verifier`, which gets all completions of a step together (a reward model scores them as one batch), or a
 * function of one completion.
 */
export type Reward<Row extends PromptRow = PromptRow> = Verifier | RewardFunction<Row>;

/** A reward that counts with a weight. */
export interface WeightedReward<Row extends PromptRow> {
  readonly verifier: Reward<Row>;
  readonly weight: number;
}

/** Rewards by the name they are logged under; without a weight it is 1. */
export type Rewards<Row extends PromptRow> = Readonly<Record<string, Reward<Row> | WeightedReward<Row>>>;

/** A reward that threw, took too long, or did not return a number or null. Code `REWARD`. */
export class RewardError extends PosttrainError {
  /** @param context of the completion it happened to, where that is known */
  constructor(reward: string, what: string, context?: { readonly prompt: Prompt }, options?: ErrorOptions) {
    const prompt = typeof context?.prompt === 'string' ? context.prompt : JSON.stringify(context?.prompt);
    const of = prompt === undefined ? '' : ` (prompt ${JSON.stringify(excerpt(prompt, 80))})`;
    super('REWARD', `reward "${reward}" ${what}${of}`, options);
  }
}

/** A reward function that says what it was made with, which a resumed run must share. */
export const namedReward = <Row extends PromptRow>(
  name: string,
  settings: DecisiveSettings,
  reward: RewardFunction<Row>,
  checks: Partial<ChecksRows> = {},
): RewardFunction<Row> => Object.defineProperty(Object.assign(reward, { settings }, checks), 'name', { value: name });
