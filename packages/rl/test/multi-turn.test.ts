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
  toolEnvironment,
  trainPolicies,
  trainPolicy,
  valueModelCritic,
} from '../src/index.js';
import { calculator, chatModel, sums } from './calculator.js';
import { goldenFolder, readGolden } from './goldens.js';
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

it.each([
  ['silence', saying([]), undefined, /"strange" is not done and says nothing/],
  ['a reward that is no number', saying([], Number.NaN), undefined, /"strange" paid NaN for a reply/],
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
  });
  const episode = await environment.start({ prompt: '1 / 2?' }, {} as never);
  const call = (name: string, id: string) => ({ id, type: 'function' as const, function: { name, arguments: {} } });
  const tool_calls = [call('divide', 'a'), call('multiply', 'b')];
  expect(await episode.step({ role: 'assistant', content: '', tool_calls })).toEqual({
    messages: [
      { role: 'tool', name: 'divide', content: 'error: no batteries', tool_call_id: 'a' },
      { role: 'tool', name: 'multiply', content: 'error: there is no function multiply', tool_call_id: 'b' },
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
    const selfPlay = await multiAgent(echoes, { policies: { critic: 'proposer' } }).sample(asked);
    expect(new Set(selfPlay.map(({ policy }) => policy))).toEqual(new Set(['proposer']));
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
