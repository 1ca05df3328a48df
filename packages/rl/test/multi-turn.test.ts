import { join } from 'node:path';
import { Key } from '@posttrain/core-tensor';
import type { ChatMessage } from '@posttrain/interfaces';
import { CausalLM, ChatTemplate, NO_ADAPTER, parseModelConfig, sequenceLogProbs, Tokenizer } from '@posttrain/lm';
import { sft } from '@posttrain/training';
import { expect, it } from 'vitest';
import {
  type Environment,
  environmentReward,
  type MultiTurnOptions,
  multiTurn,
  type PromptRow,
  policyObjective,
  policyObjectives,
  type RolloutRequest,
  toolEnvironment,
  trainPolicy,
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
