import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Key } from '@posttrain/core-tensor';
import type { ChatMessage, Generator } from '@posttrain/interfaces';
import {
  CausalLM,
  ChatTemplate,
  NO_ADAPTER,
  parseModelConfig,
  sequenceLogProbs,
  Tokenizer,
  ValueModel,
} from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { sft } from '@posttrain/training';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  type AgentTurn,
  agreements,
  answerValue,
  critiqueValue,
  type DebateOptions,
  debate,
  type Environment,
  environmentReward,
  type MaltTree,
  type MultiAgentEnvironment,
  type MultiAgentOptions,
  type MultiTurnOptions,
  maltRows,
  maltTree,
  multiAgent,
  multiTurn,
  type PoliciesTrainingOptions,
  type PromptRow,
  policyObjective,
  policyObjectives,
  type RolloutRequest,
  reconcileTurns,
  rollOut,
  type SampledRollout,
  type StopReason,
  toolEnvironment,
  trainPolicies,
  trainPolicy,
  valueModelCritic,
} from '../src/index.js';
import { calculator, chatModel, sums } from './calculator.js';
import { goldenFolder, readGolden } from './goldens.js';
import { counting, parseCalls, requestOf, scriptSampler } from './scripted-replies.js';
import { toyModel } from './toy.js';

const request = async (options: Partial<RolloutRequest> = {}): Promise<RolloutRequest> => {
  const model = options.model ?? (await chatModel(1));
  return {
    ...{ model, adapter: NO_ADAPTER, sampling: { maxTokens: 16 }, maxBatch: 64, packWeights: 'at-once', step: 0 },
    ...{ key: Key.fromSeed(1), rows: sums, prompts: sums.map(() => []), completionsPerPrompt: 20, firstGroup: 4 },
    ...options,
  };
};

/** An environment that never ends by itself. */
const echo: Environment<PromptRow> = {
  name: 'echo',
  start: () => ({
    messages: [{ role: 'user', content: '1' }],
    step: ({ content }) => ({ messages: [{ role: 'tool', content: `+${content.slice(0, 1)}` }], done: false }),
  }),
};

const roll = async (environment = echo, options: MultiTurnOptions = {}, of: Partial<RolloutRequest> = {}) =>
  multiTurn(environment, options).sample(await request(of));

it('has the tokens that the template gives the conversation, of which the sampled ones are trained', async () => {
  const model = await chatModel(1);
  const rollouts = await roll(echo, { maxTurns: 3 }, { model });
  expect(rollouts).toHaveLength(60);
  expect(rollouts.filter(({ messages }) => messages!.length > 3).length).toBeGreaterThan(1);
  for (const { promptTokens, completionTokens, mask, messages, finishReason } of rollouts) {
    const all = [...promptTokens, ...completionTokens];
    const { tokenIds, assistantMask } = model.chatTemplate!.renderChat(messages!, { assistantMask: true });
    const isWhole = completionTokens.at(-1) === 9;
    // A reply that was cut off has no end token, which the template would write.
    const count = isWhole ? all.length : all.length - 1;
    expect(all.slice(0, count)).toEqual(tokenIds.slice(0, count));
    expect([...promptTokens.map(() => 0), ...Array.from(mask!)].slice(0, count)).toEqual(
      assistantMask!.slice(0, count),
    );
    expect(finishReason).toBe('length');
  }
});

it('has the log-probabilities of the sampled tokens, and trains no other', async () => {
  const model = await chatModel(1);
  const rollouts = await roll(echo, { maxTurns: 3 }, { model });
  const scored = await sequenceLogProbs(
    model,
    rollouts.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]),
  );
  const { rows } = policyObjective(policyObjectives.grpo()).annotate(
    rollouts.map((rollout) => ({ ...rollout, reward: rollout.text.length, oldLogProbs: rollout.samplerLogProbs })),
    { maxCompletionLength: 16 },
  );
  rollouts.forEach(({ promptTokens, mask, samplerLogProbs }, i) => {
    const logProbs = scored[i]!.logProbs.subarray(promptTokens.length - 1);
    Array.from(mask!).forEach((isTrained, t) => {
      if (isTrained) expect(Math.abs(samplerLogProbs[t]! - logProbs[t]!)).toBeLessThan(1e-4);
      const { weights, annotations } = rows[i]!;
      expect(weights[promptTokens.length - 1 + t]! > 0).toBe(isTrained === 1);
      if (!isTrained) expect(annotations!.advantages![promptTokens.length - 1 + t]).toBe(0);
    });
  });
});

it('is a function of its key, however many are decoded together', async () => {
  const tokens = async (of: Partial<RolloutRequest>) =>
    (await roll(calculator, {}, of)).map(({ completionTokens }) => completionTokens);
  const once = await tokens({});
  expect(await tokens({ maxBatch: 7 })).toEqual(once);
  expect(await tokens({ key: Key.fromSeed(2) })).not.toEqual(once);
});

it('keeps rewards with the last token of the turn that earned them', async () => {
  const rollouts = await roll(calculator, { maxTurns: 4 });
  const called = rollouts.filter(({ turnRewards }) => turnRewards!.length === 2);
  expect(called.length).toBeGreaterThan(0);
  for (const { turnRewards, completionTokens, mask, group } of called) {
    expect(group).toBeGreaterThanOrEqual(4);
    expect(completionTokens[turnRewards![0]!.at]).toBe(9);
    expect(mask![turnRewards![0]!.at + 1]).toBe(0);
    expect(turnRewards![1]!.at).toBe(completionTokens.length - 1);
    expect(turnRewards![0]!.reward).toBe(0.5);
  }
});

it.each([
  ['maxTurns', { maxTurns: 1 }, {}, 2],
  ['maxCompletionLength', {}, { sampling: { maxTokens: 4 } }, 4],
] as const)('ends at %s', async (_, options, of, most) => {
  for (const { finishReason, completionTokens, messages } of await roll(echo, options, of)) {
    expect(finishReason).toBe('length');
    if (_ === 'maxTurns') expect(messages!.length).toBe(most);
    else expect(completionTokens.length).toBeLessThanOrEqual(most);
  }
});

it('learns to call a calculator and to say what it said', async () => {
  const { history } = await trainPolicy({
    model: await chatModel(4),
    rows: sums,
    rollouts: multiTurn(calculator, { maxTurns: 2, maxTurnTokens: 3 }),
    rewards: { environment: environmentReward() },
    objective: policyObjectives.grpo({ entropyCoef: 0.05 }),
    ...{ steps: 60, promptsPerStep: 3, completionsPerPrompt: 32, maxCompletionLength: 12 },
    ...{ learningRate: 0.01, schedule: 'constant', seed: 1 },
  });
  const rewards = history.map(({ metrics }) => metrics.reward!);
  expect(rewards[0]).toBeLessThan(0.2);
  // Who calls it and always says the same digit has 0.5 + 0.5 / 3 + 0.1 · 2 / 3.
  expect(rewards.at(-1)).toBeGreaterThan(0.85);
});

