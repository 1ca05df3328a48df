import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Key, normal, setEngine, tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { type Completion, type GenerateRequest, PosttrainError } from '@posttrain/interfaces';
import {
  type Adapter,
  CausalLM,
  ChatTemplate,
  LocalGenerator,
  type LocalGeneratorOptions,
  loadEmbedder,
  parseModelConfig,
  sequenceLogProbs,
  Tokenizer,
  toolFormatOf,
} from '@posttrain/lm';
import { createAdapter, lora, saveAdapter, withAdapterParameters } from '@posttrain/peft';
import OpenAI from 'openai';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { largestDifference, modelFolder, tinyModel } from '../../lm/test/support.js';
import { embeddingModel, type LocalModelsOptions, localModels } from '../src/index.js';
import { serve } from './support.js';

describe('localModels', () => {
  let model: CausalLM;
  beforeAll(async () => {
    setEngine(onnxruntimeEngine());
    model = await tinyModel('byte-level-bpe', { max_position_embeddings: 1024 });
  });

  async function client(options: LocalModelsOptions = {}) {
    const { url, failures } = await serve(localModels('tiny', model, options));
    return { openai: new OpenAI({ baseURL: `${url}/v1`, apiKey: 'any', maxRetries: 0 }), failures };
  }

  /** What the generator gives for each request when nobody else asks. */
  async function alone(
    requests: readonly GenerateRequest[],
    options: LocalGeneratorOptions = {},
  ): Promise<Completion[]> {
    const completions = await new LocalGenerator(model, options).generate(requests);
    return completions.map(([completion]) => completion!);
  }

  const messages = [{ role: 'user' as const, content: 'One and one?' }];
  const greedy = { model: 'tiny', temperature: 0, max_tokens: 12 };

  /** Multiplies what every linear layer gives. */
  const louder: Adapter<{ scale: ReturnType<typeof tensor> }> = {
    name: 'louder',
    parameters: { scale: tensor(Float32Array.of(1.5), [1]) },
    hooks: ({ scale }) => ({
      linear: (x, layer) => layer.apply(x).mul(scale),
    }),
  };

  describe('a local model behind the API', () => {
    it('says what its generator says, whole and streamed, for chats and text', async () => {
      const { openai } = await client();
      const settings = { temperature: 0, maxTokens: 12 };
      const [chat, text] = (await alone([
        { prompt: messages, ...settings },
        { prompt: 'One and one', ...settings },
      ])) as [Completion, Completion];
      const whole = await openai.chat.completions.create({ ...greedy, messages });
      expect(whole.choices[0]!.message.content).toBe(chat.text);
      expect(whole.choices[0]!.finish_reason).toBe('length');
      expect(whole.usage).toMatchObject({ prompt_tokens: chat.usage.promptTokens, completion_tokens: 12 });
      const streamed = await openai.chat.completions.stream({ ...greedy, messages }).finalContent();
      expect(streamed).toBe(chat.text);
      expect((await openai.completions.create({ ...greedy, prompt: 'One and one' })).choices[0]!.text).toBe(text.text);
      const tokenIds = model.tokenizer.encode('One and one');
      expect((await openai.completions.create({ ...greedy, prompt: tokenIds })).choices[0]!.text).toBe(text.text);
    });

    it('has the context without the positions of an adapter with virtual tokens', () => {
      const models = localModels('tiny', model, {
        adapters: { long: louder, short: { ...louder, virtualTokens: 24 } },
      });
      expect(Object.values(models).map(({ contextLength }) => contextLength)).toEqual([1024, 1024, 1000]);
    });

    it('gives every one of many clients its own answer', async () => {
      const { openai, failures } = await client({ maxBatch: 8 });
      const prompts = Array.from({ length: 16 }, (_, i) => `Number ${i} is${' one'.repeat(i % 5)}`);
      const max = (i: number) => 1 + (i % 4) * 2;
      const expected = await alone(prompts.map((prompt, i) => ({ prompt, temperature: 0, maxTokens: max(i) })));
      const answers = await Promise.all(
        prompts.map((prompt, i) => openai.completions.create({ ...greedy, prompt, max_tokens: max(i) })),
      );
      expect(answers.map(({ choices }) => choices[0]!.text)).toEqual(expected.map(({ text }) => text));
      expect(failures).toEqual([]);
    });

    it('samples by seed: sample i of seed s is sample 0 of seed s + i', async () => {
      const { openai } = await client();
      const ask = async (fields: object) => {
        const { choices } = await openai.chat.completions.create({ model: 'tiny', max_tokens: 8, messages, ...fields });
        return choices.map(({ message }) => message.content);
      };
      const three = await ask({ seed: 5, n: 3 });
      expect(new Set(three).size).toBe(3);
      expect([...(await ask({ seed: 5 })), ...(await ask({ seed: 6 })), ...(await ask({ seed: 7 }))]).toEqual(three);
      // Without a seed, another answer each time.
      expect(new Set([...(await ask({ n: 2 })), ...(await ask({ n: 2 }))]).size).toBe(4);
    });

    it('reports the log-probabilities that scoring gives', async () => {
      const { openai } = await client();
      const { choices } = await openai.chat.completions.create({ ...greedy, messages, logprobs: true });
      const reported = choices[0]!.logprobs!.content!;
      const prompt = model.chatTemplate!.renderChat(messages, { addGenerationPrompt: true }).tokenIds;
      const [completion] = await alone([{ prompt: messages, temperature: 0, maxTokens: 12 }]);
      const tokenIds = completion!.tokenIds!;
      const [scored] = await sequenceLogProbs(model, [[...prompt, ...tokenIds]]);
      const logProbs = reported.map(({ logprob }) => logprob);
      expect(largestDifference(scored!.logProbs.subarray(-12), logProbs)).toBeLessThan(1e-4);
      const decoded = tokenIds.map((id) => model.tokenizer.decode([id]));
      const isWhole = decoded.map((text) => !text.includes('\uFFFD'));
      // A part of a character is named by its bytes.
      expect(reported.map(({ token }, i) => (isWhole[i] ? token : token.slice(0, 8)))).toEqual(
        decoded.map((text, i) => (isWhole[i] ? text : 'bytes:\\x')),
      );
    });

    it('answers with the adapter that the request names, in one batch with others', async () => {
      const { openai } = await client({ adapters: { louder } });
      expect((await openai.models.list()).data.map(({ id }) => id)).toEqual(['tiny', 'louder']);
      const [base, adapted] = await Promise.all(
        ['tiny', 'louder'].map((name) => openai.chat.completions.create({ ...greedy, model: name, messages })),
      );
      const request = { prompt: messages, temperature: 0, maxTokens: 12 };
      const [expected] = await alone([request], { adapter: () => louder });
      expect(adapted!.choices[0]!.message.content).toBe(expected!.text);
      expect(base!.choices[0]!.message.content).not.toBe(expected!.text);
      expect(() => localModels('louder', model, { adapters: { louder } })).toThrow('rename one');
    });

    it('gives an adapter what the request says of its sequence, and refuses what the adapter cannot read', async () => {
      const byTask: Adapter<{ scales: ReturnType<typeof tensor> }> = {
        name: 'by task',
        parameters: { scales: tensor([1, 1.5, 0.5], [3]) },
        rowInputs: {
          names: ['task'],
          of(_, { task }) {
            if (task !== undefined && task < 3) return { task };
            throw new PosttrainError('ADAPTER_INPUTS', 'task is missing');
          },
        },
        hooks: ({ scales }) => ({
          linear: (x, layer) => layer.apply(x).mul(scales.gather(layer.pass!.inputs.task!).expandDims(2)),
        }),
      };
      const { openai } = await client({ adapters: { byTask } });
      const request = { ...greedy, model: 'byTask', prompt: 'One and one', logprobs: 0, echo: false };
      const ask = (inputs: object) => openai.completions.create({ ...request, ...{ adapter_inputs: inputs } });
      const answers = await Promise.all([ask({ task: 0 }), ask({ task: 1 }), ask({ task: 2 })]);
      const texts = answers.map(({ choices }) => choices[0]!.text);
      for (const [task, text] of texts.entries()) {
        const generator = new LocalGenerator(model, { adapter: () => byTask });
        const own = { prompt: 'One and one', temperature: 0, maxTokens: 12, adapterInputs: { task } };
        const [[completion]] = (await generator.generate([own])) as [[Completion]];
        expect(text).toBe(completion.text);
      }
      expect(new Set(texts).size).toBe(3);
      await expect(ask({})).rejects.toThrow(/400.*task is missing/);
      await expect(ask({ tasks: 1 })).rejects.toThrow(/400.*no input "tasks": it reads task/);
      await expect(ask({ task: 0.5 })).rejects.toThrow(/400.*adapter_inputs.task/);
      await expect(
        openai.completions.create({ ...request, model: 'tiny', ...{ adapter_inputs: { task: 1 } } }),
      ).rejects.toThrow(/400.*reads nothing of a sequence/);
    });

    it('puts tools into the prompt', async () => {
      const { openai } = await client();
      const tools = [
        { type: 'function' as const, function: { name: 'f', parameters: { type: 'object', properties: {} } } },
      ];
      const answer = await openai.chat.completions.create({ ...greedy, messages, tools });
      const { tokenIds } = model.chatTemplate!.renderChat(messages, { addGenerationPrompt: true, tools });
      expect(answer.usage!.prompt_tokens).toBe(tokenIds.length);
      const without = await openai.chat.completions.create({ ...greedy, messages, tools, tool_choice: 'none' });
      expect(without.usage!.prompt_tokens).toBeLessThan(tokenIds.length);
    });

    it('gives templates the arguments of calls as they were written, and says what a template cannot take', async () => {
      const call = {
        id: 'a',
        type: 'function' as const,
        function: { name: 'f', arguments: '{"b": 1.0, "2": 2, "1": [3]}' },
      };
      const conversation = [...messages, { role: 'assistant' as const, content: null, tool_calls: [call] }];
      const asked = async (template: string) => {
        const chatTemplate = new ChatTemplate(model.tokenizer, template);
        const tiny = localModels(
          'tiny',
          new Proxy(model, { get: (it, key) => (key === 'chatTemplate' ? chatTemplate : Reflect.get(it, key, it)) }),
        ).tiny!;
        let prompt = '';
        const complete: typeof tiny.complete = (request) => {
          prompt = model.tokenizer.decode([...request.tokenIds]);
          return tiny.complete(request);
        };
        const { url } = await serve({ tiny: { ...tiny, complete } });
        const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'any', maxRetries: 0 });
        await openai.chat.completions.create({ ...greedy, max_tokens: 1, messages: conversation });
        return prompt;
      };
      const written = '{{ messages[1].tool_calls[0].function.arguments';
      expect(await asked(`${written} | tojson }}`)).toBe('{"b": 1.0, "2": 2, "1": [3]}');
      // As in vLLM: templates that join the arguments as text cannot take the object that transformers gives them.
      await expect(asked(`${written.replace('{{', "{{ 'call:' +")} }}`)).rejects.toMatchObject({
        status: 400,
        code: 'invalid_messages',
        message: expect.stringMatching(/can only concatenate str \(not "dict"\) to str/),
      });
    });

    it('writes JSON of the schema that is asked for', async () => {
      const { openai, failures } = await client();
      const schema = {
        type: 'object',
        properties: { sum: { type: 'integer', minimum: 0, maximum: 99 }, sign: { enum: ['+', '-'] } },
        required: ['sum', 'sign'],
        additionalProperties: false,
      };
      const ask = (response_format: NonNullable<OpenAI.ChatCompletionCreateParams['response_format']>, fields = {}) =>
        openai.chat.completions.create({
          model: 'tiny',
          messages,
          seed: 1,
          max_tokens: 100,
          response_format,
          ...fields,
        });
      const answer = await ask({ type: 'json_schema', json_schema: { name: 'sum', schema } });
      const { sum, sign } = JSON.parse(answer.choices[0]!.message.content!);
      expect(Number.isInteger(sum) && ['+', '-'].includes(sign)).toBe(true);
      expect(answer.choices[0]!.finish_reason).toBe('stop');
      const any = await ask({ type: 'json_object' }, { max_tokens: 3 });
      expect(any.choices[0]!.message.content).toMatch(/^\s*\{/);
      const wrong = ask({ type: 'json_schema', json_schema: { name: 'x', schema: { type: 'nonsense' } } });
      await expect(wrong).rejects.toMatchObject({ status: 400, code: 'invalid_constraint' });
      expect(failures).toEqual([]);
    });

    it('calls a function when it must', async () => {
      const { openai } = await client();
      const city = {
        type: 'object',
        properties: { city: { enum: ['Rome', 'Oslo'] } },
        required: ['city'],
        additionalProperties: false,
      };
      const tools = ['weather', 'news'].map((name) => ({
        type: 'function' as const,
        function: { name, parameters: city },
      }));
      const ask = (tool_choice: OpenAI.ChatCompletionToolChoiceOption) =>
        openai.chat.completions.create({ model: 'tiny', messages, seed: 2, max_tokens: 150, tools, tool_choice });
      const named = await ask({ type: 'function', function: { name: 'news' } });
      for (const { choices } of [named, await ask('required')]) {
        const [{ message, finish_reason }] = choices as [OpenAI.ChatCompletion.Choice];
        expect([message.content, finish_reason]).toEqual([null, 'tool_calls']);
        const [call] = message.tool_calls as [OpenAI.ChatCompletionMessageFunctionToolCall];
        expect(['weather', 'news']).toContain(call.function.name);
        expect(['Rome', 'Oslo']).toContain(JSON.parse(call.function.arguments).city);
      }
      expect(named.choices[0]!.message.tool_calls).toMatchObject([{ function: { name: 'news' } }]);
    });

    it('counts what is biased and reports what else could have come', async () => {
      const { openai } = await client();
      const token = model.tokenizer.encode('x', { addSpecialTokens: false })[0]!;
      const { choices } = await openai.chat.completions.create({
        ...greedy,
        messages,
        max_tokens: 3,
        logit_bias: { [token]: 100 },
        logprobs: true,
        top_logprobs: 4,
      });
      expect(choices[0]!.message.content).toBe('xxx');
      for (const { top_logprobs } of choices[0]!.logprobs!.content!) {
        const values = top_logprobs.map(({ logprob }) => logprob);
        expect(values.length).toBe(4);
        expect([...values].sort((a, b) => b - a)).toEqual(values);
      }
      const penalised = await openai.completions.create({
        ...greedy,
        prompt: 'One',
        frequency_penalty: 2,
        presence_penalty: 2,
      });
      expect(penalised.choices[0]!.finish_reason).toBe('length');
    });

    it('says what a request asks too much of it', async () => {
      const { openai, failures } = await client();
      const long = [{ role: 'user' as const, content: 'one '.repeat(1200) }];
      await expect(openai.chat.completions.create({ ...greedy, messages: long })).rejects.toMatchObject({
        status: 400,
        code: 'context_length_exceeded',
        param: 'messages',
      });
      const refused = openai.completions.create({ ...greedy, prompt: 'one '.repeat(1200) });
      await expect(refused).rejects.toMatchObject({ status: 400, code: 'context_length_exceeded' });
      const tooMuch = openai.chat.completions.create({ ...greedy, messages, max_tokens: 1025 });
      await expect(tooMuch).rejects.toMatchObject({ status: 400, param: 'max_tokens' });
      expect(failures).toEqual([]);
    });
  });

  describe('an embedding model behind the API', () => {
    it('embeds as its embedder does, counts its tokens, and does nothing else', async () => {
      const embedder = await loadEmbedder(join(modelFolder('..'), 'embeddings/bert'));
      const { url, failures } = await serve({ bert: embeddingModel(embedder) });
      const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'any', maxRetries: 0 });
      const input = ['One and one', 'is two'];
      const { data, usage } = await openai.embeddings.create({ model: 'bert', input });
      const expected = await embedder.embed(input);
      expect(data.map(({ embedding }) => Array.from(embedding))).toEqual(expected.map((vector) => Array.from(vector)));
      expect(usage.prompt_tokens).toBe(input.flatMap((text) => embedder.tokenIds(text)).length);
      const long = openai.embeddings.create({ model: 'bert', input: 'one '.repeat(5000) });
      await expect(long).rejects.toMatchObject({ status: 400, code: 'context_length_exceeded' });
      const chat = openai.chat.completions.create({ ...greedy, model: 'bert', messages });
      await expect(chat).rejects.toMatchObject({ status: 400, code: 'unsupported_model' });
      expect(failures).toEqual([]);
    });
  });

  describe('the way of calling tools that a template has', () => {
    it.each([
      ['{% for tool in tools %}{{ tool }}{% endfor %} <tool_call>{"name": …}</tool_call>', 'tags'],
      ['{% if tools %}Respond with JSON {"name": function name, "parameters": {}}{% endif %}', 'json'],
      ['[AVAILABLE_TOOLS]{{ tools }}[TOOL_CALLS]', 'json'],
      ['{% if tools %}<tool_call><function=name></function></tool_call>{% endif %}', 'tags'],
      ['{% if tools %}{{ tools }}<function=name>{"x": 1}</function>{% endif %}', undefined],
      ['{% for message in messages %}{{ message.content }}{% endfor %}', undefined],
      ['{{ tools }}', undefined],
    ])('%s', (template, format) => {
      expect(toolFormatOf({ templates: { default: template } })).toBe(format);
    });
  });
});

