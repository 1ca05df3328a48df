import {
  addSettings,
  type ChatMessage,
  custom,
  type DecisiveSettings,
  type Given,
  integer,
  options,
  settingsOf,
} from '@posttrain/interfaces';
import { type CausalLM, chatOptionsOf, contextOf, NoChatTemplateError } from '@posttrain/lm';
import type { PromptRow, TurnReward } from '../rewards/reward.js';
import type { SampledRollout } from '../rollout.js';
import { type Environment, EnvironmentError, type Episode, type EpisodeStep, type Reply } from './environment.js';
import { generatorOf, type RolloutRequest, type RolloutSource, seedOf } from './rollout-source.js';
import { toolReplies } from './tool-replies.js';

const multiTurnOptions = options('multiTurn', {
  /** Most replies of an episode. Default 8. */
  maxTurns: integer({ default: 8, min: 1 }),
  /** Most tokens of one reply. Default: what is left of `maxCompletionLength`, which bounds the whole episode. */
  maxTurnTokens: integer({ optional: true, min: 1 }),
  /**
   * Makes a message of a reply's text. Default: the text is its content, and where the episode offers tools, calls are found in the
   * form that the chat template has for them (`toolReplies`).
   */
  parseReply: custom<(text: string) => Reply>()('a function of a text', (value) => typeof value === 'function', {
    optional: true,
  }),
});
/** Options of `multiTurn`. */
export type MultiTurnOptions = Given<typeof multiTurnOptions>;

const plainReply = (text: string): Reply => ({ role: 'assistant', content: text });

/** An episode under way. */
interface Running<Row extends PromptRow> {
  readonly row: Row;
  readonly group: number;
  readonly sample: number;
  readonly episode: Episode;
  readonly promptTokens: readonly number[];
  readonly render: (messages: readonly ChatMessage[], addGenerationPrompt: boolean) => string;
  readonly parseReply: (text: string) => Reply;
  readonly messages: ChatMessage[];
  readonly tokens: number[];
  readonly mask: number[];
  readonly logProbs: number[];
  readonly turnRewards: TurnReward[];
  text: string;
  /** Undefined while it goes on. */
  finishReason: SampledRollout['finishReason'] | undefined;
}

/**
 * Episodes in an environment, one rollout each. The tokens of a reply are those that were sampled, with mask 1; what the
 * environment says is rendered as what the chat template adds for it, with mask 0. Nothing sampled is tokenised again. All
 * replies of a turn are sampled together, and their steps taken concurrently. An episode that reaches `maxTurns`,
 * `maxCompletionLength` or the end of the context ends there, with the finish reason `length`. Its rollout has `turnRewards`,
 * `episodeReward`, `messages`, and as `text` the last reply's.
 *
 * @throws OptionError; EnvironmentError; NoChatTemplateError
 */
export function multiTurn<Row extends PromptRow = PromptRow>(
  environment: Environment<Row>,
  given: MultiTurnOptions = {},
): RolloutSource<Row> {
  const { maxTurns, maxTurnTokens, parseReply } = multiTurnOptions.read(given);
  const settings: Record<string, DecisiveSettings[string]> = { ...multiTurnOptions.settings(given) };
  addSettings(settings, 'environment', settingsOf(environment));
  return {
    name: 'multi-turn',
    settings,
    gives: ['turnRewards'],
    async sample(request) {
      const generator = generatorOf(request);
      const running: Running<Row>[] = [];
      try {
        await startAll(environment, request, running, parseReply);
        for (let turn = 0; turn < maxTurns; turn++) {
          const active = running.filter(({ finishReason }) => finishReason === undefined);
          if (active.length === 0) break;
          request.signal?.throwIfAborted();
          const replies = await generator.generate(active.map((one) => turnRequest(request, one, turn, maxTurnTokens)));
          request.signal?.throwIfAborted();
          await Promise.all(
            active.map(async (one, i) => {
              const [{ text, tokenIds, logProbs, finishReason }] = replies[i] as [(typeof replies)[number][number]];
              one.text = text;
              one.tokens.push(...tokenIds!);
              one.mask.push(...tokenIds!.map(() => 1));
              one.logProbs.push(...logProbs!);
              const reply = one.parseReply(text);
              one.messages.push(reply);
              // A reply that was cut off is no answer.
              if (finishReason !== 'stop') one.finishReason = finishReason;
              else await answer(environment, request, one, reply, turn === maxTurns - 1);
            }),
          );
        }
        return await Promise.all(running.map((one) => rolloutOf(environment, one)));
      } finally {
        await Promise.all(running.map(({ episode }) => episode.close?.()));
      }
    },
  };
}

/** Calls an environment, and says of what it throws where it happened. */
async function asking<T>(
  environment: { readonly name: string },
  row: PromptRow,
  what: string,
  call: () => T | Promise<T>,
) {
  try {
    return await call();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new EnvironmentError(environment.name, `threw ${what}: ${message}`, row, { cause });
  }
}

