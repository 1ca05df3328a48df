import type { Key } from '@posttrain/core-tensor';
import {
  addSettings,
  type ChatMessage,
  custom,
  type DecisiveSettings,
  type Given,
  integer,
  OptionError,
  options,
  type Read,
  settingsOf,
  showValue,
} from '@posttrain/interfaces';
import { withDeadline } from '@posttrain/interfaces/concurrency';
import { type Adapter, type ChatTemplate, chatOptionsOf, contextOf, NoChatTemplateError } from '@posttrain/lm';
import type { PromptRow } from '../rewards/reward.js';
import { alike, type SampledRollout } from '../rollout.js';
import { areMessages, EnvironmentError, type EpisodeContext, type Reply } from './environment.js';
import { messageOf, unscorable } from './episode-under-way.js';
import {
  isLimitStop,
  limitsShape,
  type Spent,
  type StopReason,
  stopBeforeReply,
  tokensForReply,
} from './rollout-limits.js';
import { generatorOf, type RolloutRequest, type RolloutSource, seedOf } from './rollout-source.js';

/** Whose turn it is in an episode, and what it is told: each role sees a conversation of its own. */
export interface AgentTurn {
  readonly role: string;
  readonly messages: readonly ChatMessage[];
}

/** One run through a world of several. */
export interface MultiAgentEpisode {
  /** Whose turn is next; undefined at the end. */
  next(): AgentTurn | undefined | Promise<AgentTurn | undefined>;
  /** What that role said. */
  take(role: string, reply: Reply): void | Promise<void>;
  /** What the episode was worth to each role, asked once at its end; null, or left out: not scorable. */
  rewards(): Readonly<Record<string, number | null>> | Promise<Readonly<Record<string, number | null>>>;
  /** Called once, whatever happens. */
  close?(): void | Promise<void>;
}

/** A world of several: a proposer and a critic, two sides of a game. */
export interface MultiAgentEnvironment<Row extends PromptRow = PromptRow> {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  readonly roles: readonly string[];
  start(row: Row, context: EpisodeContext): MultiAgentEpisode | Promise<MultiAgentEpisode>;
}

const { maxTurns, maxTurnTokens, maxSampledTokens, rolloutTimeoutMs, environmentTimeoutMs, onLimit } = limitsShape;
const multiAgentOptions = options('multiAgent', {
  /** Most turns of an episode, those of all roles. Default 8. */
  maxTurns,
  /** Most tokens of one turn. Default: what the other limits leave. */
  maxTurnTokens,
  /** Most tokens that an episode samples, in all roles. Default: no limit of its own. */
  maxSampledTokens,
  /** Milliseconds of an episode, looked at between turns. Default: no limit. */
  rolloutTimeoutMs,
  /** Milliseconds for one answer of the environment (start, next, take, rewards, close); longer, and it has failed. Default 60 000. */
  environmentTimeoutMs,
  /** What turns of an episode are worth that a limit ended, as in `multiTurn`. Default `keep`. */
  onLimit,
  /**
   * Episodes of a row that must come to their end; those that fail are neither trained nor counted, and where there are fewer, none of the row is.
   * Default: all, and one that fails ends the run.
   */
  minViableGroup: integer({ optional: true, min: 1 }),
  /** Which policy plays a role: one for several is self-play. Default: that of the role's name. */
  policies: custom<Readonly<Record<string, string>>>()(
    'names of policies by role',
    (value) => typeof value === 'object' && value !== null && Object.values(value).every((x) => typeof x === 'string'),
    { default: {}, settings: (value) => ({ ...value }) },
  ),
});
/** Options of `multiAgent`. */
export type MultiAgentOptions = Given<typeof multiAgentOptions>;

/** An episode under way. */
interface Running<Row extends PromptRow> {
  readonly place: number;
  readonly sample: number;
  readonly row: Row;
  readonly began: number;
  readonly rollouts: SampledRollout<Row>[];
  /** Ends what the environment does for it. */
  readonly stop: AbortController;
  /** Undefined where it could not begin. */
  episode: MultiAgentEpisode | undefined;
  rewards: Readonly<Record<string, number | null>>;
  sampled: number;
  /** Undefined while it goes on. */
  stopReason: StopReason | undefined;
  failure: unknown;
}