const packages = join(import.meta.dirname, '../..');

it('posttrain-serve loads adapter folders and answers with the one that a request names', async () => {
  setEngine(onnxruntimeEngine());
  const folder = await mkdtemp(join(tmpdir(), 'posttrain-serve-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const tokenizer = await Tokenizer.load(join(packages, '../goldens/tokenizers/byte-level-bpe'));
  const config = parseModelConfig({
    model_type: 'llama',
    vocab_size: tokenizer.vocabSize,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 64,
    initializer_range: 0.4,
    bos_token_id: null,
    eos_token_id: null,
  });
  const model = await CausalLM.initialize({ config, tokenizer, name: 'tiny' }, 3);
  await model.save(join(folder, 'tiny'));
  const fresh = await createAdapter(model, lora, { r: 2, targetModules: ['q_proj', 'down_proj'] });
  const trained = Object.entries(fresh.parameters).map(([name, x], i) => [
    name,
    normal(Key.fromSeed(i).toTensor(), x.shape).mul(2),
  ]);
  const adapter = withAdapterParameters(fresh, Object.fromEntries(trained));
  await saveAdapter(join(folder, 'adapter'), adapter);

  const cli = join(packages, 'serve/src/cli.ts');
  const args = [join(folder, 'tiny'), '--port', '0', '--adapter', `tuned=${join(folder, 'adapter')}`];
  const child = spawn(process.execPath, ['--import', 'tsx', cli, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const url = /^Serving tiny, tuned at (\S+)$/.exec(line)![1];
  const ask = async (name: string): Promise<string> => {
    const response = await fetch(`${url}/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: name, prompt: 'One', max_tokens: 8, temperature: 0 }),
    });
    const { choices } = (await response.json()) as { choices: { text: string }[] };
    return choices[0]!.text;
  };
  const request = { prompt: 'One', maxTokens: 8, temperature: 0 };
  const [base] = await new LocalGenerator(model).generate([request]);
  const [tuned] = await new LocalGenerator(model, { adapter: () => adapter }).generate([request]);
  expect(tuned![0]!.text).not.toBe(base![0]!.text);
  expect(await ask('tiny')).toBe(base![0]!.text);
  expect(await ask('tuned')).toBe(tuned![0]!.text);
});
