import { join } from 'node:path';
import type { ChatMessage } from '@posttrain/interfaces';
import {
  CausalLM,
  ChatTemplate,
  initialWeights,
  NO_ADAPTER,
  networkOf,
  parseModelConfig,
  Tokenizer,
} from '@posttrain/lm';
import { tokenizeRows } from '@posttrain/training';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  checkPrompts,
  dpo,
  type PreferenceRow,
  policyObjectives,
  policyOptions,
  rollOut,
  tokenizePair,
} from '../src/index.js';
import { goldenFolder } from './goldens.js';
import { endlessTokenizer, toyModel } from './toy.js';

/** A template that shows tools and variables, with every message in marks of its own. */
const template =
  '{% if tools %}<tools>{{ tools | tojson }}</tools>{% endif %}{% if mood %}<{{ mood }}>{% endif %}' +
  '{% for m in messages %}<{{ m.role }}{% if m.name is defined %}!{% endif %}>{{ m.content }}</{{ m.role }}>{% endfor %}' +
  '{% if add_generation_prompt %}<assistant>{% endif %}';
const tools = [{ type: 'function', function: { name: 'add', parameters: { type: 'object' } } }];
const messages = [{ role: 'user', content: '2 + 3?' }];
const answer = (content: string) => [{ role: 'assistant', content }];
/** As files with columns have messages: with every field of any message. */
const withNulls = (some: readonly ChatMessage[]) =>
  some.map((message) => ({ ...message, name: null })) as unknown as ChatMessage[];

let model: CausalLM;
beforeAll(async () => {
  const tokenizer = await Tokenizer.load(join(goldenFolder, 'tokenizers/byte-level-bpe'));
  const config = parseModelConfig({
    ...{ model_type: 'llama', vocab_size: 1024, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1 },
    ...{ num_attention_heads: 1, max_position_embeddings: 512 },
  });
  const network = networkOf(config);
  const chatTemplate = new ChatTemplate(tokenizer, template);
  const weights = await initialWeights(network, 1);
  model = new CausalLM({ config, weights, tokenizer, chatTemplate, name: 'm' }, network);
});

it('a prompt has the context without the positions of virtual tokens', () => {
  const settings = (virtualTokens: number) =>
    policyOptions.read({
      ...{ model, rows: [], rewards: { length: (x: string) => x.length }, steps: 1, onWarning: () => {} },
      adapter: { ...NO_ADAPTER, virtualTokens, trainingHooks: NO_ADAPTER.hooks, identity: {}, save: async () => {} },
      objective: policyObjectives.grpo(),
    } as never);
  const rows = [{ prompt: 'word '.repeat(40) }];
  const [tokens] = checkPrompts(rows, settings(0));
  expect(checkPrompts(rows, settings(511 - tokens!.length))).toEqual([tokens]);
  const message = `row 0: its prompt has ${tokens!.length} tokens, and the context of ${tokens!.length} leaves no room`;
  expect(() => checkPrompts(rows, settings(512 - tokens!.length))).toThrow(message);
});

