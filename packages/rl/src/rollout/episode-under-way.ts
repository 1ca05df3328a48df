import type { Key } from '@posttrain/core-tensor';
import { type ChatMessage, showValue } from '@posttrain/interfaces';
import { withDeadline } from '@posttrain/interfaces/concurrency';
import { chatOptionsOf, contextOf, NoChatTemplateError } from '@posttrain/lm';
import type { PromptRow, TurnReward } from '../rewards/reward.js';
import type { SampledRollout } from '../rollout.js';
import type { Rendered } from './continue-conversation.js';
import {
  areMessages,
  type Environment,
  EnvironmentError,
  type Episode,
  type EpisodeContext,
  type EpisodeStep,
  type Reply,
} from './environment.js';
import { TurnSequenceBuilder } from './reconcile-turns.js';
import { isLimitStop, type RolloutLimits, type Spent, type StopReason, stopBeforeReply } from './rollout-limits.js';
import type { RolloutRequest } from './rollout-source.js';
import { toolReplies } from './tool-replies.js';

/** What every episode of a source is run by. */
export interface EpisodeSettings<Row extends PromptRow> {
  readonly environment: Environment<Row>;
  readonly limits: RolloutLimits;
  readonly onLimit: 'keep' | 'zero' | 'mask';
  readonly environmentTimeoutMs: number;
  readonly parseReply: ((text: string) => Reply) | undefined;
}

/** Of which row and place an episode is. */
export interface EpisodePlace<Row extends PromptRow> extends Omit<EpisodeContext, 'signal'> {
  readonly row: Row;
  readonly group: number;
  /** Names the random numbers of its replies. */
  readonly replyKey: Key;
  /** Of what a source was asked for, the tokens of the row's own prompt. */
  readonly prompt: readonly number[];
}

const plainReply = (text: string): Reply => ({ role: 'assistant', content: text });

/** The time of an episode is over. */
export class RolloutTimeout extends Error {
  override readonly message = 'the time of the episode was over';
}

/** An episode under way: the conversation, its tokens, what it has taken, and why it ended. */
export class EpisodeUnderWay<Row extends PromptRow> {
  readonly place: EpisodePlace<Row>;
  readonly messages: ChatMessage[] = [];
  /** Sequences of it that ended where the history was rewritten. */
  readonly #earlier: SampledRollout<Row>[] = [];
  readonly #settings: EpisodeSettings<Row>;
  readonly #request: RolloutRequest<Row>;
  /** Ends what the environment does for it. */
  readonly stop = new AbortController();
  readonly #began = performance.now();
  sequence: TurnSequenceBuilder;
  turnRewards: TurnReward[] = [];
  text = '';
  turns = 0;
  sampled = 0;
  toolCalls = 0;
  /** Replies in a row that could not be read. */
  unreadable = 0;
  /** Undefined while it goes on. */
  stopReason: StopReason | undefined;
  /** What failed. */
  failure: unknown;
  parseReply: (text: string) => Reply = plainReply;
  render: (messages: readonly ChatMessage[], addGenerationPrompt: boolean) => Rendered = () => {
    throw new TypeError('the episode has not begun');
  };
  #episode: Episode | undefined;
  #episodeReward: number | null | undefined;

  constructor(settings: EpisodeSettings<Row>, request: RolloutRequest<Row>, place: EpisodePlace<Row>) {
    this.#settings = settings;
    this.#request = request;
    this.place = place;
    this.sequence = new TurnSequenceBuilder(place.prompt);
  }

  /** @throws EnvironmentError; NoChatTemplateError */
  async start(): Promise<void> {
    const { environment, parseReply } = this.#settings;
    const { model, adapter } = this.#request;
    const { row, sample, step, key } = this.place;
    const context = { sample, step, key, signal: this.stop.signal };
    const episode = await this.#asking('at the start', async () => environment.start(row, context));
    if (typeof (episode as Partial<Episode> | null | undefined)?.step !== 'function')
      throw this.wrong(`started ${showValue(episode)}; an episode has messages and a step`);
    this.#episode = episode;
    if (!areMessages(episode.messages))
      throw this.wrong(`began with ${showValue(episode.messages)} for messages; each has a role and a content`);
    const { chatTemplate } = model;
    if (!chatTemplate) throw new NoChatTemplateError(model.name);
    const { tools } = episode;
    // The same date in all of an episode.
    const chat = { ...chatOptionsOf(row), ...(tools && { tools }), now: new Date() };
    this.render = (messages, addGenerationPrompt) =>
      chatTemplate.renderChat(messages, { ...chat, addGenerationPrompt });
    this.parseReply = parseReply ?? toolReplies(chatTemplate, chat.tools) ?? plainReply;
    this.messages.push(...episode.messages);
    const promptTokens = this.render(episode.messages, true).tokenIds;
    const most = contextOf(model.config, adapter);
    if (promptTokens.length >= most) {
      const problem = `begins with ${promptTokens.length} tokens, and the context of ${most} leaves no room for a reply`;
      throw new EnvironmentError(environment.name, problem, row);
    }
    this.sequence = new TurnSequenceBuilder(promptTokens);
    this.stopReason = this.stopWith(this.spent(0));
  }

  /** @throws EnvironmentError; RolloutTimeout */
  async step(reply: Reply): Promise<EpisodeStep> {
    const answer = await this.#asking('at a reply', async () => this.#episode!.step(reply));
    if (typeof answer?.done !== 'boolean' || !(answer.done || areMessages(answer.messages)))
      throw this.wrong(`answered ${showValue(answer)} to a reply; it must be { messages, reward?, done }`);
    return answer;
  }