it('closes every episode, and says where an environment failed', async () => {
  let [opened, closed] = [0, 0];
  const broken: Environment<PromptRow> = {
    name: 'broken',
    start: (row, context) => {
      opened++;
      return {
        ...(calculator.start(row, context) as ReturnType<typeof calculator.start> & object),
        step: () => {
          throw new Error('no batteries');
        },
        close: () => {
          closed++;
        },
      } as never;
    },
  };
  await expect(roll(broken)).rejects.toThrow(/environment "broken" threw at a reply: no batteries \(prompt ".*0\+0/);
  expect([opened, closed]).toEqual([60, 60]);
});

const saying = (messages: readonly { role: string; content: string }[], reward?: number): Environment<PromptRow> => ({
  name: 'strange',
  start: () => ({
    messages: [{ role: 'user', content: '1' }],
    step: () => ({ messages, done: false, ...(reward !== undefined && { reward }) }),
  }),
});

const answering = (answer: unknown): Environment<PromptRow> => ({
  name: 'strange',
  start: () => ({ messages: [{ role: 'user', content: '1' }], step: () => answer as never }),
});

it.each([
  ['silence', saying([]), undefined, /"strange" is not done and says nothing/],
  ['a reward that is no number', saying([], Number.NaN), undefined, /"strange" paid NaN for a reply/],
  ['an answer that is none', answering(undefined), undefined, /"strange" answered undefined to a reply; it must be/],
  [
    'an answer without messages',
    answering({ done: false }),
    undefined,
    /"strange" answered an object with done to a re/,
  ],
  ['an answer that does not say done', answering({ messages: [] }), undefined, /answered an object with messages to/],
  ['messages that are none', saying([null as never]), undefined, /"strange" answered an object with messages, done/],
  [
    'an episode that is none',
    { name: 'strange', start: () => null as never },
    undefined,
    /"strange" started null; an ep/,
  ],
  [
    'an episode that begins with a text',
    { name: 'strange', start: () => ({ messages: 'hi' as never, step: () => ({ messages: [], done: true }) }) },
    undefined,
    /"strange" began with "hi" for messages/,
  ],
  [
    'a template that forgets',
    echo,
    '{% if messages | length > 2 %}n{% else %}u{{ messages[0].content }}{% endif %}{% if add_generation_prompt %}A{% endif %}',
    /the chat template changes earlier messages/,
  ],
] as const)('refuses %s', async (_, environment, template, message) => {
  await expect(roll(environment, {}, { model: await chatModel(1, template) })).rejects.toThrow(message);
});

it('refuses a model without a chat template', async () => {
  await expect(roll(echo, {}, { model: await toyModel(1) })).rejects.toThrow(/has no chat template/);
});

interface ToolCase {
  readonly name: string;
  readonly messages: readonly ChatMessage[];
  readonly prompt_ids: readonly number[];
  readonly ids: readonly number[];
}

it("calls tools in the form of the model's family, and goes on with transformers' tokens of what they say", async () => {
  const { tools, cases } = readGolden<{ tools: { function: { parameters: object } }[]; cases: ToolCase[] }>(
    'tools.json',
  );
  const folder = join(goldenFolder, 'tokenizers/byte-level-bpe');
  const tokenizer = await Tokenizer.load(folder);
  const config = parseModelConfig({
    ...{ model_type: 'llama', vocab_size: 1024, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1 },
    ...{ num_attention_heads: 2, max_position_embeddings: 512, eos_token_id: tokenizer.encode('<|im_end|>').at(-1)! },
  });
  const chatTemplate = (await ChatTemplate.load(tokenizer))!;
  const base = await CausalLM.initialize({ config, tokenizer, chatTemplate, name: 'caller' }, 1);
  // It learns by heart what it is to say.
  const { trainer } = await sft({
    ...{ model: base, steps: 120, batchSize: 2, learningRate: 0.02, schedule: 'cosine' as const },
    rows: cases.map(({ messages: [question, ...answers] }) => ({ tools, prompt: [question!], completion: answers })),
  });
  const { description, parameters } = tools[0]!.function as never;
  const asked: unknown[] = [];
  const environment = toolEnvironment('adding', {
    add: {
      ...{ description, parameters },
      call(given) {
        asked.push(given);
        return String(Number(given.a) + Number(given.b));
      },
    },
  });
  const rollouts = await multiTurn(environment, { maxTurns: 3 }).sample(
    await request({
      ...{ model: trainer.model, rows: cases.map(({ messages: [question] }) => ({ prompt: [question!] })) },
      ...{ prompts: cases.map(() => []), completionsPerPrompt: 1, sampling: { maxTokens: 200, temperature: 0 } },
    }),
  );
  expect(asked).toEqual([
    { a: 2, b: 3 },
    { a: 12, b: 30 },
  ]);
  cases.forEach(({ messages, prompt_ids, ids }, i) => {
    const { promptTokens, completionTokens, mask, messages: said, text } = rollouts[i]!;
    expect(promptTokens).toEqual(prompt_ids);
    // Behind the last end token the template has a line break, which nobody has said.
    expect([...promptTokens, ...completionTokens]).toEqual(ids.slice(0, promptTokens.length + completionTokens.length));
    expect(ids.length - promptTokens.length - completionTokens.length).toBeLessThan(2);
    expect(text).toBe(messages.at(-1)!.content);
    expect(said!.map(({ role }) => role)).toEqual(messages.map(({ role }) => role));
    expect(said![1]!.tool_calls).toHaveLength(1);
    const untrained = completionTokens.filter((_, t) => mask![t] === 0);
    expect(tokenizer.decode(untrained)).toContain(`<tool_response>\n${messages[2]!.content}\n</tool_response>`);
    expect(tokenizer.decode(untrained)).not.toContain('tool_call>');
  });
});

it('tells an assistant what went wrong with a tool', async () => {
  const environment = toolEnvironment('broken', {
    divide: {
      ...{ description: 'Divides.', parameters: { type: 'object' } },
      call: () => {
        throw new Error('no batteries');
      },
    },
    count: { description: 'Counts.', parameters: { type: 'object' }, call: () => 3 as never },
  });
  const episode = await environment.start({ prompt: '1 / 2?' }, {} as never);
  const call = (name: string, id: string) => ({ id, type: 'function' as const, function: { name, arguments: {} } });
  const tool_calls = [call('divide', 'a'), call('multiply', 'b'), call('constructor', 'c'), call('count', 'd')];
  expect(await episode.step({ role: 'assistant', content: '', tool_calls })).toEqual({
    messages: [
      { role: 'tool', name: 'divide', content: 'error: no batteries', tool_call_id: 'a' },
      { role: 'tool', name: 'multiply', content: 'error: there is no function multiply', tool_call_id: 'b' },
      // What every object inherits would be called with the row, its answer in it.
      { role: 'tool', name: 'constructor', content: 'error: there is no function constructor', tool_call_id: 'c' },
      { role: 'tool', name: 'count', content: 'error: count gave 3, which is no text', tool_call_id: 'd' },
    ],
    done: false,
  });
  expect(await episode.step({ role: 'assistant', content: '0.5' })).toEqual({ messages: [], done: true });
});

/** The proposer says something, worth what it has of 2s; the critic is to say it again. */
const echoes: MultiAgentEnvironment<PromptRow> = {
  ...{ name: 'echoes', settings: {}, roles: ['proposer', 'critic'] },
  start({ prompt }) {
    const said: Record<string, string> = {};
    return {
      next() {
        if (said.proposer === undefined) return { role: 'proposer', messages: prompt as readonly ChatMessage[] };
        const messages = [{ role: 'user', content: said.proposer.slice(0, 1) }];
        return said.critic === undefined ? { role: 'critic', messages } : undefined;
      },
      take(role, { content }) {
        said[role] = content;
      },
      rewards: () => ({
        proposer: said.proposer!.startsWith('2') ? 1 : 0,
        ...(said.critic !== undefined && { critic: said.critic[0] === said.proposer![0] ? 1 : 0 }),
      }),
    };
  },
};

/** Rollouts of equally long episodes of one row, by episode. */
const groupedBySample = (rollouts: readonly SampledRollout[], episodes: number): SampledRollout[][] => {
  const byEpisode: SampledRollout[][] = [];
  for (const one of rollouts) {
    // The first turn of an episode reads the shortest conversation.
    const isFirst = byEpisode.length === 0 || one.promptTokens.length <= byEpisode.at(-1)!.at(-1)!.promptTokens.length;
    if (isFirst) byEpisode.push([one]);
    else byEpisode.at(-1)!.push(one);
  }
  expect(byEpisode).toHaveLength(episodes);
  return byEpisode;
};

describe('several policies in one run', () => {
  const start = async (options: Partial<PoliciesTrainingOptions<PromptRow>> = {}) => {
    const model = await chatModel(4);
    const adapterOf = (seed: number) => createAdapter(model, lora, { r: 4, targetModules: 'all-linear' }, { seed });
    const objective = policyObjectives.grpo({ beta: 0.01 });
    return trainPolicies<PromptRow>({
      model,
      policies: {
        proposer: { adapter: await adapterOf(1), objective },
        critic: { adapter: await adapterOf(2), objective: policyObjectives.reinforce({ baseline: 'batch-mean' }) },
      },
      rows: sums,
      rollouts: multiAgent(echoes),
      rewards: { environment: environmentReward() },
      ...{ steps: 4, promptsPerStep: 2, completionsPerPrompt: 8, maxCompletionLength: 3, learningRate: 0.03, seed: 3 },
      schedule: 'constant',
      ...options,
    });
  };
  const numbersOf = async (trainers: Awaited<ReturnType<typeof start>>['trainers']) =>
    Promise.all(
      Object.entries(trainers).map(async ([name, { parameters }]) => [
        name,
        await Promise.all(Object.values(parameters).map((x) => x.toArray())),
      ]),
    );

  it('samples every turn with the policy that plays it, and says what it was worth to its role', async () => {
    const model = await chatModel(4);
    const loud = await createAdapter(model, lora, { r: 4, initLoraWeights: false }, { seed: 5 });
    const asked = await request({ model, completionsPerPrompt: 4, policies: { proposer: NO_ADAPTER, critic: loud } });
    const rollouts = await multiAgent(echoes).sample(asked);
    expect(rollouts).toHaveLength(2 * 3 * 4);
    for (const role of ['proposer', 'critic']) {
      const own = rollouts.filter((rollout) => rollout.role === role);
      expect(own).toHaveLength(12);
      const sequences = own.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
      const scored = await sequenceLogProbs(model, sequences, { adapter: role === 'critic' ? loud : NO_ADAPTER });
      own.forEach(({ policy, group, row, promptTokens, samplerLogProbs, messages, episodeReward }, i) => {
        expect([policy, sums[group - 4]]).toEqual([role, row]);
        expect(messages!.at(-1)!.role).toBe('assistant');
        expect([0, 1]).toContain(episodeReward);
        const wanted = scored[i]!.logProbs.subarray(promptTokens.length - 1);
        for (let t = 0; t < wanted.length; t++) expect(Math.abs(samplerLogProbs[t]! - wanted[t]!)).toBeLessThan(1e-4);
      });
    }
    await expect(multiAgent(echoes, { policies: { critic: 'nobody' } }).sample(asked)).rejects.toThrow(
      /the role critic is played by nobody, and the policies of the run are: proposer, critic/,
    );
    const changed = (change: object) => ({
      ...echoes,
      start: (...of: Parameters<typeof echoes.start>) => ({ ...(echoes.start(...of) as object), ...change }) as never,
    });
    let closed = 0;
    const close = () => {
      closed++;
      throw new Error('cannot close');
    };
    for (const [change, problem] of [
      [
        { next: () => ({ role: 'judge', messages: [] }) },
        /"echoes" gave a turn to "judge", and its roles are: proposer, c/,
      ],
      [{ next: () => ({ role: 'critic' }) }, /"echoes" tells critic undefined; it must be messages/],
      [{ rewards: () => ({ proposer: Number.NaN }) }, /"echoes" was worth NaN to proposer; it must be a number/],
      [{ rewards: () => ({ proposer: '1' }) }, /"echoes" was worth "1" to proposer/],
      [{ take: () => Promise.reject(new Error('what came first')), close }, /what came first/],
      [{ close }, /cannot close/],
    ] as const) {
      await expect(multiAgent(changed(change)).sample(asked)).rejects.toThrow(problem);
    }
    expect(closed).toBe(2 * 3 * 4);
    const selfPlay = await multiAgent(echoes, { policies: { critic: 'proposer' } }).sample(asked);
    expect(new Set(selfPlay.map(({ policy }) => policy))).toEqual(new Set(['proposer']));
  });

  /** Ten turns of one role, or as many as a limit lets it have; `part` is what of it goes wrong in the first episode. */
  const long = (part: object = {}, closed: string[] = []): MultiAgentEnvironment<PromptRow> => {
    let begun = 0;
    return {
      ...{ name: 'long', settings: {}, roles: ['proposer'] },
      start() {
        const isFirst = begun++ === 0;
        if (isFirst && 'start' in part) return (part as { start: () => never }).start();
        let turns = 0;
        const messages = () => [{ role: 'user', content: '1'.repeat(1 + turns) }];
        return {
          next: () => (turns === 10 ? undefined : { role: 'proposer', messages: messages() }),
          take: () => void turns++,
          rewards: () => ({ proposer: 1 }),
          close: () => void closed.push('close'),
          ...(isFirst && part),
        };
      },
    };
  };
  const longRequest = async (of: Partial<RolloutRequest> = {}) =>
    request({
      completionsPerPrompt: 3,
      policies: { proposer: NO_ADAPTER },
      rows: sums.slice(0, 1),
      prompts: [[]],
      ...of,
    });

  it.each<[StopReason, MultiAgentOptions, number]>([
    ['completed', { maxTurns: 10 }, 10],
    ['max_turns', { maxTurns: 4 }, 4],
    ['max_turns', {}, 8],
  ])('an episode of several ends for %s with %o', async (reason, options, turns) => {
    const rollouts = await multiAgent(long(), options).sample(await longRequest());
    expect(rollouts).toHaveLength(3 * turns);
    for (const one of rollouts) expect([one.stopReason, one.episodeReward]).toEqual([reason, 1]);
  });

  it('an episode of several ends where its tokens, its time or the context are used up, and says what that is worth', async () => {
    const asked = await longRequest();
    const capped = await multiAgent(long(), { maxTurns: 10, maxSampledTokens: 7, onLimit: 'mask' }).sample(asked);
    for (const own of groupedBySample(capped, 3)) {
      const tokens = own.reduce((sum, { completionTokens }) => sum + completionTokens.length, 0);
      expect(tokens).toBe(7);
      for (const { stopReason, mask } of own) {
        expect(stopReason).toBe('max_sampled_tokens');
        expect(Array.from(mask!)).not.toContain(1);
      }
    }
    const short = await multiAgent(long(), { maxTurns: 10, maxTurnTokens: 1, onLimit: 'zero' }).sample(asked);
    for (const { completionTokens, rewardAtMost } of short) {
      expect(completionTokens).toHaveLength(1);
      expect(rewardAtMost).toBeUndefined();
    }
    // Of an episode that has no turn there is no rollout.
    const turn = (content: string) => ({ role: 'proposer', messages: [{ role: 'user', content }] });
    const slow = { next: () => new Promise((resolve) => setTimeout(() => resolve(turn('1')), 15)) };
    const full = { next: () => turn('1'.repeat(asked.model.config.maxPositionEmbeddings)) };
    for (const [part, options] of [
      [slow, { rolloutTimeoutMs: 10 }],
      [full, {}],
    ] as const) {
      const alone = await longRequest({ completionsPerPrompt: 1 });
      expect(await multiAgent(long(part), options).sample(alone)).toEqual([]);
    }
  });

  const died = () => {
    throw new Error('no batteries');
  };
  it.each<[string, object, RegExp]>([
    ['dies at the start', { start: died }, /"long" threw at the start: no batteries/],
    ['dies when it is asked', { next: died }, /"long" threw when asked whose turn it is: no batteries/],
    ['dies in a turn', { take: died }, /"long" threw at a reply: no batteries/],
    ['never answers', { take: () => new Promise(() => {}) }, /"long" gave no answer at a reply within 20 ms/],
    [
      'gives the turn to nobody',
      { next: () => ({ role: 'x', messages: [] }) },
      /gave a turn to "x", and its roles are/,
    ],
    ['is worth no number', { rewards: () => ({ proposer: Number.NaN }) }, /was worth NaN to proposer/],
    ['dies when graded', { rewards: died }, /threw when asked for the rewards: no batteries/],
  ])('a world of several that %s is named, or counted and left out', async (_, part, message) => {
    const of = async (options: MultiAgentOptions, closed: string[] = []) =>
      multiAgent(long(part, closed), { maxTurns: 2, environmentTimeoutMs: 20, ...options }).sample(await longRequest());
    const closed: string[] = [];
    await expect(of({}, closed)).rejects.toThrow(message);
    expect(closed.length).toBeGreaterThanOrEqual('start' in part ? 0 : 3);
    const left = await of({ minViableGroup: 2 });
    const [failed, whole] = [left.filter(({ failure }) => failure), left.filter(({ failure }) => !failure)];
    expect(whole).toHaveLength(4);
    for (const one of whole) expect([one.stopReason, one.episodeReward]).toEqual(['max_turns', 1]);
    for (const one of failed) {
      expect(one.failure).toMatch(message);
      expect([one.stopReason, one.finishReason, Array.from(one.mask!).includes(1)]).toEqual(['failed', 'abort', false]);
    }
    const few = await of({ minViableGroup: 3 });
    for (const { failure, stopReason } of few) {
      expect(failure).toMatch(stopReason === 'failed' ? message : /only 2 of 3 episodes of the row came to an end/);
    }
    await expect(of({ minViableGroup: 4 })).rejects.toThrow(/minViableGroup is 4, and rows have 3 episodes/);
  });

  it('teaches each of them by what it said itself, and both get better at their parts', async () => {
    const { history, adapters } = await start({ steps: 25, promptsPerStep: 3, completionsPerPrompt: 16 });
    expect(Object.keys(adapters)).toEqual(['proposer', 'critic']);
    for (const name of ['proposer', 'critic']) {
      const rewards = history.map(({ metrics }) => metrics[`${name}/reward`]!);
      const mean = (some: number[]) => some.reduce((a, b) => a + b) / some.length;
      expect(mean(rewards.slice(-3)), name).toBeGreaterThan(mean(rewards.slice(0, 3)) + 0.3);
    }
    // Where a role is worth the same whatever it says, its policy stays as it was, and the other learns.
    const indifferent = {
      ...echoes,
      start: (...of: Parameters<typeof echoes.start>) => {
        const episode = echoes.start(...of) as Awaited<ReturnType<typeof echoes.start>>;
        return { ...episode, rewards: async () => ({ ...(await episode.rewards()), proposer: 1 }) };
      },
    };
    const objective = policyObjectives.reinforce({ baseline: 'batch-mean' });
    const before = await start({ steps: 1, learningRate: 0 });
    const plain = Object.entries(before.adapters).map(([name, adapter]) => [name, { adapter, objective }] as const);
    const after = await start({ rollouts: multiAgent(indifferent), policies: Object.fromEntries(plain), steps: 3 });
    const [was, is] = [await numbersOf(before.trainers), await numbersOf(after.trainers)];
    expect(is[0]).toEqual(was[0]);
    expect(is[1]).not.toEqual(was[1]);
  });

  it('goes on, stopped, to the same bits of all of them', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'posttrain-policies-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const whole = await start();
    const afterStep = ({ step, stop }: { readonly step: number; stop(): void }) => void (step === 1 && stop());
    const stopped = await start({ outputFolder: folder, afterStep });
    expect(stopped.stopped).toEqual({ reason: 'hook', step: 2 });
    const resumed = await start({ outputFolder: folder, resume: true });
    expect(await numbersOf(resumed.trainers)).toEqual(await numbersOf(whole.trainers));
    expect(await numbersOf(stopped.trainers)).not.toEqual(await numbersOf(whole.trainers));
  });

  it('has a critic of each in its checkpoints, which no other may have', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'posttrain-critics-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const model = await chatModel(4);
    const critics = async () => {
      const made = async (seed: number) =>
        valueModelCritic(await ValueModel.fromCausalLM(model, { seed }), { learningRate: 0.01, vfCoef: 1 });
      return { proposer: await made(1), critic: await made(2) };
    };
    const trained = async (own: Awaited<ReturnType<typeof critics>>, options: Partial<Parameters<typeof start>[0]>) => {
      const of = async (critic: (typeof own)['critic'], seed: number) => ({
        adapter: await createAdapter(model, lora, { r: 4, targetModules: 'all-linear' }, { seed }),
        objective: policyObjectives.ppo({ critic, beta: 0 }),
      });
      const policies = { proposer: await of(own.proposer, 1), critic: await of(own.critic, 2) };
      const { trainers } = await start({ steps: 3, ...options, policies });
      return numbersOf({
        ...trainers,
        first: own.proposer.trainer,
        second: own.critic.trainer,
      } as unknown as typeof trainers);
    };
    const whole = await trained(await critics(), {});
    const afterStep = ({ step, stop }: { readonly step: number; stop(): void }) => void (step === 0 && stop());
    await trained(await critics(), { outputFolder: folder, afterStep });
    expect(await trained(await critics(), { outputFolder: folder, resume: true })).toEqual(whole);
    const { critic } = await critics();
    await expect(trained({ proposer: critic, critic }, {})).rejects.toThrow(/for another policy of this one/);
  });

  it('refuses what is of one policy', async () => {
    await expect(start({ reference: NO_ADAPTER } as never)).rejects.toThrow(
      /reference is of one policy: use trainPolicy/,
    );
    await expect(start({ policies: {} })).rejects.toThrow(/policies must name at least one/);
  });
});

