import {
  addSettings,
  type ChatMessage,
  type Completion,
  custom,
  type DecisiveSettings,
  type Given,
  integer,
  OptionError,
  options,
  PosttrainError,
  type Read,
  settingsOf,
} from '@posttrain/interfaces';
import { withDeadline } from '@posttrain/interfaces/concurrency';
import { NoChatTemplateError } from '@posttrain/lm';
import type { PromptRow } from '../rewards/reward.js';
import type { SampledRollout } from '../rollout.js';
import { type Continuation, continueConversation } from './continue-conversation.js';
import type { Environment, Reply } from './environment.js';
import { type EpisodeSettings, EpisodeUnderWay, RolloutTimeout, unscorable } from './episode-under-way.js';
import { complaintOf, parseErrorsOption, readParseErrors } from './parse-errors.js';
import { callsAnswered, limitsShape, stopOfCutReply, tokensForReply } from './rollout-limits.js';
import { generatorOf, type RolloutRequest, type RolloutSource, seedOf } from './rollout-source.js';

const multiTurnOptions = options('multiTurn', {
  ...limitsShape,
  /**
   * Makes a message of a reply's text; `parseError` says that it could not be read. Default: the text is its content, and where the episode
   * offers tools, calls are found in the form that the chat template has for them (`toolReplies`).
   */
  parseReply: custom<(text: string) => Reply>()('a function of a text', (value) => typeof value === 'function', {
    optional: true,
  }),
  /** What becomes of replies that cannot be read. Default: the environment gets them as texts. */
  parseErrors: parseErrorsOption,
  /**
   * A chat template that writes earlier messages otherwise when there are more is refused, unless this is given: then the new tokens are the
   * prompt from there on, and the episode has another rollout (`reconcileTurns`). Where only an end of the last reply changes, by fewer
   * tokens than this, that end is context instead. 0 keeps every sampled token; TRL has 1024. Default: refused.
   */
  forkThreshold: integer({ optional: true, min: 0 }),
  /** Episodes of a row that are begun anew, all together, where one has failed. Default 0. */
  retries: integer({ default: 0, min: 0 }),
  /**
   * Fewest episodes of a row that must come to an end. The others have failed, and are neither trained nor counted; where
   * there are fewer, no episode of the row is. Default: all, and one that fails ends the run.
   */
  minViableGroup: integer({ optional: true, min: 1 }),
});
/** Options of `multiTurn`. */
export type MultiTurnOptions = Given<typeof multiTurnOptions>;

type Settings<Row extends PromptRow> = Omit<Read<typeof multiTurnOptions>, 'parseReply'> & EpisodeSettings<Row>;

/**
 * Episodes in an environment, one rollout each. The tokens of a reply are those that were sampled, with mask 1; what the
 * environment says is rendered as what the chat template adds for it, with mask 0. Nothing sampled is tokenised again. All
 * replies of a turn are sampled together, and their steps taken concurrently. Rollouts have `turnRewards`, `episodeReward`, `messages`, as `text`
 * the last reply's, and a `stopReason`.
 *
 * Limits are looked at in this order. Before a reply: `rolloutTimeoutMs`, `maxTurns`, `maxTrajectoryTokens`, `maxSampledTokens`, then
 * `maxCompletionLength` and the context (`length`). A reply that was cut off ends the episode, by the first of `maxTrajectoryTokens`,
 * `maxSampledTokens` and `length` that it has used up, or else by `maxTurnTokens`. Then `parseErrors`; then `maxToolCalls`, before the first and
 * between the calls of a reply; then what the environment says.
 *
 * @throws OptionError; EnvironmentError where an episode failed and neither `retries` nor `minViableGroup` make up for it; NoChatTemplateError
 */
export function multiTurn<Row extends PromptRow = PromptRow>(
  environment: Environment<Row>,
  given: MultiTurnOptions = {},
): RolloutSource<Row> {
  const read = multiTurnOptions.read(given);
  const settings: Record<string, DecisiveSettings[string]> = { ...multiTurnOptions.settings(given) };
  addSettings(settings, 'environment', settingsOf(environment));
  if (read.parseErrors) readParseErrors(read.parseErrors);
  return {
    name: 'multi-turn',
    settings,
    gives: ['turnRewards'],
    async sample(request) {
      const { completionsPerPrompt: n } = request;
      if (read.minViableGroup !== undefined && read.minViableGroup > n) {
        const problem = `minViableGroup is ${read.minViableGroup}, and rows have ${n} episodes.`;
        throw new OptionError('INVALID_OPTION', 'multiTurn', 'minViableGroup', problem);
      }
      return new Session({ ...read, environment, limits: read, parseReply: read.parseReply }, request).run();
    },
  };
}

/** The episodes of one request. */
class Session<Row extends PromptRow> {
  readonly #settings: Settings<Row>;
  readonly #request: RolloutRequest<Row>;
  readonly #running: EpisodeUnderWay<Row>[] = [];
  /** By row: how many more of its episodes may be begun anew. */
  readonly #retries: number[];
  readonly #isTolerant: boolean;

