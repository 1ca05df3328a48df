import assert from 'node:assert/strict';
import { Key } from '@posttrain/core-tensor';
import type { PromptRow } from '../rewards/reward.js';
import type { Environment, Episode, Reply } from '../rollout/environment.js';

/** Options of `testEnvironment`. */
export interface TestEnvironmentOptions<Row extends PromptRow> {
  readonly rows: readonly Row[];
  /** What an assistant says, reply by reply, again and again: texts, or messages with tool calls. Default: a few digits and words. */
  readonly replies?: readonly (string | Reply)[];
  /** Most replies of an episode. Default 8. */
  readonly maxTurns?: number;
}

const SOME_REPLIES = ['0', 'What do you mean?', '', '1\n2'];

const replyOf = (given: string | Reply): Reply =>
  typeof given === 'string' ? { role: 'assistant', content: given } : given;

/** All that an episode said and paid. */
interface Transcript {
  readonly started: unknown;
  readonly steps: unknown[];
  end?: unknown;
}

/**
 * Registers the checks that every environment must pass, with the test function of any framework:
 * `testEnvironment(it, () => calculator, { rows, replies: ['=', '3'] })`.
 *
 * - an episode begins with messages, answers a reply with messages or is done, and pays finite numbers;
 * - it is a function of row, key and replies: alone, in a new environment, and between the turns of another episode;
 * - it may be closed at any time.
 */
export function testEnvironment<Row extends PromptRow = PromptRow>(
  it: (name: string, body: () => Promise<void>) => void,
  make: () => Environment<Row>,
  { rows, replies = SOME_REPLIES, maxTurns = 8 }: TestEnvironmentOptions<Row>,
): void {
  const { name } = make();
  const check = (what: string, body: () => Promise<void>) => it(`the environment ${name} ${what}`, body);
  const startOf = (environment: Environment<Row>, row: Row, sample: number, seed = 1) =>
    environment.start(row, { sample, step: 0, key: Key.fromSeed(seed).child(sample) });
  /** One turn; whether it goes on. */
  const turn = async (episode: Episode, transcript: Transcript, offset: number): Promise<boolean> => {
    const at = transcript.steps.length;
    const answer = await episode.step(replyOf(replies[(offset + at) % replies.length]!));
    assert.equal(typeof answer.done, 'boolean', 'a step says whether the episode is done');
    assert.ok(Array.isArray(answer.messages), 'a step has messages');
    if (!answer.done) assert.ok(answer.messages.length > 0, 'a step that is not the last says something');
    for (const message of answer.messages) assertMessage(message);
    if (answer.reward !== undefined) assert.ok(Number.isFinite(answer.reward), `the reward ${answer.reward}`);
    transcript.steps.push(copyOf(answer));
    return !answer.done && transcript.steps.length < maxTurns;
  };
  const finish = async (episode: Episode, transcript: Transcript) => {
    const reward = await episode.reward?.();
    if (reward !== undefined && reward !== null) assert.ok(Number.isFinite(reward), `the reward ${reward}`);
    await episode.close?.();
    return { ...transcript, end: reward };
  };
  const play = async (environment: Environment<Row>, row: Row, sample: number): Promise<Transcript> => {
    const episode = await startOf(environment, row, sample);
    const transcript = { started: copyOf([episode.messages, episode.tools]), steps: [] };
    while (await turn(episode, transcript, sample));
    return finish(episode, transcript);
  };

  check('begins with messages, answers replies and pays numbers', async () => {
    const environment = make();
    const { settings = {} } = environment;
    assert.deepEqual(JSON.parse(JSON.stringify(settings)), settings, 'settings are JSON');
    for (const row of rows) {
      const episode = await startOf(environment, row, 0);
      assert.ok(episode.messages.length > 0, 'an episode begins with messages');
      for (const message of episode.messages) assertMessage(message);
      await episode.close?.();
      await play(environment, row, 0);
    }
  });

  check('is a function of row, key and replies', async () => {
    const shared = make();
    for (const row of rows) {
      const once = await play(shared, row, 1);
      assert.deepEqual(await play(shared, row, 1), once, 'the same again');
      assert.deepEqual(await play(make(), row, 1), once, 'in a new environment');
    }
  });

  check('keeps episodes apart', async () => {
    const environment = make();
    const places = rows.flatMap((row) => [0, 1].map((sample) => ({ row, sample })));
    const alone: Transcript[] = [];
    for (const { row, sample } of places) alone.push(await play(make(), row, sample));
    const open = [];
    for (const { row, sample } of places) {
      const episode = await startOf(environment, row, sample);
      const transcript = { started: copyOf([episode.messages, episode.tools]), steps: [] };
      open.push({ episode, transcript, sample, goesOn: true });
    }
    while (open.some(({ goesOn }) => goesOn)) {
      for (const one of open) one.goesOn &&= await turn(one.episode, one.transcript, one.sample);
    }
    const together: Transcript[] = [];
    for (const { episode, transcript } of open) together.push(await finish(episode, transcript));
    assert.deepEqual(together, alone);
  });
}

const copyOf = <T>(value: T): T => structuredClone(value);

function assertMessage(message: { readonly role?: unknown; readonly content?: unknown }): void {
  assert.equal(typeof message.role, 'string', 'a message has a role');
  assert.equal(typeof message.content, 'string', 'a message has a content');
}
