import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
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
  ModelRunner,
  parseModelConfig,
  sequenceLogProbs,
  Tokenizer,
  toolFormatOf,
} from '@posttrain/lm';
import {
  createAdapter,
  ia3,
  lora,
  type PeftAdapter,
  promptTuning,
  saveAdapter,
  withAdapterParameters,
} from '@posttrain/peft';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { largestDifference, modelFolder, tinyModel } from '../../lm/test/support.js';
import { AdapterPrograms } from '../src/adapter-programs.js';
import { embeddingModel, type LocalModelsOptions, localModels } from '../src/index.js';
import { postJson, serve } from './support.js';

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

  describe('adapters that come and go', () => {
    /** Folders of adapters, each of which does something, what `model` says with them, and what is served: all made once. */
    let root: string;
    const said: Record<string, string> = {};
    let models: ReturnType<typeof localModels>;
    beforeAll(async () => {
      root = await mkdtemp(join(tmpdir(), 'adapters-'));
      const moved = async (adapter: PeftAdapter, seed: number): Promise<PeftAdapter> => {
        const parameters = Object.entries(adapter.parameters).map(([key, p], i) => [
          key,
          p.add(normal(Key.fromSeed(seed).child(i).toTensor(), p.shape).mul(0.5)),
        ]);
        return withAdapterParameters(adapter, Object.fromEntries(parameters));
      };
      const config = { r: 2, targetModules: 'all-linear' } as const;
      const made: Record<string, PeftAdapter> = {
        v1: await moved((await createAdapter(model, lora, config)) as PeftAdapter, 1),
        v2: await moved((await createAdapter(model, lora, config)) as PeftAdapter, 2),
        prompt: await moved((await createAdapter(model, promptTuning, { numVirtualTokens: 3 })) as PeftAdapter, 3),
        scales: await moved((await createAdapter(model, ia3)) as PeftAdapter, 4),
      };
      for (const [name, adapter] of Object.entries(made)) {
        await saveAdapter(join(root, name), adapter);
        const [completion] = await alone([{ prompt: 'One and one', temperature: 0, maxTokens: 12 }], {
          adapter: () => adapter,
        });
        said[name] = completion!.text;
      }
      const [completion] = await alone([{ prompt: 'One and one', temperature: 0, maxTokens: 12 }]);
      said.tiny = completion!.text;
      expect(new Set(Object.values(said)).size).toBe(5);
      models = localModels('tiny', model);
    });
    afterAll(() => rm(root, { recursive: true }));

    async function served() {
      const { url, failures } = await serve(models, { adapterFolder: root, maxAdapters: 3 });
      const change = async (verb: 'load' | 'unload', name: string, path?: string, more: object = {}) => {
        const body = { lora_name: name, ...(path !== undefined && { lora_path: path }), ...more };
        const response = await postJson(`${url}/v1/${verb}_lora_adapter`, body);
        return { status: response.status, text: await response.text() };
      };
      const ask = async (name: string) => {
        const response = await postJson(`${url}/v1/completions`, { ...greedy, model: name, prompt: 'One and one' });
        if (response.status !== 200) return response.status;
        return ((await response.json()) as { choices: { text: string }[] }).choices[0]!.text;
      };
      return { url, failures, change, ask };
    }

    it('as vLLM has it: loaded, listed, replaced and unloaded, of any method', async () => {
      const { url, change, ask } = await served();
      expect(await change('load', 'a', join(root, 'v1'))).toEqual({
        status: 200,
        text: "Success: LoRA adapter 'a' added successfully.",
      });
      for (const name of ['prompt', 'scales']) expect((await change('load', name, name)).status).toBe(200);
      const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: Record<string, unknown>[] };
      expect(data.map(({ id, root: from, parent, max_model_len: length }) => [id, from, parent, length])).toEqual([
        ['tiny', 'tiny', null, 1024],
        ['a', join(root, 'v1'), 'tiny', 1024],
        ['prompt', 'prompt', 'tiny', 1021],
        ['scales', 'scales', 'tiny', 1024],
      ]);
      // One batch of all kinds.
      const answers = await Promise.all(['a', 'prompt', 'scales', 'tiny'].map(ask));
      expect(answers).toEqual([said.v1, said.prompt, said.scales, said.tiny]);
      const again = await change('load', 'a', 'v2');
      expect(again.status).toBe(400);
      expect(JSON.parse(again.text).error).toMatchObject({
        type: 'InvalidUserInput',
        message:
          "The lora adapter 'a' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.",
      });
      expect((await change('load', 'a', 'v2', { load_inplace: true })).status).toBe(200);
      expect(await ask('a')).toBe(said.v2);
      expect(await change('unload', 'a')).toEqual({
        status: 200,
        text: "Success: LoRA adapter 'a' removed successfully.",
      });
      expect(await ask('a')).toBe(404);
      const gone = await change('unload', 'a');
      expect([gone.status, JSON.parse(gone.text).error]).toMatchObject([
        404,
        { type: 'NotFoundError', message: "The lora adapter 'a' cannot be found." },
      ]);
    });

    it('says which weights each sample is of', async () => {
      const { url, change } = await served();
      const versionOf = async (model: string) => {
        const body = { ...greedy, model, prompt: 'One and one', n: 2, return_token_ids: true };
        const response = await postJson(`${url}/v1/completions`, body);
        const { choices } = (await response.json()) as { choices: { text: string; weight_version: string }[] };
        expect(new Set(choices.map(({ weight_version }) => weight_version)).size).toBe(1);
        return [choices[0]!.weight_version, choices[0]!.text];
      };
      expect((await change('load', 'a', 'v1', { weight_version: 'step 1' })).status).toBe(200);
      expect(await versionOf('a')).toEqual(['step 1', said.v1]);
      // Unsaid, each has another.
      expect((await change('load', 'a', 'v2', { load_inplace: true })).status).toBe(200);
      const [second] = await versionOf('a');
      expect((await change('load', 'a', 'v2', { load_inplace: true })).status).toBe(200);
      expect(new Set(['step 1', second, (await versionOf('a'))[0]]).size).toBe(3);
      expect(await versionOf('tiny')).toEqual(['default', said.tiny]);
      expect((await change('load', 'b', 'v1', { weight_version: 'x'.repeat(201) })).status).toBe(400);
    });

    it('finishes what was asked with the adapter that it had', async () => {
      const { url, change, ask } = await served();
      await change('load', 'a', 'v1');
      const body = { ...greedy, model: 'a', prompt: 'One and one', stream: true };
      const response = await postJson(`${url}/v1/completions`, body);
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      let events = (await reader.read()).value!;
      expect((await change('load', 'a', 'v2', { load_inplace: true })).status).toBe(200);
      const replaced = ask('a');
      expect((await change('unload', 'a')).status).toBe(200);
      for (let next = await reader.read(); !next.done; next = await reader.read()) events += next.value;
      const texts = [...events.matchAll(/"text":("(?:[^"\\]|\\.)*")/g)].map(([, text]) => JSON.parse(text!) as string);
      expect(texts.join('')).toBe(said.v1);
      expect(events.endsWith('data: [DONE]\n\n')).toBe(true);
      expect(await replaced).toBe(said.v2);
    });

    it('changes under traffic: every answer is what one of the adapters of its name says, or that there is none', async () => {
      const { failures, change, ask } = await served();
      let isOver = false;
      const seen: Record<string, Set<unknown>> = { tiny: new Set(), a: new Set(), b: new Set() };
      const client = async (name: string) => {
        while (!isOver) seen[name]!.add(await ask(name));
      };
      const clients = ['tiny', 'a', 'b'].map(client);
      const rounds = async (name: string, paths: readonly string[]) => {
        for (let i = 0; i < 2; i++) {
          for (const path of paths) {
            expect((await change('load', name, path, { load_inplace: true })).status).toBe(200);
            await ask(name);
          }
          expect((await change('unload', name)).status).toBe(200);
        }
      };
      await Promise.all([rounds('a', ['v1', 'v2']), rounds('b', ['v2', 'v1'])]);
      isOver = true;
      await Promise.all(clients);
      const allowed = { tiny: [said.tiny], a: [said.v1, said.v2, 404], b: [said.v1, said.v2, 404] };
      for (const [name, answers] of Object.entries(allowed)) {
        expect(answers, name).toEqual(expect.arrayContaining([...seen[name]!]));
        expect(seen[name]!.size, name).toBeGreaterThan(name === 'tiny' ? 0 : 1);
      }
      expect(failures).toEqual([]);
    });

    it('refuses what is not allowed, not there or no adapter, and goes on', async () => {
      const { url, change, ask } = await served();
      const outside = await mkdtemp(join(tmpdir(), 'outside-'));
      onTestFinished(() => rm(outside, { recursive: true }));
      await cp(join(root, 'v1'), join(outside, 'v1'), { recursive: true });
      await symlink(join(outside, 'v1'), join(root, 'link'));
      await mkdir(join(root, 'files'));
      for (const file of ['adapter_config.json', 'adapter_model.safetensors']) {
        await symlink(join(outside, 'v1', file), join(root, 'files', file));
      }
      await cp(join(root, 'v1'), join(root, 'broken'), { recursive: true });
      await writeFile(join(root, 'broken', 'adapter_model.safetensors'), 'nothing');
      await mkdir(join(root, 'mixture'));
      const mixture = { peft_type: 'XLORA', adapters: { 0: join(outside, 'v1') } };
      await writeFile(join(root, 'mixture', 'adapter_config.json'), JSON.stringify(mixture));
      await mkdir(join(root, 'links'));
      const linked = { peft_type: 'MOLE', adapters: { 0: join(root, 'files') } };
      await writeFile(join(root, 'links', 'adapter_config.json'), JSON.stringify(linked));
      const refused = async (status: number, problem: RegExp, ...[name, path, more]: [string, string?, object?]) => {
        const answer = await change('load', name, path, more);
        expect([answer.status, answer.text], path).toEqual([status, expect.stringMatching(problem)]);
      };
      for (const path of [
        join(outside, 'v1'),
        `../${basename(outside)}/v1`,
        'link',
        'files',
        'mixture',
        'links',
        '/etc',
        '..',
      ]) {
        await refused(403, /outside of the folder/, 'a', path);
      }
      await refused(
        404,
        /Loading lora a failed: No adapter found for none\. Paths are of the folder of adapters \('[\w-]+'\)/,
        'a',
        'none',
      );
      await refused(404, /No adapter found/, 'a', '.');
      await refused(404, /No adapter found/, 'a', 'v1\0');
      await refused(400, /Loading lora a failed: .*adapter_model\.safetensors/, 'a', 'broken');
      await refused(400, /Both 'lora_name' and 'lora_path' must be provided/, 'a');
      await refused(400, /Both 'lora_name' and 'lora_path'/, '', 'v1');
      await refused(400, /name of a model that is served/, 'tiny', 'v1', { load_inplace: true });
      await refused(400, /'other' takes no adapters.*tiny/, 'a', 'v1', { base_model_name: 'other' });
      await refused(400, /Did you mean 'load_inplace'/, 'a', 'v1', { load_in_place: true });
      await refused(400, /lora_path/, 'a', 7 as never);
      const head = { 'content-type': 'text/plain' };
      expect((await postJson(`${url}/v1/load_lora_adapter`, {}, { headers: head })).status).toBe(415);
      expect((await fetch(`${url}/v1/load_lora_adapter`)).status).toBe(405);
      for (const name of ['a', 'b', 'c']) expect((await change('load', name, 'v1')).status).toBe(200);
      await refused(400, /There are 3 adapters, and maxAdapters is 3; unload one first/, 'd', 'v2');
      expect((await change('unload', '')).status).toBe(400);
      expect((await change('unload', 'tiny')).status).toBe(404);
      expect(await Promise.all(['a', 'b', 'c', 'tiny'].map(ask))).toEqual([said.v1, said.v1, said.v1, said.tiny]);
      const fixed = await serve(models);
      const answer = await postJson(`${fixed.url}/v1/load_lora_adapter`, { lora_name: 'a', lora_path: root });
      expect([answer.status, await answer.text()]).toEqual([404, expect.stringContaining('--adapter-folder')]);
    });

    it('compiles nothing for a version that differs in its numbers only, and keeps nothing of it in the cache', async () => {
      const programs = new AdapterPrograms(model);
      const [one, two] = [await programs.load(join(root, 'v1'), 'a'), await programs.load(join(root, 'v2'), 'b')];
      expect(two.hooks).toBe(one.hooks);
      expect(two.name).toBe('b');
      expect(two.parameters).not.toBe(one.parameters);
      expect((await programs.load(join(root, 'scales'), 'c')).hooks).not.toBe(one.hooks);
      const runner = new ModelRunner(model);
      const computed = async (adapter: Adapter) => {
        const sequence = runner.start([1, 2, 3, 4], adapter);
        const { length } = sequence;
        await runner.extend([{ sequence, tokens: [1, 2, 3, 4].slice(length), adapter }]);
        runner.release(sequence);
        return length;
      };
      expect([await computed(one), await computed(one), await computed(two)]).toEqual([0, 3, 0]);
      await runner.forget(one);
      expect([await computed(one), await computed(two)]).toEqual([0, 3]);
    });
  });

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