/** A turn that is to be sampled. */
interface OpenTurn<Row extends PromptRow> extends AgentTurn {
  readonly one: Running<Row>;
  readonly policy: string;
  readonly promptTokens: readonly number[];
  readonly maxTokens: number;
}

/**
 * Episodes of several roles, each played by a policy of the run: every turn is a rollout of its own, with the `role`, the `policy` that
 * sampled it, and as `episodeReward` what the episode was worth to that role. Rollouts of a row are one group; a run compares those
 * of one policy. What is to be said next is sampled together for all episodes in which it is one policy's turn.
 *
 * Before a turn the limits are looked at in this order: `rolloutTimeoutMs`, `maxTurns`, `maxSampledTokens`, then the context of the role's own
 * conversation (`length`). An episode that a limit ends is asked for its rewards all the same, and its rollouts have that `stopReason`. A turn that is
 * cut off is told to the environment as it is.
 *
 * @throws OptionError for a role without a policy, or more viable episodes than there are; EnvironmentError where an episode fails and
 *   `minViableGroup` does not make up for it; NoChatTemplateError
 */
export function multiAgent<Row extends PromptRow = PromptRow>(
  environment: MultiAgentEnvironment<Row>,
  given: MultiAgentOptions = {},
): RolloutSource<Row> {
  const read = multiAgentOptions.read(given);
  const settings: Record<string, DecisiveSettings[string]> = { ...multiAgentOptions.settings(given) };
  addSettings(settings, 'environment', settingsOf(environment));
  return {
    name: 'multi-agent',
    settings,
    sample: async (request) => new AgentSession(environment, read, request).run(),
  };
}

/** The episodes of one request. */
class AgentSession<Row extends PromptRow> {
  readonly #environment: MultiAgentEnvironment<Row>;
  readonly #settings: Read<typeof multiAgentOptions>;
  readonly #request: RolloutRequest<Row>;
  readonly #policies: Readonly<Record<string, Adapter>>;
  readonly #chatTemplate: ChatTemplate;
  readonly #running: Running<Row>[] = [];