  constructor(settings: Settings<Row>, request: RolloutRequest<Row>) {
    this.#settings = settings;
    this.#request = request;
    this.#retries = request.rows.map(() => settings.retries);
    this.#isTolerant = settings.minViableGroup !== undefined;
  }

  async run(): Promise<SampledRollout<Row>[]> {
    const { rows, completionsPerPrompt: n, signal } = this.#request;
    // A listener for all: on a signal with many, Node warns of a leak.
    const abort = () => {
      for (const { stop } of this.#running) stop.abort(signal?.reason);
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      for (let i = 0; i < rows.length * n; i++) await this.#begin(i, 0);
      for (;;) {
        const active = this.#running.flatMap((one, i) => (one.stopReason === undefined ? [i] : []));
        if (active.length === 0) break;
        signal?.throwIfAborted();
        await this.#turn(active);
      }
    } catch (error) {
      await Promise.allSettled(this.#running.map((one) => one.close()));
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
    const closed = await Promise.allSettled(this.#running.map((one) => one.close()));
    const left = closed.find(({ status }) => status === 'rejected') as PromiseRejectedResult | undefined;
    if (left && !this.#isTolerant) throw left.reason;
    return this.#viable();
  }

  /** Begins the i-th episode, or begins it anew. */
  async #begin(i: number, attempt: number): Promise<void> {
    const { rows, prompts, completionsPerPrompt: n, key, step, firstGroup, signal } = this.#request;
    signal?.throwIfAborted();
    const [place, sample] = [Math.floor(i / n), i % n];
    const again = key
      .child(2 * rows.length + place)
      .child(sample)
      .child(attempt);
    const keys =
      attempt === 0
        ? { key: key.child(place).child(sample), replyKey: key.child(rows.length + place).child(sample) }
        : { key: again.child(0), replyKey: again.child(1) };
    const one = new EpisodeUnderWay(this.#settings, this.#request, {
      ...{ row: rows[place]!, group: firstGroup + place, prompt: prompts[place]!, sample, step },
      ...keys,
    });
    this.#running[i] = one;
    await this.#attempt(i, attempt, async () => {
      try {
        await one.start();
      } catch (error) {
        if (!(error instanceof RolloutTimeout)) throw error;
        one.stopReason = 'rollout_timeout';
      }
      if (one.stopReason !== undefined) await one.grade();
    });
  }

  /** Does something in an episode; where that fails, begins it anew, counts it as failed, or ends them all. */
  async #attempt(i: number, attempt: number, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      const { signal, completionsPerPrompt: n } = this.#request;
      if (signal?.aborted || error instanceof NoChatTemplateError) throw error;
      const place = Math.floor(i / n);
      const one = this.#running[i]!;
      if (this.#retries[place]! > 0) {
        this.#retries[place]!--;
        // What it leaves open is of an episode that nobody goes on with.
        await one.close().catch(() => undefined);
        await this.#begin(i, attempt + 1);
      } else if (this.#isTolerant) one.fail(error);
      else throw error;
    }
  }