async function startAll<Row extends PromptRow>(
  environment: Environment<Row>,
  { model, adapter, rows, completionsPerPrompt, key, step, signal, firstGroup }: RolloutRequest<Row>,
  running: Running<Row>[],
  parseReply: MultiTurnOptions['parseReply'],
): Promise<void> {
  for (const [i, row] of rows.entries()) {
    for (let sample = 0; sample < completionsPerPrompt; sample++) {
      const context = { sample, step, key: key.child(i).child(sample), signal };
      const episode = await asking(environment, row, 'at the start', () => environment.start(row, context));
      const { chatTemplate } = model;
      if (!chatTemplate) throw new NoChatTemplateError(model.name);
      const { tools } = episode;
      // The same date in all of an episode.
      const chat = { ...chatOptionsOf(row), ...(tools && { tools }), now: new Date() };
      const renderChat = (messages: readonly ChatMessage[], addGenerationPrompt: boolean) =>
        chatTemplate.renderChat(messages, { ...chat, addGenerationPrompt });
      const promptTokens = renderChat(episode.messages, true).tokenIds;
      const most = contextOf(model.config, adapter);
      if (promptTokens.length >= most) {
        const problem = `begins with ${promptTokens.length} tokens, and the context of ${most} leaves no room for a reply`;
        throw new EnvironmentError(environment.name, problem, row);
      }
      running.push({
        ...{ promptTokens, row, group: firstGroup + i, sample, episode },
        parseReply: parseReply ?? toolReplies(chatTemplate, chat.tools) ?? plainReply,
        render: (messages, addGenerationPrompt) => renderChat(messages, addGenerationPrompt).text,
        messages: [...episode.messages],
        ...{ tokens: [], mask: [], logProbs: [], turnRewards: [], text: '', finishReason: undefined },
      });
    }
  }
}

/** Tokens that the rest of an episode may have. */
const roomOf = (
  { model, adapter, sampling }: Pick<RolloutRequest, 'model' | 'adapter' | 'sampling'>,
  { promptTokens, tokens }: Pick<Running<PromptRow>, 'promptTokens' | 'tokens'>,
): number =>
  Math.min(
    (sampling.maxTokens ?? Number.POSITIVE_INFINITY) - tokens.length,
    contextOf(model.config, adapter) - promptTokens.length - tokens.length,
  );

function turnRequest<Row extends PromptRow>(
  request: RolloutRequest<Row>,
  one: Running<Row>,
  turn: number,
  maxTurnTokens = Number.POSITIVE_INFINITY,
) {
  const { sampling, key, rows, firstGroup, signal } = request;
  const seed = seedOf(
    key
      .child(rows.length + one.group - firstGroup)
      .child(one.sample)
      .child(turn),
  );
  return {
    ...sampling,
    maxTokens: Math.min(roomOf(request, one), maxTurnTokens),
    prompt: { tokenIds: [...one.promptTokens, ...one.tokens], continuesText: false },
    ...{ logProbs: true, seed },
    ...(signal && { signal }),
  };
}

/** The environment's step after a reply: its reward, and what it says as tokens that are not trained. */
async function answer<Row extends PromptRow>(
  environment: Environment<Row>,
  request: RolloutRequest<Row>,
  one: Running<Row>,
  reply: Reply,
  isLast: boolean,
): Promise<void> {
  const { messages, reward, done }: EpisodeStep = await asking(environment, one.row, 'at a reply', () =>
    one.episode.step(reply),
  );
  if (reward !== undefined) {
    if (!Number.isFinite(reward)) throw new EnvironmentError(environment.name, `paid ${reward} for a reply`, one.row);
    one.turnRewards.push({ at: one.tokens.length - 1, reward });
  }
  if (done) {
    one.finishReason = 'stop';
    return;
  }
  const said = isLast ? [] : whatIsSaid(environment, request.model, one, messages);
  if (isLast || said.length >= roomOf(request, one)) {
    one.finishReason = 'length';
    return;
  }
  one.messages.push(...messages);
  one.tokens.push(...said);
  one.mask.push(...said.map(() => 0));
  one.logProbs.push(...said.map(() => 0));
}

/**
 * The tokens between a reply and the next one: what the template writes behind the reply's last sampled token, the new
 * messages, and the header of the next reply.
 */
function whatIsSaid<Row extends PromptRow>(
  environment: Environment<Row>,
  { tokenizer, endTokens }: CausalLM,
  { row, render, messages, tokens, text }: Running<Row>,
  added: readonly ChatMessage[],
): number[] {
  const wrong = (problem: string) => new EnvironmentError(environment.name, problem, row);
  if (added.length === 0) throw wrong('is not done and says nothing; a reply can answer no reply');
  // As it is written again, which calls of tools may be in other spaces: only what stands behind it counts.
  const closed = render(messages, false);
  const open = render([...messages, ...added], true);
  if (!open.startsWith(closed)) {
    throw wrong(
      "cannot go on: the chat template changes earlier messages when there are more, so the reply's tokens would not be those sampled",
    );
  }
  const last = tokens.at(-1)!;
  const isEnded = endTokens.has(last);
  // Behind a stop string, the template's own end of the message is still to come.
  const end = isEnded ? tokenizer.decode([last]) : text;
  const written = isEnded ? closed : render([...messages.slice(0, -1), plainReply(text)], false);
  // What an earlier message ends with is not meant.
  const from = render(messages.slice(0, -1), true).length;
  const found = written.lastIndexOf(end);
  const at = found < from ? -1 : found;
  if (at < 0 && !isEnded) throw wrong('cannot go on: the chat template does not write the reply as it is');
  const tail = at < 0 ? '' : written.slice(at + end.length);
  return tokenizer.encode(tail + open.slice(closed.length), { addSpecialTokens: false });
}

async function rolloutOf<Row extends PromptRow>(
  environment: Environment<Row>,
  one: Running<Row>,
): Promise<SampledRollout<Row>> {
  const { row, group, promptTokens, tokens, mask, logProbs, turnRewards, messages, text, episode } = one;
  const episodeReward = await asking(environment, row, 'when asked for the reward', async () => episode.reward?.());
  return {
    ...{
      group,
      row,
      promptTokens,
      completionTokens: tokens,
      mask,
      samplerLogProbs: logProbs,
      turnRewards,
      messages,
      text,
    },
    finishReason: one.finishReason ?? 'length',
    ...(episodeReward !== undefined && { episodeReward }),
  };
}
