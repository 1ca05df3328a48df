import { assertArgument, type ChatMessage, type Given, integer, options, showValue } from '@posttrain/interfaces';
import { LONGEST_TIMER_MS, withDeadline } from '@posttrain/interfaces/concurrency';
import type { PromptRow } from '../rewards/reward.js';
import { areMessages, type Environment, type EpisodeStep } from '../rollout/environment.js';
import { seedOf } from '../rollout/rollout-source.js';
import { EnvironmentServerError, type ServerConnection } from './server-connection.js';

/** A row of a server: its number there, and what the server says of it. */
export interface ServedRow extends PromptRow {
  readonly index: number;
  readonly answer?: string;
}

/** An environment that runs elsewhere. */
export interface ServedEnvironment extends Environment<ServedRow> {
  /** How many rows the server has. */
  readonly size: number;
  /** Rows from one number up to another, without it. Default: all. */
  rows(from?: number, to?: number): Promise<ServedRow[]>;
  close(): Promise<void>;
}

const servedOptions = options('servedEnvironment', {
  /**
   * Milliseconds for an answer about the server itself, its rows, or the end of an episode, the first of which it may need to start for. What an
   * episode may take is the run's to say. Default 600 000.
   */
  timeoutMs: integer({ default: 600_000, min: 1, max: LONGEST_TIMER_MS, decisive: false }),
});
/** Options of `servedEnvironment`. */
export type ServedEnvironmentOptions = Given<typeof servedOptions>;

const isMessage = (value: unknown): value is ChatMessage => {
  const { role, content } = (value ?? {}) as Partial<ChatMessage>;
  return typeof role === 'string' && typeof content === 'string';
};

/**
 * An environment that a server has, of any language: those of `verifiers` up to 0.3 and the datasets of reasoning-gym by the Python side in
 * `examples/agentic/serve_environment.py`. The protocol is five questions, `{ id, method, params }`, each answered with `{ id, result }` or `{ id, error }`:
 *
 * | method | params | result |
 * | --- | --- | --- |
 * | `describe` | | `{ name, size }` |
 * | `rows` | `{ from, to }` | `{ rows: [{ index, prompt, answer? }] }` |
 * | `start` | `{ index, seed }` | `{ episode, messages, tools? }` |
 * | `step` | `{ episode, reply }` | `{ messages, reward?, done }` |
 * | `close` | `{ episode }` | `{}` |
 *
 * An episode is a function of its row and seed as far as the server makes it one.
 *
 * @throws OptionError; EnvironmentServerError where the server dies, is too slow, or answers what is not of the protocol
 */
export async function servedEnvironment(
  connection: ServerConnection,
  given: ServedEnvironmentOptions = {},
): Promise<ServedEnvironment> {
  const { timeoutMs } = servedOptions.read(given);
  const isConnection = typeof (connection as Partial<ServerConnection> | null)?.ask === 'function';
  assertArgument(
    'servedEnvironment',
    'connection',
    connection,
    isConnection,
    'processConnection([…]) or httpConnection(url)',
  );
  let last = 0;
  const ask = async (method: string, params: Readonly<Record<string, unknown>>, signal?: AbortSignal) => {
    const { result, error } = await connection.ask({ id: ++last, method, params }, signal);
    if (error !== undefined && error !== null) {
      const said: unknown = error;
      throw new EnvironmentServerError(`${method} failed: ${typeof said === 'string' ? said : JSON.stringify(said)}`);
    }
    return (result ?? {}) as Readonly<Record<string, unknown>>;
  };
  /** Where no run waits with a time of its own. */
  const askInTime: typeof ask = (method, params) =>
    withDeadline((signal) => ask(method, params, signal), {
      timeoutMs,
      timeoutError: () => new EnvironmentServerError(`${method} was not answered within ${timeoutMs} ms (timeoutMs)`),
    });
  const wrong = (method: string, name: string, value: unknown, expects: string) =>
    new EnvironmentServerError(`${method} answered ${showValue(value)} for ${name}; it must be ${expects}`);
  const messagesOf = (method: string, value: unknown): readonly ChatMessage[] => {
    if (Array.isArray(value) && value.every(isMessage)) return value;
    throw wrong(method, 'messages', value, 'a list of messages with a role and a content');
  };

  const { name, size } = await askInTime('describe', {});
  if (typeof name !== 'string') throw wrong('describe', 'name', name, 'a text');
  if (!Number.isSafeInteger(size) || (size as number) < 0)
    throw wrong('describe', 'size', size, 'how many rows there are');
  return {
    name,
    size: size as number,
    settings: { server: name, size: size as number },
    async rows(from = 0, to = size as number) {
      const { rows } = await askInTime('rows', { from, to });
      const isRow = (row: unknown): row is ServedRow => {
        const { index, prompt } = (row ?? {}) as Partial<ServedRow>;
        return Number.isSafeInteger(index) && (typeof prompt === 'string' || areMessages(prompt));
      };
      if (!Array.isArray(rows) || !rows.every(isRow)) throw wrong('rows', 'rows', rows, 'a list of { index, prompt }');
      const most = Math.max(0, Math.min(to, size as number) - Math.max(0, from));
      const { length } = rows;
      if (length === most && new Set(rows.map(({ index }) => index)).size === length) return rows;
      throw wrong(
        'rows',
        'rows',
        rows.map(({ index }) => index),
        `${most} rows, from ${from} up to ${to}, each once`,
      );
    },
    async start({ index }, { key, signal }) {
      const { episode, messages, tools } = await ask('start', { index, seed: seedOf(key) % 2 ** 31 }, signal);
      if (episode === undefined || episode === null)
        throw wrong('start', 'episode', episode, 'what names it in later questions');
      if (tools !== undefined && tools !== null && !Array.isArray(tools))
        throw wrong('start', 'tools', tools, 'a list of functions');
      return {
        messages: messagesOf('start', messages),
        ...(Array.isArray(tools) && { tools }),
        async step(reply): Promise<EpisodeStep> {
          const { messages: said, reward, done } = await ask('step', { episode, reply }, signal);
          if (typeof done !== 'boolean') throw wrong('step', 'done', done, 'true or false');
          if (reward !== undefined && reward !== null && !Number.isFinite(reward))
            throw wrong('step', 'reward', reward, 'a number');
          const isPaid = typeof reward === 'number';
          return { messages: messagesOf('step', said ?? []), ...(isPaid && { reward }), done };
        },
        close: async () => void (await askInTime('close', { episode })),
      };
    },
    close: () => connection.close(),
  };
}