describe('MALT', () => {
  const refined = (...rewards: number[]) => rewards.map((reward, i) => ({ text: `r${i}`, reward }));
  const tree: MaltTree = {
    question: 'q',
    answers: [
      {
        text: 'a0',
        critiques: [
          { text: 'c0', refinements: refined(1, 1, 0) },
          { text: 'c1', refinements: refined(0, 1, 0) },
          { text: 'c2', refinements: refined(1, 1, 1) },
        ],
      },
      {
        text: 'a1',
        critiques: [
          { text: 'c0', refinements: refined(0, 0, 0) },
          { text: 'c1', refinements: refined(1, 0, 0) },
          { text: 'c0', refinements: refined(0, 0, 1) },
        ],
      },
    ],
  };

  it('shares the reward of refinements out to critiques and answers, and makes rows of it, by hand', () => {
    const values = tree.answers.map((answer) => [...answer.critiques.map(critiqueValue), answerValue(answer)]);
    const thirds = [
      [2, 1, 3, 2],
      [0, 1, 1, 2 / 3],
    ];
    expect(values).toEqual(thirds.map((row) => row.map((value) => expect.closeTo(value / 3, 12))));
    const { generator, verifier, refiner } = maltRows([tree]);
    expect(generator).toEqual({
      sft: [{ prompt: 'q\n', completion: 'a0' }],
      preferences: [{ prompt: 'q\n', chosen: 'a0', rejected: 'a1' }],
    });
    // Of a1 no critique is worth more than a half.
    expect(verifier).toEqual({
      sft: ['c0', 'c2'].map((completion) => ({ prompt: 'q\na0\n', completion })),
      preferences: ['c0', 'c2'].map((chosen) => ({ prompt: 'q\na0\n', chosen, rejected: 'c1' })),
    });
    expect(refiner.preferences.filter(({ prompt }) => prompt === 'q\na0\nc0\n')).toEqual([
      { prompt: 'q\na0\nc0\n', chosen: 'r0', rejected: 'r2' },
      { prompt: 'q\na0\nc0\n', chosen: 'r1', rejected: 'r2' },
    ]);
    // Where all is right there is nothing to prefer.
    expect(refiner.preferences.some(({ prompt }) => prompt === 'q\na0\nc2\n')).toBe(false);
    // c0 was said of a1 twice: one prompt, and a pair that comes twice is one row.
    const prompt = 'q\na1\nc0\n';
    expect(refiner.preferences.filter((pair) => pair.prompt === prompt)).toEqual([
      { prompt, chosen: 'r2', rejected: 'r0' },
      { prompt, chosen: 'r2', rejected: 'r1' },
    ]);
    expect(maltRows([tree], { threshold: 0.7 }).generator.sft).toEqual([]);
    const silent = { text: '', refinements: refined(1, 1, 1) };
    const { critiques } = tree.answers[0]!;
    const withSilence = { question: 'q', answers: [{ text: 'a0', critiques: [silent, ...critiques.slice(1)] }] };
    expect(maltRows([withSilence]).verifier).toEqual({
      sft: [{ prompt: 'q\na0\n', completion: 'c2' }],
      preferences: [{ prompt: 'q\na0\n', chosen: 'c2', rejected: 'c1' }],
    });
    expect(() => answerValue({ text: 'a', critiques: [] })).toThrow(/a node of the tree has no children/);
  });

  it('asks every role n times of everything that was said before it', async () => {
    const asked: string[] = [];
    const seeds = new Set<number>();
    const says = (letter: string): Generator => ({
      name: letter,
      generate: async (requests) =>
        requests.map(({ prompt, n, seed }) => {
          asked.push(String(prompt));
          for (let i = 0; i < n!; i++) seeds.add(seed! + i);
          return Array.from({ length: n! }, (_, i) => ({
            ...{
              text: `${letter}${i}`,
              finishReason: 'stop' as const,
              usage: { promptTokens: 1, completionTokens: 1 },
            },
          }));
        }),
    });
    const agents = { generator: says('a'), verifier: says('c'), refiner: says('r') };
    const grown = await maltTree('q', { agents, branches: 2, reward: (text) => (text === 'r1' ? 1 : 0) });
    expect(asked.filter((prompt) => prompt.startsWith('q\na'))).toEqual([
      ...['q\na0\n', 'q\na1\n'],
      ...['q\na0\nc0\n', 'q\na0\nc1\n', 'q\na1\nc0\n', 'q\na1\nc1\n'],
    ]);
    expect(seeds.size).toBe(2 + 4 + 8);
    expect(grown.answers.map(answerValue)).toEqual([0.5, 0.5]);
    const lazy = {
      name: 'lazy',
      generate: async (asked: readonly object[]) => asked.map(() => [{ text: 'x' }] as never),
    };
    for (const role of ['generator', 'verifier', 'refiner']) {
      await expect(
        maltTree('q', { agents: { ...agents, [role]: lazy }, branches: 2, reward: () => 0 }),
      ).rejects.toThrow(`the ${role} gave 1 completions of a prompt, and 2 were asked for`);
    }
    await expect(maltTree('q', { agents, branches: 2, reward: () => Number.NaN })).rejects.toThrow(/reward gave NaN/);
    expect(() => critiqueValue({ text: 'c', refinements: [{ text: 'r', reward: Number.NaN }] })).toThrow(/reward NaN/);
    await expect(maltTree('q', { agents: { generator: says('a') } as never, reward: () => 0 })).rejects.toThrow(
      /three generators/,
    );
  });
});