  /** What ends it before a reply, having taken that. */
  stopWith(spent: Spent): StopReason | undefined {
    return stopBeforeReply(this.#settings.limits, spent);
  }

  /** What it has taken, with so many tokens more that the environment says. */
  spent(said: number): Spent {
    return this.#spent(this.sequence.tokens.length + said, this.sequence.completionLength + said);
  }

  /** What it has taken, where the next reply reads this prompt. */
  spentWith(promptTokens: readonly number[], isFork: boolean): Spent {
    const { completionLength, promptLength } = this.sequence;
    return this.#spent(promptTokens.length, isFork ? completionLength : promptTokens.length - promptLength);
  }

  #spent(trajectory: number, completion: number): Spent {
    const { model, adapter, sampling } = this.#request;
    const earlier = this.#earlier.reduce((sum, { completionTokens }) => sum + completionTokens.length, 0);
    const most = sampling.maxTokens ?? Number.POSITIVE_INFINITY;
    const room = Math.min(most - earlier - completion, contextOf(model.config, adapter) - trajectory);
    const { turns, sampled } = this;
    return { turns, sampled, trajectory, room, elapsedMs: performance.now() - this.#began };
  }

  pay(reward: number): void {
    if (!Number.isFinite(reward)) throw this.wrong(`paid ${reward} for a reply`);
    this.turnRewards.push({ at: this.sequence.completionLength - 1, reward });
  }

  fail(error: unknown): void {
    this.stopReason = 'failed';
    this.failure = error;
  }

  /** What comes now goes on from another prompt than that which was sampled: another sequence begins. */
  fork(promptTokens: readonly number[]): void {
    this.#earlier.push({ ...this.#rollout(), finishReason: 'stop' });
    this.turnRewards = [];
    this.sequence = new TurnSequenceBuilder(promptTokens);
  }

  /** Asks what the whole episode was worth. @throws EnvironmentError */
  async grade(): Promise<void> {
    const given = await this.#asking('when asked for the reward', async () => this.#episode?.reward?.(), false);
    if (given !== undefined && given !== null && !Number.isFinite(given)) throw this.wrong(`is worth ${given}`);
    this.#episodeReward = given;
  }

  /** Its rollouts: one, or one more for each time that its history was rewritten. */
  rollouts(): SampledRollout<Row>[] {
    const { onLimit } = this.#settings;
    const { group, sample } = this.place;
    const isLimited = isLimitStop(this.stopReason);
    return [...this.#earlier, this.#rollout()].map((rollout, _, all) => ({
      ...rollout,
      stopReason: this.stopReason!,
      ...(all.length > 1 && { episode: `${group}.${sample}` }),
      ...(this.#episodeReward !== undefined && { episodeReward: this.#episodeReward }),
      ...(isLimited && onLimit === 'mask' && { mask: rollout.completionTokens.map(() => 0) }),
      ...(isLimited && onLimit === 'zero' && { rewardAtMost: 0 }),
      ...(this.stopReason === 'failed' && unscorable(rollout, messageOf(this.failure))),
    }));
  }

  /** Ends what still runs of it. @throws EnvironmentError */
  async close(): Promise<void> {
    const episode = this.#episode;
    this.#episode = undefined;
    try {
      if (episode?.close) await this.#asking('at its close', async () => episode.close!(), false);
    } finally {
      this.stop.abort(new Error('the episode is over'));
    }
  }

  #rollout(): SampledRollout<Row> {
    const { row, group } = this.place;
    const reason = this.stopReason;
    const isWhole = reason === 'completed' || reason === 'parse_error';
    return {
      ...{ group, row, ...this.sequence.sequence(), turnRewards: this.turnRewards },
      ...{ messages: [...this.messages], text: this.text },
      finishReason: isWhole ? 'stop' : reason === 'failed' || reason === 'aborted' ? 'abort' : 'length',
    };
  }

  wrong(problem: string): EnvironmentError {
    return new EnvironmentError(this.#settings.environment.name, problem, this.place.row);
  }

  /** Asks the environment, for as long as it and the episode may take, and says of what it throws where it happened. */
  async #asking<T>(what: string, call: () => Promise<T>, isTimed = true): Promise<T> {
    const { environment, environmentTimeoutMs, limits } = this.#settings;
    const left = isTimed
      ? (limits.rolloutTimeoutMs ?? Number.POSITIVE_INFINITY) - (performance.now() - this.#began)
      : Number.POSITIVE_INFINITY;
    const isLast = left < environmentTimeoutMs;
    const timeoutError = () =>
      isLast ? new RolloutTimeout() : this.wrong(`gave no answer ${what} within ${environmentTimeoutMs} ms`);
    try {
      return await withDeadline(call, {
        // What is begun is also closed, at the end of the run too.
        ...{ signal: isTimed ? this.stop.signal : undefined, timeoutError },
        timeoutMs: Math.max(1, Math.ceil(Math.min(left, environmentTimeoutMs))),
      });
    } catch (cause) {
      if (cause instanceof EnvironmentError || cause instanceof RolloutTimeout) throw cause;
      if (this.#request.signal?.aborted && cause === this.#request.signal.reason) throw cause;
      throw new EnvironmentError(environment.name, `threw ${what}: ${messageOf(cause)}`, this.place.row, { cause });
    }
  }
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** What a rollout has of which nothing can be learnt. */
export const unscorable = ({ completionTokens }: Pick<SampledRollout, 'completionTokens'>, failure: string) => ({
  failure,
  finishReason: 'abort' as const,
  mask: completionTokens.map(() => 0),
});