  constructor(
    environment: MultiAgentEnvironment<Row>,
    settings: Read<typeof multiAgentOptions>,
    request: RolloutRequest<Row>,
  ) {
    this.#environment = environment;
    this.#settings = settings;
    this.#request = request;
    const { model, policies = {}, completionsPerPrompt: n } = request;
    if (!model.chatTemplate) throw new NoChatTemplateError(model.name);
    this.#chatTemplate = model.chatTemplate;
    this.#policies = policies;
    const wrong = (option: string, problem: string) => new OptionError('INVALID_OPTION', 'multiAgent', option, problem);
    const missing = environment.roles.find((role) => !(this.#policyOf(role) in policies));
    if (missing !== undefined) {
      const there = Object.keys(policies).join(', ') || 'none';
      const problem = `the role ${missing} is played by ${this.#policyOf(missing)}, and the policies of the run are: ${there}.`;
      throw wrong('policies', problem);
    }
    const { minViableGroup: least } = settings;
    if (least !== undefined && least > n)
      throw wrong('minViableGroup', `minViableGroup is ${least}, and rows have ${n} episodes.`);
  }

  #policyOf(role: string): string {
    return this.#settings.policies[role] ?? role;
  }

  async run(): Promise<SampledRollout<Row>[]> {
    const { signal } = this.#request;
    // A listener for all: on a signal with many, Node warns of a leak.
    const abort = () => {
      for (const { stop } of this.#running) stop.abort(signal?.reason);
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      await this.#begin();
      for (let turn = 0; ; turn++) {
        signal?.throwIfAborted();
        const open = await this.#openTurns(turn);
        if (open.length === 0) break;
        for (const together of alike(open, ({ policy }) => policy)) await this.#sample(together, turn);
      }
      const ended = this.#running.filter(({ stopReason }) => stopReason !== 'failed');
      await Promise.all(ended.map((one) => this.#attempt(one, () => this.#grade(one))));
    } catch (error) {
      await this.#close();
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
    const left = (await this.#close()).find(({ status }) => status === 'rejected');
    if (left && this.#settings.minViableGroup === undefined) throw (left as PromiseRejectedResult).reason;
    return this.#viable();
  }

  /** Ends what still runs, whatever has happened. */
  async #close(): Promise<readonly PromiseSettledResult<void>[]> {
    return Promise.allSettled(
      this.#running.map(async (one) => {
        try {
          await this.#asking(one, 'at its close', async () => one.episode?.close?.(), false);
        } finally {
          one.stop.abort(new Error('the episode is over'));
        }
      }),
    );
  }

  /** @throws EnvironmentError */
  async #grade(one: Running<Row>): Promise<void> {
    const given = await this.#asking(one, 'when asked for the rewards', async () => one.episode!.rewards());
    one.rewards = given ?? {};
    const wrong = Object.entries(one.rewards).find(([, x]) => x != null && !Number.isFinite(x));
    if (wrong) throw this.#wrong(one, `was worth ${showValue(wrong[1])} to ${wrong[0]}; it must be a number, or null`);
  }

  async #begin(): Promise<void> {
    const { rows, completionsPerPrompt: n, key, step, signal } = this.#request;
    for (const [place, row] of rows.entries()) {
      for (let sample = 0; sample < n; sample++) {
        const one: Running<Row> = {
          ...{ place, sample, row, began: performance.now(), rollouts: [], stop: new AbortController() },
          ...{ episode: undefined, rewards: {}, sampled: 0, stopReason: undefined, failure: undefined },
        };
        this.#running.push(one);
        signal?.throwIfAborted();
        const context = { sample, step, key: key.child(place).child(sample), signal: one.stop.signal };
        await this.#attempt(one, async () => {
          one.episode = await this.#asking(one, 'at the start', async () => this.#environment.start(row, context));
        });
      }
    }
  }

