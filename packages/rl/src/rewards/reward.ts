import { type Completion, type DecisiveSettings, PosttrainError, type Prompt } from '@posttrain/interfaces';

/** A dataset row: the prompt, and any further columns, which reach the reward functions. */
export interface PromptRow {
  readonly prompt: Prompt;
  /** JSON schemas of the functions that the assistant may call, or their JSON text. */
  readonly tools?: unknown;
  /** Variables of the chat template. */
  readonly chat_template_kwargs?: unknown;
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
  /** Fires when the call has run out of time or the run ends: pass it to `fetch`. */
  readonly signal: AbortSignal;
}

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
) => number | null | Promise<number | null>;

/** A reward that counts with a weight. */
export interface WeightedReward<Row extends PromptRow> {
  readonly reward: RewardFunction<Row>;
  readonly weight: number;
}

/** Reward functions by the name they are logged under; without a weight it is 1. */
export type Rewards<Row extends PromptRow> = Readonly<Record<string, RewardFunction<Row> | WeightedReward<Row>>>;

/** A reward function that threw, took too long, or did not return a number or null. */
export class RewardError extends PosttrainError {
  constructor(reward: string, what: string, context: { readonly prompt: Prompt }, options?: ErrorOptions) {
    const prompt = typeof context.prompt === 'string' ? context.prompt : JSON.stringify(context.prompt);
    const shown = prompt.length > 80 ? `${prompt.slice(0, 80)}…` : prompt;
    super('REWARD', `reward "${reward}" ${what} (prompt ${JSON.stringify(shown)})`, options);
  }
}

/** A reward function that knows of a row alone that it can score no completion of it. */
export interface ChecksRows {
  /** Why every completion of the row would get null; undefined where it would not. */
  cannotScore(row: object): string | undefined;
}

/** A reward function that says what it was made with, which a resumed run must share. */
export const namedReward = <Row extends PromptRow>(
  name: string,
  settings: DecisiveSettings,
  reward: RewardFunction<Row>,
  checks: Partial<ChecksRows> = {},
): RewardFunction<Row> => Object.defineProperty(Object.assign(reward, { settings }, checks), 'name', { value: name });

/** A column of the row, or an error that names the columns there are. */
export function columnOf(
  reward: string,
  column: string,
  context: { readonly prompt: Prompt; readonly row: object },
): unknown {
  const value = (context.row as Readonly<Record<string, unknown>>)[column];
  if (value === undefined) {
    const there = Object.keys(context.row).join(', ');
    throw new RewardError(reward, `needs the column "${column}", but the row has ${there}`, context);
  }
  return value;
}