  async #turn(active: readonly number[]): Promise<void> {
    const episodes = active.map((i) => this.#running[i]!);
    const replies = await this.#replies(episodes);
    this.#request.signal?.throwIfAborted();
    await Promise.all(
      active.map((i, place) =>
        this.#attempt(i, this.#attemptsOf(i), async () => {
          if (replies instanceof Error) throw replies;
          await this.#take(episodes[place]!, replies[place]![0]!);
        }),
      ),
    );
  }

  /** How often a row's episodes have been begun anew: names other random numbers each time. */
  #attemptsOf(i: number): number {
    const { completionsPerPrompt: n } = this.#request;
    return this.#settings.retries - this.#retries[Math.floor(i / n)]!;
  }

  async #replies(episodes: readonly EpisodeUnderWay<Row>[]): Promise<readonly (readonly Completion[])[] | Error> {
    const { sampling, signal } = this.#request;
    const { samplingTimeoutMs: timeoutMs, limits } = this.#settings;
    const generator = generatorOf(this.#request);
    const problem = `multiTurn: the sampler gave no replies within ${timeoutMs} ms (samplingTimeoutMs)`;
    const timeout = new PosttrainError('SAMPLER', problem);
    const ask = (own: AbortSignal | undefined) =>
      generator.generate(
        episodes.map((one) => ({
          ...sampling,
          maxTokens: tokensForReply(limits, one.spent(0)),
          prompt: { tokenIds: one.sequence.tokens, continuesText: false },
          ...{ logProbs: true, seed: seedOf(one.place.replyKey.child(one.turns)) },
          ...(own && { signal: own }),
        })),
      );
    if (timeoutMs === undefined) return ask(signal);
    try {
      return await withDeadline(ask, { signal, timeoutMs, timeoutError: () => timeout });
    } catch (error) {
      if (error === timeout) return timeout;
      throw error;
    }
  }

  /** A reply, and what the environment answers. */
  async #take(one: EpisodeUnderWay<Row>, { text, tokenIds, logProbs, finishReason }: Completion): Promise<void> {
    one.text = text;
    one.turns++;
    one.sampled += tokenIds!.length;
    one.sequence.reply(tokenIds!, logProbs!);
    const { parseError, ...reply } = one.parseReply(text);
    one.messages.push(reply);
    // A reply that was cut off is no answer.
    if (finishReason === 'abort') one.stopReason = 'aborted';
    else if (finishReason === 'length') one.stopReason = stopOfCutReply(this.#settings.limits, one.spent(0));
    else if (parseError !== undefined && this.#settings.parseErrors) this.#complain(one, parseError);
    else await this.#answer(one, reply);
    if (one.stopReason !== undefined) await one.grade();
  }

  /** A reply that could not be read: it is told so, or that was the last. */
  #complain(one: EpisodeUnderWay<Row>, details: string): void {
    const policy = readParseErrors(this.#settings.parseErrors!);
    one.unreadable++;
    if (policy.maskReplies) one.sequence.maskReply();
    if (one.unreadable > policy.maxConsecutive) {
      if (policy.terminalReward !== 0) one.pay(policy.terminalReward);
      one.stopReason = 'parse_error';
      return;
    }
    if (policy.penalty !== 0) one.pay(-policy.penalty);
    this.#goOn(one, [{ role: 'user', content: complaintOf(policy, details) }]);
  }

  async #answer(one: EpisodeUnderWay<Row>, reply: Reply): Promise<void> {
    one.unreadable = 0;
    const { tool_calls: calls = [] } = reply;
    const { answered, ends } = callsAnswered(this.#settings.limits, one.toolCalls, calls.length);
    if (ends && answered === 0) {
      one.stopReason = 'max_tool_calls';
      return;
    }
    one.toolCalls += answered;
    try {
      const { messages, reward, done } = await one.step(
        ends ? { ...reply, tool_calls: calls.slice(0, answered) } : reply,
      );
      if (reward !== undefined) one.pay(reward);
      if (done) one.stopReason = 'completed';
      else if (ends) one.stopReason = 'max_tool_calls';
      else this.#goOn(one, messages);
    } catch (error) {
      if (!(error instanceof RolloutTimeout)) throw error;
      one.stopReason = 'rollout_timeout';
    }
  }

  /** What the environment says, as tokens that are not trained, where another reply may follow. */
  #goOn(one: EpisodeUnderWay<Row>, messages: readonly ChatMessage[]): void {
    one.stopReason = one.stopWith(one.spent(0));
    if (one.stopReason !== undefined) return;
    if (messages.length === 0) throw one.wrong('is not done and says nothing; a reply can answer no reply');
    const { sequence, text, render } = one;
    const sampled = { messages: one.messages, text, lastToken: sequence.tokens.at(-1)!, render };
    const next = continueConversation(this.#request.model, sampled, messages);
    if ('said' in next) {
      one.stopReason = one.stopWith(one.spent(next.said.length));
      if (one.stopReason === undefined) sequence.say(next.said);
    } else this.#rewrite(one, next);
    if (one.stopReason === undefined) one.messages.push(...messages);
  }

  #rewrite(one: EpisodeUnderWay<Row>, { prompt, why }: Extract<Continuation, { readonly why: string }>): void {
    const { forkThreshold } = this.#settings;
    if (forkThreshold === undefined) {
      const remedy = 'multiTurn({ forkThreshold: 0 }) begins another rollout there';
      throw one.wrong(`cannot go on: ${why}, so the reply's tokens would not be those sampled; ${remedy}`);
    }
    const isFork = one.sequence.driftOf(prompt, forkThreshold) === 'fork';
    one.stopReason = one.stopWith(one.spentWith(prompt, isFork));
    if (one.stopReason !== undefined) return;
    if (isFork) one.fork(prompt);
    else one.sequence.follow(prompt);
  }

  /** The rollouts; of rows with too few episodes that came to an end, none to be learnt from. */
  #viable(): SampledRollout<Row>[] {
    const { completionsPerPrompt: n } = this.#request;
    const { minViableGroup: least = 0 } = this.#settings;
    return this.#running.flatMap((one, i) => {
      const first = i - (i % n);
      const ended = this.#running.slice(first, first + n).filter(({ stopReason }) => stopReason !== 'failed').length;
      const rollouts = one.rollouts();
      if (ended >= least || one.stopReason === 'failed') return rollouts;
      const failure = `only ${ended} of ${n} episodes of the row came to an end, and minViableGroup is ${least}`;
      return rollouts.map((rollout) => ({ ...rollout, ...unscorable(rollout, failure) }));
    });
  }
}