describe('a debate', () => {
  const row = { prompt: 'What is 2 + 2?' };
  /** What is asked of whom, and what each is paid, where they say this in turn. */
  const held = async (options: DebateOptions, said: readonly string[]) => {
    const episode = await debate(options).start(row, { sample: 0, step: 0, key: Key.fromSeed(1) });
    const turns: AgentTurn[] = [];
    for (const content of said) {
      const turn = (await episode.next())!;
      turns.push(turn);
      await episode.take(turn.role, { role: 'assistant', content });
    }
    expect(await episode.next()).toBeUndefined();
    return { turns, rewards: await episode.rewards() };
  };
  const grade = (text: string) => (text.includes('4') ? 1 : 0);

  it.each([
    ['what is right', 1, { debater_1: 1, debater_2: 0, debater_3: 0 }],
    ['that the others say the same', 0, { debater_1: 0, debater_2: 0.5, debater_3: 0.5 }],
    ['both', 0.6, { debater_1: 0.6, debater_2: 0.2, debater_3: 0.2 }],
  ])('pays for %s, in the last round alone', async (_, grounding, expected) => {
    const { turns, rewards } = await held({ debaters: 3, grounding, grade }, [
      '4',
      '5',
      '4',
      'It is 4.',
      'I say 5',
      '5',
    ]);
    for (const [role, value] of Object.entries(expected)) expect(rewards[role]).toBeCloseTo(value, 12);
    expect(turns.map(({ role }) => role)).toEqual([
      ...['debater_1', 'debater_2', 'debater_3'],
      ...['debater_1', 'debater_2', 'debater_3'],
    ]);
    expect(turns[0]!.messages).toEqual([{ role: 'user', content: row.prompt }]);
    expect(turns[4]!.messages.slice(1)).toEqual([
      { role: 'assistant', content: '5' },
      { role: 'user', content: 'The others say:\n4\n4\nAnswer again.' },
    ]);
  });

  it('that was cut off is not scorable, and one that is to be graded needs a grade', async () => {
    const episode = await debate({ grade }).start(row, { sample: 0, step: 0, key: Key.fromSeed(1) });
    await episode.take('debater_1', { role: 'assistant', content: '4' });
    expect(await episode.rewards()).toEqual({});
    expect(agreements(['a', 'b', 'a', 'a'])).toEqual([2 / 3, 0, 2 / 3, 2 / 3]);
    expect(() => debate({})).toThrow(/grounding is 1, and there is no grade/);
  });
});