describe('the conversation of a row', () => {
  // One list of columns for every trainer: a prompt without its tools is another prompt than the one that is served.
  const columns = [
    ['tools', { tools }, { tools }],
    ['tools as JSON text, as Parquet files have them', { tools: JSON.stringify(tools) }, { tools }],
    ['template variables', { chat_template_kwargs: { mood: 'calm' } }, { variables: { mood: 'calm' } }],
    ['both', { tools, chat_template_kwargs: { mood: 'calm' } }, { tools, variables: { mood: 'calm' } }],
    ['neither, in columns that others of the file need', { tools: null, chat_template_kwargs: null }, {}],
  ] as const;

  it.each(columns)('has %s in sft, dpo and trainPolicy', async (_, row, options) => {
    const asked = withNulls(messages);
    const prompt = model.chatTemplate!.renderChat(messages, { ...options, addGenerationPrompt: true });
    const whole = model.chatTemplate!.renderChat([...messages, ...answer('5')], options);
    const [sft] = tokenizeRows(model, [{ ...row, prompt: asked, completion: withNulls(answer('5')) }]).rows;
    const [conversation] = tokenizeRows(model, [{ ...row, messages: [...asked, ...withNulls(answer('5'))] }]).rows;
    expect(conversation!.tokens).toEqual(whole.tokenIds);
    expect(sft!.tokens).toEqual(whole.tokenIds);
    const pair = tokenizePair(
      model,
      { ...row, prompt: asked, chosen: withNulls(answer('5')), rejected: answer('6') },
      0,
      400,
    );
    expect([...pair!.promptTokens, ...pair!.chosenTokens]).toEqual(whole.tokenIds);
    const rollouts = await rollOut({
      ...{ model, rows: [{ ...row, prompt: asked }], rewards: { length: (x) => x.length } },
      ...{ completionsPerPrompt: 1, maxCompletionLength: 2 },
    });
    expect(rollouts[0]!.promptTokens).toEqual(prompt.tokenIds);
    expect(pair!.promptTokens).toEqual(prompt.tokenIds);
  });

  it.each([
    [{ tools: '{"name":' }, 'tools is text but not JSON'],
    [{ tools: 'add' }, 'tools is text but not JSON'],
    [{ tools: [1] }, 'tools must be a list of JSON schemas'],
    [{ tools: {} }, 'tools must be a list of JSON schemas'],
    [{ chat_template_kwargs: 'calm' }, 'chat_template_kwargs must be an object'],
  ])('is refused with %j', (row, message) => {
    expect(() => tokenizeRows(model, [{ ...row, prompt: messages, completion: answer('5') }])).toThrow(message);
    const pair: PreferenceRow = { ...row, prompt: messages, chosen: answer('5'), rejected: answer('6') };
    expect(() => tokenizePair(model, pair, 3, 400)).toThrow(`preference row 3: ${message}`);
  });
});

describe('dpo', () => {
  it.each([0, 0.5, '1'])('refuses a completion of which a part weighs %j', (weight) => {
    const chosen = [{ role: 'assistant', content: '5', weight }];
    const row = { prompt: messages, chosen, rejected: answer('6') };
    expect(() => tokenizePair(model, row, 2, 400)).toThrow(`preference row 2: chosen[0].weight is ${weight}`);
  });

  it('cuts what is longer than the context', async () => {
    const long = { prompt: 'a'.repeat(30), chosen: 'bcdefg', rejected: 'cccccc' };
    const { history, dropped } = await dpo({ model: await toyModel(1), rows: [long], batchSize: 1 });
    expect([history.length, dropped]).toEqual([1, 0]);
  });

  const rows = [{ prompt: 'a', chosen: 'b', rejected: 'c' }];

  it('refuses a tokenizer without an end token, as sft does', async () => {
    const endless = await toyModel(1, endlessTokenizer);
    await expect(dpo({ model: endless, rows })).rejects.toMatchObject({
      code: 'PREFERENCE_ROW',
      message: expect.stringContaining('names no eos_token'),
      cause: { code: 'NO_END_TOKEN' },
    });
    expect(() => tokenizeRows(endless, [{ prompt: 'a', completion: 'b' }])).toThrow('names no eos_token');
  });

  it('leaves out pairs without a difference, whose gradient is rounding', async () => {
    const toy = await toyModel(1);
    const same = { prompt: 'a', chosen: 'bc', rejected: 'bc' };
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    const { identical, history } = await dpo({ model: toy, rows: [...rows, same], batchSize: 1, onWarning });
    expect([identical, history.length]).toEqual([1, 1]);
    expect(warnings).toEqual([expect.stringContaining('1 of 2 pairs are left out: nothing differs')]);
    await expect(dpo({ model: toy, rows: [same] })).rejects.toMatchObject({ code: 'DPO' });
    const late = { prompt: 'a', chosen: 'bcdeb', rejected: 'bcdec' };
    await expect(dpo({ model: toy, rows: [late], maxLength: 4 })).rejects.toThrow(
      'two completions that differ before it',
    );
  });
});
