import {
  addSettings,
  type ChatMessage,
  custom,
  type DecisiveSettings,
  type Given,
  integer,
  OptionError,
  options,
  settingsOf,
  showValue,
} from '@posttrain/interfaces';
import { chatOptionsOf, NoChatTemplateError } from '@posttrain/lm';
import type { PromptRow } from '../rewards/reward.js';
import { alike, type SampledRollout } from '../rollout.js';
import { areMessages, EnvironmentError, type EpisodeContext, type Reply } from './environment.js';
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

const multiAgentOptions = options('multiAgent', {
  /** Most turns of an episode, those of all roles. Default 8. */
  maxTurns: integer({ default: 8, min: 1 }),
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
  readonly episode: MultiAgentEpisode;
  readonly rollouts: SampledRollout<Row>[];
}

/**
 * Episodes of several roles, each played by a policy of the run: every turn is a rollout of its own, with the `role`, the `policy` that
 * sampled it, and as `episodeReward` what the episode was worth to that role. Rollouts of a row are one group; a run compares those
 * of one policy. What is to be said next is sampled together for all episodes in which it is one policy's turn.
 *
 * @throws OptionError for a role without a policy; EnvironmentError for a turn of no role, or what an episode is worth that is no number; NoChatTemplateError
 */
export function multiAgent<Row extends PromptRow = PromptRow>(
  environment: MultiAgentEnvironment<Row>,
  given: MultiAgentOptions = {},
): RolloutSource<Row> {
  const { maxTurns, policies: chosen } = multiAgentOptions.read(given);
  const settings: Record<string, DecisiveSettings[string]> = { ...multiAgentOptions.settings(given) };
  addSettings(settings, 'environment', settingsOf(environment));
  return {
    name: 'multi-agent',
    settings,
    async sample(request) {
      const { model, policies = {}, rows, completionsPerPrompt, key, step, signal } = request;
      const { chatTemplate } = model;
      if (!chatTemplate) throw new NoChatTemplateError(model.name);
      const policyOf = (role: string): string => chosen[role] ?? role;
      const missing = environment.roles.find((role) => !(policyOf(role) in policies));
      if (missing !== undefined) {
        const there = Object.keys(policies).join(', ') || 'none';
        const problem = `the role ${missing} is played by ${policyOf(missing)}, and the policies of the run are: ${there}.`;
        throw new OptionError('INVALID_OPTION', 'multiAgent', 'policies', problem);
      }
      const running: Running<Row>[] = [];
      let lists: SampledRollout<Row>[][];
      try {
        for (const [place, row] of rows.entries()) {
          for (let sample = 0; sample < completionsPerPrompt; sample++) {
            const context = { sample, step, key: key.child(place).child(sample), signal };
            running.push({ place, sample, row, episode: await environment.start(row, context), rollouts: [] });
          }
        }
        let active = running;
        for (let turn = 0; turn < maxTurns && active.length > 0; turn++) {
          signal?.throwIfAborted();
          const turns = await Promise.all(active.map(async (one) => ({ one, next: await one.episode.next() })));
          const open = turns.flatMap(({ one, next }) => {
            if (!next) return [];
            const wrong = (problem: string) => new EnvironmentError(environment.name, problem, one.row);
            const { role, messages } = next;
            if (!environment.roles.includes(role))
              throw wrong(`gave a turn to ${showValue(role)}, and its roles are: ${environment.roles.join(', ')}`);
            if (!areMessages(messages)) throw wrong(`tells ${role} ${showValue(messages)}; it must be messages`);
            return [{ one, role, messages, policy: policyOf(role) }];
          });
          for (const together of alike(open, ({ policy }) => policy)) {
            const prompts = together.map(({ one, messages }) =>
              chatTemplate.renderChat(messages, { ...chatOptionsOf(one.row), addGenerationPrompt: true }),
            );
            const generator = generatorOf({ ...request, adapter: policies[together[0]!.policy]! });
            const replies = await generator.generate(
              together.map(({ one }, i) => ({
                ...request.sampling,
                prompt: { tokenIds: prompts[i]!.tokenIds, continuesText: false },
                ...{ logProbs: true, seed: seedOf(turnKey(request, one, turn)), ...(signal && { signal }) },
              })),
            );
            signal?.throwIfAborted();
            await Promise.all(
              together.map(async ({ one, role, policy, messages }, i) => {
                const [{ text, tokenIds, logProbs, finishReason }] = replies[i] as [(typeof replies)[number][number]];
                const reply: Reply = { role: 'assistant', content: text };
                one.rollouts.push({
                  ...{ group: request.firstGroup + one.place, row: one.row, role, policy, text, finishReason },
                  ...{ promptTokens: prompts[i]!.tokenIds, completionTokens: tokenIds!, samplerLogProbs: logProbs! },
                  messages: [...messages, reply],
                });
                await one.episode.take(role, reply);
              }),
            );
          }
          active = open.map(({ one }) => one);
        }
        lists = await Promise.all(
          running.map(async ({ episode, rollouts, row }) => {
            const rewards = await episode.rewards();
            return rollouts.map((rollout) => {
              const episodeReward = rewards?.[rollout.role!] ?? null;
              if (episodeReward === null || Number.isFinite(episodeReward)) return { ...rollout, episodeReward };
              const problem = `was worth ${showValue(episodeReward)} to ${rollout.role}; it must be a number, or null`;
              throw new EnvironmentError(environment.name, problem, row);
            });
          }),
        );
      } catch (error) {
        // What failed first is what is said.
        await closeAll(running);
        throw error;
      }
      const left = (await closeAll(running)).find(({ status }) => status === 'rejected');
      if (left) throw (left as PromiseRejectedResult).reason;
      return lists.flat();
    },
  };
}

/** Each is closed, whatever another one's close does. */
const closeAll = (running: readonly { readonly episode: MultiAgentEpisode }[]) =>
  Promise.allSettled(running.map(async ({ episode }) => episode.close?.()));

const turnKey = <Row extends PromptRow>(
  { key, rows }: RolloutRequest<Row>,
  { place, sample }: Running<Row>,
  turn: number,
) =>
  key
    .child(rows.length + place)
    .child(sample)
    .child(turn);