  /** The next turn of every episode that goes on. */
  async #openTurns(turn: number): Promise<OpenTurn<Row>[]> {
    const { model, sampling, signal } = this.#request;
    const { maxTurns, maxTurnTokens, maxSampledTokens, rolloutTimeoutMs } = this.#settings;
    const limits = { maxTurns, maxTurnTokens, maxSampledTokens, rolloutTimeoutMs };
    const active = this.#running.filter(({ stopReason }) => stopReason === undefined);
    const turns = await Promise.all(
      active.map(async (one): Promise<OpenTurn<Row> | undefined> => {
        let found: OpenTurn<Row> | undefined;
        await this.#attempt(one, async () => {
          const next = await this.#asking(one, 'when asked whose turn it is', async () => one.episode!.next());
          if (!next) {
            one.stopReason = 'completed';
            return;
          }
          const { role, messages } = next;
          const { roles } = this.#environment;
          if (!roles.includes(role))
            throw this.#wrong(one, `gave a turn to ${showValue(role)}, and its roles are: ${roles.join(', ')}`);
          if (!areMessages(messages))
            throw this.#wrong(one, `tells ${role} ${showValue(messages)}; it must be messages`);
          const policy = this.#policyOf(next.role);
          const chat = { ...chatOptionsOf(one.row), addGenerationPrompt: true };
          const promptTokens = this.#chatTemplate.renderChat(next.messages, chat).tokenIds;
          const room = Math.min(
            sampling.maxTokens ?? Number.POSITIVE_INFINITY,
            contextOf(model.config, this.#policies[policy]!) - promptTokens.length,
          );
          const elapsedMs = performance.now() - one.began;
          const spent: Spent = { turns: turn, sampled: one.sampled, trajectory: 0, room, elapsedMs };
          one.stopReason = stopBeforeReply(limits, spent);
          if (one.stopReason !== undefined) return;
          found = { ...next, one, policy, promptTokens, maxTokens: tokensForReply(limits, spent) };
        });
        return found;
      }),
    );
    signal?.throwIfAborted();
    return turns.flatMap((found) => found ?? []);
  }

  async #sample(together: readonly OpenTurn<Row>[], turn: number): Promise<void> {
    const { sampling, signal, firstGroup, key, rows } = this.#request;
    const generator = generatorOf({ ...this.#request, adapter: this.#policies[together[0]!.policy]! });
    const replies = await generator.generate(
      together.map(({ one, promptTokens, maxTokens }) => ({
        ...sampling,
        ...(Number.isFinite(maxTokens) && { maxTokens }),
        prompt: { tokenIds: promptTokens, continuesText: false },
        ...{ logProbs: true, seed: seedOf(turnKey(key, rows.length + one.place, one.sample, turn)) },
        ...(signal && { signal }),
      })),
    );
    signal?.throwIfAborted();
    await Promise.all(
      together.map(({ one, role, policy, messages, promptTokens }, i) =>
        this.#attempt(one, async () => {
          const [{ text, tokenIds, logProbs, finishReason }] = replies[i] as [(typeof replies)[number][number]];
          const reply: Reply = { role: 'assistant', content: text };
          one.sampled += tokenIds!.length;
          one.rollouts.push({
            ...{ group: firstGroup + one.place, row: one.row, role, policy, text, finishReason },
            ...{ promptTokens, completionTokens: tokenIds!, samplerLogProbs: logProbs! },
            messages: [...messages, reply],
          });
          await this.#asking(one, 'at a reply', async () => one.episode!.take(role, reply));
        }),
      ),
    );
  }

  /** Does something in an episode; where that fails it is counted as failed, or ends them all. */
  async #attempt(one: Running<Row>, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (this.#request.signal?.aborted || this.#settings.minViableGroup === undefined) throw error;
      one.stopReason = 'failed';
      one.failure = error;
    }
  }

  /** Asks the environment, for as long as it may take, and says of what it throws where it happened. */
  async #asking<T>(one: Running<Row>, what: string, call: () => Promise<T>, isStopped = true): Promise<T> {
    const { signal } = this.#request;
    const { environmentTimeoutMs: timeoutMs } = this.#settings;
    const timeoutError = () => this.#wrong(one, `gave no answer ${what} within ${timeoutMs} ms`);
    try {
      return await withDeadline(call, { signal: isStopped ? one.stop.signal : undefined, timeoutMs, timeoutError });
    } catch (cause) {
      if (cause instanceof EnvironmentError || (signal?.aborted && cause === signal.reason)) throw cause;
      throw new EnvironmentError(this.#environment.name, `threw ${what}: ${messageOf(cause)}`, one.row, { cause });
    }
  }

  #wrong({ row }: Running<Row>, problem: string): EnvironmentError {
    return new EnvironmentError(this.#environment.name, problem, row);
  }

  /** The rollouts; of rows with too few episodes that came to an end, none to be learnt from. */
  #viable(): SampledRollout<Row>[] {
    const { completionsPerPrompt: n } = this.#request;
    const { minViableGroup: least = 0, onLimit } = this.#settings;
    return this.#running.flatMap((one) => {
      const ended = this.#running.filter(({ place, stopReason }) => place === one.place && stopReason !== 'failed');
      const few = `only ${ended.length} of ${n} episodes of the row came to an end, and minViableGroup is ${least}`;
      const failure = one.stopReason === 'failed' ? messageOf(one.failure) : ended.length < least ? few : undefined;
      const isLimited = isLimitStop(one.stopReason);
      return one.rollouts.map((rollout) => ({
        ...rollout,
        stopReason: one.stopReason!,
        episodeReward: one.rewards[rollout.role!] ?? null,
        ...(isLimited && onLimit === 'mask' && { mask: rollout.completionTokens.map(() => 0) }),
        ...(isLimited && onLimit === 'zero' && { rewardAtMost: 0 }),
        ...(failure !== undefined && unscorable(rollout, failure)),
      }));
    });
  }
}

/** Names the random numbers of a turn. */
const turnKey = (key: Key, place: number, sample: number, turn: number) => key.child(place).child(sample).child(turn);