describe('the limits of an episode', () => {
  type Limits = MultiTurnOptions & { readonly maxCompletionLength?: number };
  /** By counting only: tokens of the prompt 4, between replies 5, in the context 32. */
  const expected = (limits: Limits, replies: readonly string[]) => {
    const none = Number.POSITIVE_INFINITY;
    const { maxTurns = 8, maxTurnTokens = none, maxSampledTokens = none, maxToolCalls = none } = limits;
    const { maxTrajectoryTokens = none, maxCompletionLength = 16 } = limits;
    let [turns, sampled, context, said] = [0, 0, 4, 0];
    const calls: number[] = [];
    const room = () => Math.min(maxCompletionLength - (context - 4), 32 - context);
    const before = (): StopReason | undefined => {
      if (turns >= maxTurns) return 'max_turns';
      if (context >= maxTrajectoryTokens) return 'max_trajectory_tokens';
      if (sampled >= maxSampledTokens) return 'max_sampled_tokens';
      return room() < 1 ? 'length' : undefined;
    };
    const end = (stopReason: StopReason) => ({ stopReason, turns, sampled, tokens: context - said - 4, calls });
    for (;;) {
      const stop = before();
      if (stop) return end(stop);
      said = 0;
      const [reply, wanted] = [replies[turns]!, replies[turns]!.length + 1];
      const got = Math.min(wanted, maxTurnTokens, maxTrajectoryTokens - context, maxSampledTokens - sampled, room());
      [turns, sampled, context] = [turns + 1, sampled + got, context + got];
      if (got < wanted) {
        if (context >= maxTrajectoryTokens) return end('max_trajectory_tokens');
        if (sampled >= maxSampledTokens) return end('max_sampled_tokens');
        return end(room() < 1 ? 'length' : 'max_turn_tokens');
      }
      const asked = [...reply].filter((letter) => letter === '=').length;
      const left = maxToolCalls - calls.reduce((a, b) => a + b, 0);
      if (asked > left && left === 0) return end('max_tool_calls');
      calls.push(Math.min(asked, left));
      if (reply.includes('2')) return end('completed');
      if (asked > left) return end('max_tool_calls');
      const early = before();
      if (early) return end(early);
      [context, said] = [context + 5, 5];
    }
  };

  it('end it for the first reason in their order, over all scripts of three replies', async () => {
    const [said, scripts] = [['1', '==', '=11', '2'], [] as string[][]];
    for (const a of said) for (const b of said) for (const c of ['=', '2']) scripts.push([a, b, c, ...'11111']);
    const limits: Limits[] = [
      {},
      { maxTurns: 2 },
      { maxTurns: 1, maxToolCalls: 0 },
      { maxTurnTokens: 2 },
      { maxSampledTokens: 5 },
      { maxSampledTokens: 4, maxTurnTokens: 3 },
      { maxTrajectoryTokens: 6 },
      { maxTrajectoryTokens: 13, maxSampledTokens: 4 },
      { maxTrajectoryTokens: 4 },
      { maxToolCalls: 0 },
      { maxToolCalls: 1 },
      { maxToolCalls: 3 },
      { maxCompletionLength: 3 },
      { maxCompletionLength: 30 },
      { maxCompletionLength: 9, maxTrajectoryTokens: 13, maxSampledTokens: 7, maxTurnTokens: 4, maxToolCalls: 2 },
    ];
    const model = await chatModel(1);
    const reasons = new Set<StopReason>();
    let script: readonly string[] = [];
    let before = 0;
    const asked = await scriptSampler((_, turn) => script[turn - before]!);
    for (const { maxCompletionLength = 16, ...own } of limits) {
      for (script of scripts) {
        before = asked.length;
        const calls: number[] = [];
        const source = multiTurn(counting(calls), { ...own, parseReply: parseCalls });
        const [rollout] = await source.sample(await requestOf({ model, sampling: { maxTokens: maxCompletionLength } }));
        const wanted = expected({ ...own, maxCompletionLength }, script);
        const { stopReason, mask, completionTokens, turnRewards } = rollout!;
        const sampled = Array.from(mask!).filter((one) => one === 1).length;
        const turns = asked.length - before;
        const found = { stopReason, turns, sampled, tokens: completionTokens.length, calls };
        expect(found, JSON.stringify([own, maxCompletionLength, script])).toEqual(wanted);
        expect(turnRewards).toHaveLength(calls.length);
        reasons.add(stopReason!);
      }
    }
    const all = ['max_turns', 'max_turn_tokens', 'max_sampled_tokens', 'max_trajectory_tokens', 'max_tool_calls'];
    expect([...reasons].sort()).toEqual([...all, 'completed', 'length'].sort());
  });

  it('may cost the reward, or the training, of what they end', async () => {
    await scriptSampler((place) => (place === 0 ? '2' : '1'));
    const of = async (onLimit: 'keep' | 'zero' | 'mask', worth: number) => {
      const source = multiTurn(counting(), { maxTurns: 1, onLimit });
      const model = await chatModel(1);
      const rollouts = await rollOut({
        ...{ model, rows: [{ prompt: [{ role: 'user', content: '1' }] }], source, completionsPerPrompt: 2 },
        ...{ rewards: { worth: () => worth }, maxCompletionLength: 16 },
      });
      return rollouts.map(({ stopReason, reward, mask }) => [stopReason, reward, Array.from(mask!).includes(1)]);
    };
    expect(await of('keep', 3)).toEqual([
      ['completed', 3, true],
      ['max_turns', 3, true],
    ]);
    expect(await of('zero', 3)).toEqual([
      ['completed', 3, true],
      ['max_turns', 0, true],
    ]);
    expect(await of('zero', -3)).toEqual([
      ['completed', -3, true],
      ['max_turns', -3, true],
    ]);
    expect(await of('mask', 3)).toEqual([
      ['completed', 3, true],
      ['max_turns', 3, false],
    ]);
  });

  it('end it when its time is over, whoever takes it', async () => {
    await scriptSampler(() => '1');
    const slow = counting();
    const hanging: Environment<PromptRow> = {
      ...slow,
      start: (row, context) =>
        ({ ...(slow.start(row, context) as object), step: () => new Promise(() => {}) }) as never,
    };
    const [rollout] = await multiTurn(hanging, { rolloutTimeoutMs: 20 }).sample(await requestOf());
    expect([rollout!.stopReason, rollout!.finishReason]).toEqual(['rollout_timeout', 'length']);
  });

  it('are told of replies that cannot be read, which end it when there are too many', async () => {
    const replies = ['u', 'u', '1', 'u', 'u', 'u'];
    const of = async (parseErrors: MultiTurnOptions['parseErrors']) => {
      await scriptSampler((_, turn) => replies[turn]!);
      const parseReply = (text: string) => ({
        ...{ role: 'assistant' as const, content: text },
        ...(text === 'u' && { parseError: '=' }),
      });
      const source = multiTurn(counting(), { parseReply, ...(parseErrors && { parseErrors }) });
      const [{ stopReason, turnRewards, messages, mask }] = (await source.sample(
        await requestOf({ sampling: { maxTokens: 28 } }),
      )) as [Awaited<ReturnType<typeof source.sample>>[number]];
      const trained = Array.from(mask!).filter((one) => one === 1).length;
      return {
        stopReason,
        paid: turnRewards!.map(({ reward }) => reward),
        said: messages!.map(({ content }) => content),
        trained,
      };
    };
    const policy = { maxConsecutive: 2, message: '{details}', penalty: 0.5, terminalReward: -2 };
    expect(await of({ ...policy, maxConsecutive: 0 })).toEqual({
      stopReason: 'parse_error',
      paid: [-2],
      said: ['1', 'u'],
      trained: 2,
    });
    expect(await of({ ...policy, maxConsecutive: 1 })).toMatchObject({ stopReason: 'parse_error', paid: [-0.5, -2] });
    expect(await of({ ...policy, maskReplies: true })).toEqual({
      ...{ stopReason: 'length', paid: [-0.5, -0.5, 1, -0.5], trained: 2 },
      said: ['1', 'u', '=', 'u', '=', '1', '1', 'u'],
    });
    // Without a policy the environment gets them.
    expect((await of(undefined)).paid).toEqual([1, 1, 1, 1]);
  });
});

describe('a history that is rewritten', () => {
  interface TrlCase {
    readonly threshold: number;
    readonly kinds: readonly string[];
    readonly turns: readonly (readonly [readonly number[], readonly number[]])[];
    readonly rows: readonly (readonly [readonly number[], string])[];
  }

  it("makes of turns the rows that TRL's asynchronous GRPO makes of them", () => {
    const { turns: cases } = readGolden<{ turns: TrlCase[] }>('trl.json', 'verifier-set');
    expect(cases).toHaveLength(147);
    for (const { threshold, kinds, turns, rows } of cases) {
      const records = turns.map(([promptTokens, tokens]) => {
        return { promptTokens, tokens, logProbs: tokens.map((token) => -token / 1000) };
      });
      const found = reconcileTurns(records, { forkThreshold: threshold });
      const written = found.map(({ promptTokens, completionTokens, mask }) => [
        [...promptTokens, ...completionTokens],
        [...promptTokens.map(() => 0), ...mask].join(''),
      ]);
      expect(written, `${threshold}: ${kinds.join(', ')}`).toEqual(rows);
      for (const { completionTokens, mask, samplerLogProbs } of found) {
        expect(samplerLogProbs).toEqual(completionTokens.map((token, t) => (mask[t] ? -token / 1000 : 0)));
      }
      // Nothing sampled is lost without a threshold, and nothing is trained that was not sampled.
      const trained = found.flatMap(({ completionTokens, mask }) => completionTokens.filter((_, t) => mask[t]));
      const sampled = turns.flatMap(([, tokens]) => tokens);
      if (threshold === 0) expect(trained).toEqual(sampled);
      else expect(sampled).toEqual(expect.arrayContaining(trained));
    }
  });

  /** Of earlier replies only the last letter is left, as templates leave reasoning out. */
  const forgetful =
    "{% for m in messages %}{% if m.role == 'assistant' %}A{% if loop.last %}{{ m.content }}{% else %}{{ m.content[-1:] }}{% endif %}</s>n" +
    "{% elif m.role == 'tool' %}t{{ m.content }}n{% else %}u{{ m.content }}n{% endif %}{% endfor %}" +
    '{% if add_generation_prompt %}A{% endif %}';

  it('trains each sampled token once, behind the tokens that were read, in every script', async () => {
    const model = await chatModel(1, forgetful);
    const letters = ['1', '01', '0+1', '2'];
    for (const first of letters) {
      for (const second of letters) {
        const asked = await scriptSampler((_, turn) => [first, second, '12'][turn]!);
        const source = multiTurn(counting(), { forkThreshold: 0, maxTurns: 3 });
        const rollouts = await source.sample(await requestOf({ model, sampling: { maxTokens: 30 } }));
        const trained = rollouts.flatMap(({ completionTokens, mask }) => completionTokens.filter((_, t) => mask![t]));
        expect(trained).toEqual(asked.flatMap(({ reply }) => reply));
        for (const { prompt, reply } of asked) {
          const whole = [...prompt, ...reply];
          const rows = rollouts.filter(({ promptTokens, completionTokens }) =>
            [...promptTokens, ...completionTokens].slice(0, whole.length).every((token, t) => token === whole[t]),
          );
          expect(rows.length, `${first} ${second}`).toBeGreaterThan(0);
        }
        const isForked = first.length > 1 && first !== '2';
        expect(new Set(rollouts.map(({ episode }) => episode)).size).toBe(1);
        expect(rollouts[0]!.episode === undefined).toBe(rollouts.length === 1);
        if (isForked) expect(rollouts.length).toBeGreaterThan(1);
      }
    }
  });

  it('is worth the same in all its rows, and counts once in its group', async () => {
    const model = await chatModel(1, forgetful);
    // The first episode says much and forks at each reply; the second ends at once.
    await scriptSampler((place, turn) => (turn === 0 ? (place === 0 ? '01' : '2') : '012'));
    const rollouts = await rollOut({
      ...{
        model,
        rows: [{ prompt: [{ role: 'user', content: '1' }] }],
        completionsPerPrompt: 2,
        maxCompletionLength: 30,
      },
      source: multiTurn(counting(), { forkThreshold: 0 }),
      rewards: { environment: environmentReward() },
    });
    expect(rollouts.map(({ reward }) => reward)).toEqual([2, 2, 1]);
    const { advantages } = policyObjective({ ...policyObjectives.grpo({ scaleRewards: 'none' }) }).annotate(rollouts, {
      maxCompletionLength: 30,
    });
    expect(advantages).toEqual([0.5, 0.5, -0.5]);
  });

  it('is refused unless it is asked for', async () => {
    await scriptSampler(() => '01');
    const source = multiTurn(counting(), { maxTurns: 2 });
    await expect(source.sample(await requestOf({ model: await chatModel(1, forgetful) }))).rejects.toThrow(
      /the chat template changes earlier messages .*forkThreshold: 0/,
    );
  });
});

describe('what fails', () => {
  const rows = [{ prompt: [{ role: 'user', content: '1' }] }];
  const world = counting();
  const broken = (part: object): Environment<PromptRow> => {
    let begun = 0;
    return {
      ...{ name: 'broken', settings: {} },
      start(row, context) {
        if (begun++ > 0) return world.start(row, context);
        if ('start' in part) return (part as { start: () => never }).start();
        return { ...(world.start(row, context) as object), ...part } as never;
      },
    };
  };
  const died = () => {
    throw new Error('no batteries');
  };
  const never = () => new Promise<never>(() => {});
  const forgets =
    '{% if messages | length > 2 %}n{% else %}u{{ messages[0].content }}{% endif %}{% if add_generation_prompt %}A{% endif %}';
  const kinds: readonly (readonly [what: string, part: object, message: RegExp, template: string | undefined])[] = [
    ['dies at the start', { start: died }, /"broken" threw at the start: no batteries/, undefined],
    ['dies in a turn', { step: died }, /"broken" threw at a reply: no batteries/, undefined],
    ['dies when asked for the reward', { reward: died }, /threw when asked for the reward: no batteries/, undefined],
    ['never answers', { step: never }, /"broken" gave no answer at a reply within 20 ms/, undefined],
    ['never begins', { start: never }, /gave no answer at the start within 20 ms/, undefined],
    [
      'never says what it was worth',
      { reward: never },
      /gave no answer when asked for the reward within 20 ms/,
      undefined,
    ],
    ['pays no number', { step: () => ({ messages: [], reward: Number.NaN, done: true }) }, /paid NaN/, undefined],
    ['is worth no number', { reward: () => Number.NaN }, /is worth NaN/, undefined],
    ['says nothing', { step: () => ({ messages: [], done: false }) }, /is not done and says nothing/, undefined],
    ['cannot be continued', {}, /cannot go on: the chat template/, forgets],
  ];

  it.each(kinds)(
    'an environment that %s is named; it is begun anew, or counted and left out',
    async (_, part, message, template) => {
      const model = await chatModel(1, template);
      const of = async (options: MultiTurnOptions) => {
        await scriptSampler((place) => (template && place === 0 ? '1' : '2'));
        const source = multiTurn(broken(part), { ...options, environmentTimeoutMs: 20 });
        return rollOut({
          ...{ model, rows, source, completionsPerPrompt: 4, maxCompletionLength: 16 },
          rewards: { environment: environmentReward() },
        });
      };
      await expect(of({})).rejects.toThrow(message);
      const left = await of({ minViableGroup: 3 });
      expect(left.map(({ stopReason }) => stopReason)).toEqual(['failed', 'completed', 'completed', 'completed']);
      expect(left[0]!.failure).toMatch(message);
      expect(left.map(({ reward }) => reward)).toEqual([null, 1, 1, 1]);
      expect(Array.from(left[0]!.mask!)).not.toContain(1);
      const few = await of({ minViableGroup: 4 });
      expect(few.map(({ reward }) => reward)).toEqual([null, null, null, null]);
      expect(few[1]!.failure).toMatch(/only 3 of 4 episodes of the row came to an end, and minViableGroup is 4/);
      if (template) return;
      const again = await of({ retries: 1 });
      expect(again.map(({ reward }) => reward)).toEqual([1, 1, 1, 1]);
    },
  );

  it.each<[string, () => unknown, RegExp]>([
    ['throws', died, /reward "bad" threw: no batteries/],
    ['hangs', never, /reward "bad" took longer than 20 ms/],
    ['is NaN', () => Number.NaN, /reward "bad" returned NaN/],
    ['is a text', () => '1', /reward "bad" returned 1/],
  ])('a reward that %s ends the run by name, or leaves its completion out and is counted', async (_, bad, message) => {
    const run = async (onError: 'throw' | 'null') => {
      const warnings: string[] = [];
      const reward = ({ length }: string, { completionTokens }: { completionTokens: readonly number[] }) =>
        (completionTokens[0] ?? 0) % 2 === 0 ? (bad() as number) : length;
      const { history } = await trainPolicy({
        model: await chatModel(4),
        rows,
        rewards: { good: () => 1, bad: reward },
        scoring: { onError, timeoutMs: 20 },
        objective: policyObjectives.grpo(),
        onWarning: (warning) => void warnings.push(warning),
        ...{ steps: 1, promptsPerStep: 1, completionsPerPrompt: 16, maxCompletionLength: 4, seed: 2 },
      });
      return { metrics: history[0]!.metrics, warnings };
    };
    await expect(run('throw')).rejects.toThrow(message);
    const { metrics, warnings } = await run('null');
    expect(metrics['rewards/bad/failed']).toBeGreaterThan(0);
    expect(metrics['rewards/bad/failed']).toBeLessThan(1);
    expect(metrics['rewards/good/failed']).toBeUndefined();
    expect(metrics.loss).toBeDefined();
    expect(warnings.join('\n')).toMatch(message);
  });

  it('a step of which nothing is left makes no update and says why', async () => {
    const warnings: string[] = [];
    const dead: Environment<PromptRow> = { ...world, name: 'dead', start: died };
    const run = trainPolicy({
      ...{ model: await chatModel(4), rows, rollouts: multiTurn(dead, { minViableGroup: 1, retries: 1 }) },
      ...{ rewards: { environment: environmentReward() }, objective: policyObjectives.grpo() },
      onWarning: (warning) => void warnings.push(warning),
      ...{ steps: 2, promptsPerStep: 1, completionsPerPrompt: 2, maxCompletionLength: 4 },
    });
    await expect(run).rejects.toThrow(
      /none of the 2 steps made an update.*2 of 2 episodes failed, the first with: .*no batteries/,
    );
    expect(warnings.join('\n')).toMatch(/"skipped" counts such steps/);
  });

  it('closes what it has begun where the run is ended, and tells it so', async () => {
    await scriptSampler(() => '1');
    const [run, told] = [new AbortController(), [] as string[]];
    const waiting: Environment<PromptRow> = {
      ...world,
      start: (row, context) =>
        ({
          ...(world.start(row, context) as object),
          step: () => {
            context.signal!.addEventListener('abort', () => told.push('stop'));
            run.abort(new Error('enough'));
            return never();
          },
          close: () => void told.push('close'),
        }) as never,
    };
    const asked = multiTurn(waiting).sample(await requestOf({ signal: run.signal }));
    await expect(asked).rejects.toThrow('enough');
    expect(told).toEqual(['stop', 'close']);
  });

  it('a sampler that gives no replies in time is named, and its episodes are counted', async () => {
    await scriptSampler((_, turn) => (turn === 0 ? never() : '2'));
    const source = (options: MultiTurnOptions) => multiTurn(world, { samplingTimeoutMs: 20, ...options });
    await expect(source({}).sample(await requestOf())).rejects.toThrow(/no replies within 20 ms/);
    await scriptSampler((_, turn) => (turn === 0 ? never() : '2'));
    const [again] = await source({ retries: 1 }).sample(await requestOf());
    expect(again!.stopReason).toBe('completed');
  });
});
