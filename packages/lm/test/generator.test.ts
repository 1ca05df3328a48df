import { referenceEngine, setEngine } from '@posttrain/core-tensor';
import type { Completion, GenerateRequest } from '@posttrain/interfaces';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  CausalLM,
  hiddenStates,
  LocalEmbedder,
  LocalGenerator,
  LocalScorer,
  loadModelConfig,
  SearchGenerator,
  type StreamEvent,
  sequenceLogProbs,
  ValueModel,
} from '../src/index.js';
import { EMPTY_GENERATION_CONFIG, largestDifference, tinyModel } from './support.js';

beforeAll(() => setEngine(referenceEngine()));

/** One completion of one request. */
async function complete(model: CausalLM, request: GenerateRequest, options = {}): Promise<Completion> {
  const [completions] = await new LocalGenerator(model, options).generate([request]);
  return completions![0]!;
}

async function streamAll(model: CausalLM, request: GenerateRequest): Promise<StreamEvent[]> {
  const events: StreamEvent[] = [];
  for await (const event of new LocalGenerator(model).stream(request)) events.push(event);
  return events;
}

const sampled = { temperature: 1, maxTokens: 24 } as const;

describe('generate', () => {
  it('samples and counts', async () => {
    const model = await tinyModel();
    const { text, tokenIds, usage, logProbs, finishReason } = await complete(model, {
      prompt: 'One and one is',
      logProbs: true,
      seed: 5,
      ...sampled,
    });
    expect(finishReason).toBe('length');
    const promptTokens = model.tokenizer.encode('One and one is').length;
    expect(usage).toEqual({ promptTokens, cachedPromptTokens: 0, completionTokens: 24 });
    expect(tokenIds!.length).toBe(24);
    expect(logProbs!.length).toBe(24);
    expect(text).toBe(model.tokenizer.decode(tokenIds!, { skipSpecialTokens: true }));
    const sequence = [...model.tokenizer.encode('One and one is'), ...tokenIds!];
    const [scored] = await sequenceLogProbs(model, [sequence]);
    expect(largestDifference(scored!.logProbs.subarray(-24), logProbs!)).toBeLessThan(1e-4);
    const again = await complete(model, { prompt: 'One and one is', seed: 5, ...sampled });
    expect(again).not.toHaveProperty('logProbs');
    // All that the cache had but the last, whose logits are needed.
    expect(again.usage.cachedPromptTokens).toBe(promptTokens - 1);
  });

  it('forgets an adapter when what is asked for with it has ended, and keeps nothing of it', async () => {
    const generator = new LocalGenerator(await tinyModel());
    const adapter = { name: 'one', parameters: {}, hooks: () => ({}) };
    const request = { prompt: 'One and one is', seed: 5, adapter, ...sampled };
    const cached = async () => {
      const [[{ usage }]] = (await generator.generate([{ ...request, maxTokens: 1 }])) as [[Completion]];
      return usage.cachedPromptTokens;
    };
    expect(await cached()).toBe(0);
    expect(await cached()).toBeGreaterThan(0);
    const running = generator.generate([request, { ...request, seed: 6, maxTokens: 2 }]);
    await generator.forget(adapter);
    expect(generator.load).toEqual({ waiting: 0, active: 0 });
    expect((await running).flat().map(({ usage }) => usage.completionTokens)).toEqual([24, 2]);
    expect(await cached()).toBe(0);
  });

  it('numbers seeds: sample i of seed s is sample 0 of seed s + i, in any company', async () => {
    const model = await tinyModel();
    const request = { prompt: 'A', ...sampled, maxTokens: 8 };
    const [many, other] = await new LocalGenerator(model, { maxBatch: 3 }).generate([
      { ...request, n: 4, seed: 20 },
      { ...request, prompt: 'Something else', seed: 20 },
    ]);
    expect(other!.length).toBe(1);
    for (const [i, sample] of many!.entries()) {
      expect((await complete(model, { ...request, seed: 20 + i })).tokenIds).toEqual(sample.tokenIds);
    }
    expect(new Set(many!.map(({ text }) => text)).size).toBe(4);
  });

  it('goes on from request to request without a seed, and repeats with the same generator seed', async () => {
    const model = await tinyModel();
    const request = { prompt: 'A', ...sampled, maxTokens: 8 };
    const run = async (seed: number) => {
      const generator = new LocalGenerator(model, { seed });
      const calls = [await generator.generate([request, request]), await generator.generate([request])];
      return calls.flat(2).map(({ tokenIds }) => tokenIds!.join());
    };
    const texts = await run(1);
    expect(new Set(texts).size).toBe(3);
    expect(await run(1)).toEqual(texts);
    expect(await run(2)).not.toEqual(texts);
  });

  it('is greedy at temperature 0', async () => {
    const model = await tinyModel();
    const { tokenIds } = await complete(model, { prompt: 'A', temperature: 0, maxTokens: 6, seed: 1 });
    const [scored] = await sequenceLogProbs(model, [[...model.tokenizer.encode('A'), ...tokenIds!]]);
    expect([...scored!.isGreedy.subarray(-6)]).toEqual([1, 1, 1, 1, 1, 1]);
  });

  it('stops before a stop string, wherever tokens end', async () => {
    const model = await tinyModel();
    const request = { prompt: 'A', seed: 8, ...sampled, maxTokens: 40 };
    const { text, tokenIds } = await complete(model, request);
    // From the middle of one token to the middle of another, in whole characters.
    const textOf = (count: number) => model.tokenizer.decode(tokenIds!.slice(0, count));
    const ends = new Set(tokenIds!.map((_, i) => textOf(i + 1).length));
    const from = Array.from(text, (_, i) => i).find(
      (i) => i > 10 && !ends.has(i) && !ends.has(i + 5) && !text.slice(i - 1, i + 6).includes('\uFFFD'),
    )!;
    const stop = text.slice(from, from + 5);
    expect(stop.length).toBe(5);
    const stopped = await complete(model, { ...request, stop: ['never to be seen', stop] });
    expect(stopped.text).toBe(text.slice(0, text.indexOf(stop)));
    expect(stopped.stop).toBe(stop);
    const whole = await complete(model, { ...request, stop: [stop], includeStop: true });
    expect(whole).toMatchObject({ text: stopped.text + stop, stop, tokenIds: stopped.tokenIds });
    expect(await complete(model, request)).toMatchObject({ finishReason: 'length', stop: null });
    expect(stopped.finishReason).toBe('stop');
    expect(stopped.tokenIds).toEqual(tokenIds!.slice(0, stopped.tokenIds!.length));
    expect(stopped.usage.completionTokens).toBe(tokenIds!.findIndex((_, i) => textOf(i + 1).includes(stop)) + 1);
  });

  it('ends at an end token, which counts but has no text, special or not', async () => {
    const model = await tinyModel();
    const request = { prompt: 'A', seed: 8, ...sampled };
    const { tokenIds } = await complete(model, request);
    const end = tokenIds!.findIndex((id) => !model.tokenizer.specialIds.has(id) && tokenIds!.indexOf(id) >= 3);
    const ending = new CausalLM({
      ...model,
      generationConfig: { ...EMPTY_GENERATION_CONFIG, eosTokenIds: [tokenIds![end]!] },
    });
    const ended = await complete(ending, request);
    expect(ended.finishReason).toBe('stop');
    // An end of the model's own, which no stop string is.
    expect((await complete(ending, { ...request, stop: ['never to be seen'] })).stop).toBeNull();
    expect(ended.tokenIds).toEqual(tokenIds!.slice(0, end + 1));
    expect(ended.text).toBe(model.tokenizer.decode(tokenIds!.slice(0, end), { skipSpecialTokens: true }));
  });

  it('takes only end tokens and max_new_tokens from generation_config.json', async () => {
    const model = await tinyModel();
    const generationConfig = { ...EMPTY_GENERATION_CONFIG, maxNewTokens: 5, temperature: 0.1, topK: 1, doSample: true };
    const configured = new CausalLM({ ...model, generationConfig });
    const request = { prompt: 'A', seed: 8 };
    const { tokenIds } = await complete(configured, request);
    expect(tokenIds).toEqual((await complete(model, { ...request, maxTokens: 5 })).tokenIds);
    expect((await complete(configured, request, { maxTokens: 3 })).tokenIds!.length).toBe(3);
    expect((await complete(configured, { ...request, maxTokens: 2 }, { maxTokens: 3 })).tokenIds!.length).toBe(2);
  });

  it('ends at the end of the context', async () => {
    const model = await tinyModel('byte-level-bpe', { max_position_embeddings: 12 });
    const { usage, finishReason } = await complete(model, { prompt: 'A', seed: 8, maxTokens: 500 });
    expect(usage.promptTokens + usage.completionTokens).toBe(12);
    expect(finishReason).toBe('length');
    const request = { prompt: 'a far too long prompt '.repeat(9) };
    await expect(new LocalGenerator(model).generate([{ prompt: 'A' }, request])).rejects.toThrow(
      /request 1 has \d+ tokens/,
    );
  });

  it('continues a prefix: text as one text, a conversation inside the assistant’s message', async () => {
    const model = await tinyModel();
    const request = { seed: 8, ...sampled, maxTokens: 6 };
    const joined = await complete(model, { ...request, prompt: 'Two and two' });
    const split = await complete(model, { ...request, prompt: 'Two', prefix: ' and two' });
    expect({ ...split, usage: joined.usage }).toEqual(joined);
    expect(split.usage).toEqual({ ...joined.usage, cachedPromptTokens: joined.usage.promptTokens - 1 });
    const messages = [{ role: 'user', content: '2 + 2?' }];
    const chat = await complete(model, { ...request, prompt: messages, prefix: 'It is' });
    const header = model.chatTemplate!.renderChat(messages, { addGenerationPrompt: true });
    const opened = model.tokenizer.encode(`${header.text}It is`, { addSpecialTokens: false });
    expect(chat.usage.promptTokens).toBe(opened.length);
    const [scored] = await sequenceLogProbs(model, [[...opened, ...chat.tokenIds!]]);
    const reported = await complete(model, { ...request, prompt: messages, prefix: 'It is', logProbs: true });
    expect(largestDifference(scored!.logProbs.subarray(-6), reported.logProbs!)).toBeLessThan(1e-4);
    const base = new CausalLM({ ...model, chatTemplate: undefined });
    await expect(complete(base, { ...request, prompt: messages })).rejects.toThrow(/tiny has no chat template/);
  });

  it.each(['byte-level-bpe', 'sentencepiece-bpe', 'unigram'])(
    '%s: prompt and completion are one text',
    async (kind) => {
      const model = await tinyModel(kind);
      const prompt = 'The answer';
      const [completions] = await new LocalGenerator(model).generate([{ prompt, n: 24, seed: 3, maxTokens: 3 }]);
      // Bytes that make no character are decoded differently one by one.
      const whole = completions!.filter(({ text }) => !text.includes('\uFFFD'));
      expect(whole.filter(({ text }) => text.startsWith(' ')).length).toBeGreaterThan(0);
      for (const { text, tokenIds } of whole) {
        const tokens = [...model.tokenizer.encode(prompt), ...tokenIds!];
        expect(prompt + text).toBe(model.tokenizer.decode(tokens, { skipSpecialTokens: true }));
      }
    },
  );

  it('gives what there is when the signal fires, and nothing to those that had not begun', async () => {
    const model = await tinyModel();
    const request = { prompt: 'A', seed: 8, ...sampled, maxTokens: 30 };
    const aborted = await complete(model, { ...request, signal: AbortSignal.abort() });
    expect(aborted).toMatchObject({ text: '', finishReason: 'abort', tokenIds: [] });
    let questions = 0;
    // Fires at a moment that does not depend on time.
    const signal = {
      get aborted() {
        return ++questions > 20;
      },
    } as AbortSignal;
    const results = await new LocalGenerator(model).generate([{ ...request, signal }, request]);
    const [cut, whole] = results.map(([completion]) => completion!);
    expect(cut!.finishReason).toBe('abort');
    expect(cut!.tokenIds!.length).toBeGreaterThan(0);
    expect(cut!.tokenIds!.length).toBeLessThan(30);
    expect(cut!.tokenIds).toEqual(whole!.tokenIds!.slice(0, cut!.tokenIds!.length));
    expect(whole!.tokenIds!.length).toBe(30);
  });

  it('goes on from what was begun with the random numbers of each place: cut anywhere, the completion is the same', async () => {
    const model = await tinyModel();
    const request = {
      prompt: 'One and one is',
      seed: 5,
      logProbs: true,
      ...sampled,
      maxTokens: 12,
      repetitionPenalty: 1.3,
    };
    const whole = await complete(model, request);
    for (const cut of [1, 5, 11]) {
      const first = await complete(model, { ...request, maxTokens: cut });
      expect(first.tokenIds).toEqual(whole.tokenIds!.slice(0, cut));
      const begun = { tokenIds: first.tokenIds!, logProbs: first.logProbs! };
      const { logProbs, ...resumed } = await complete(model, { ...request, begun } as GenerateRequest);
      expect(resumed).toMatchObject({ text: whole.text, tokenIds: whole.tokenIds, finishReason: 'length' });
      expect(largestDifference(logProbs!, whole.logProbs!)).toBeLessThan(1e-5);
    }
    // A stop string that what was begun has the first half of.
    const stop = [whole.text.slice(3, 6)];
    const stopped = await complete(model, { ...request, stop });
    const begun = { tokenIds: whole.tokenIds!.slice(0, 1), logProbs: whole.logProbs!.slice(0, 1) };
    expect((await complete(model, { ...request, stop, begun } as GenerateRequest)).text).toBe(stopped.text);
  });

  it.each([
    [{ begun: { tokenIds: [1], logProbs: [0] }, n: 2 }, /n is 2; it must be 1 with begun/],
    [{ begun: { tokenIds: [1] } }, /with logProbs one for each/],
    [{ begun: { tokenIds: [1, 2], logProbs: [0, 0] }, maxTokens: 2 }, /has 2 tokens, and maxTokens is 2/],
    [{ begun: { tokenIds: [1, 2 ** 20], logProbs: [0, 0] } }, /1048576 at place/],
    [{ begun: { tokenIds: [1], logProbs: [0] }, entropies: true }, /entropies is true; it must be left out with begun/],
  ])('refuses a beginning that it cannot go on from: %j', async (more, problem) => {
    const request = { prompt: 'A', seed: 1, logProbs: true, ...sampled, ...more } as GenerateRequest;
    await expect(complete(await tinyModel(), request)).rejects.toThrow(problem);
  });

  it('is frozen by pause, whoever leaves meanwhile, and resumed with the same tokens', async () => {
    const model = await tinyModel();
    const request = { prompt: 'One and one is', seed: 5, ...sampled };
    const whole = await complete(model, request);
    const generator = new LocalGenerator(model);
    await generator.pause();
    const controller = new AbortController();
    const events = generator.generate([request]);
    const left = generator.generate([{ ...request, signal: controller.signal }]);
    controller.abort();
    expect((await left)[0]![0]).toMatchObject({ finishReason: 'abort', tokenIds: [] });
    expect(generator.load).toEqual({ waiting: 1, active: 0 });
    generator.resume();
    expect((await events)[0]![0]).toMatchObject({ text: whole.text, tokenIds: whole.tokenIds });
  });

  it('refuses what it does not know', async () => {
    const model = await tinyModel();
    const run = (options: object) => complete(model, { prompt: 'A', maxTokens: 1, ...options });
    await expect(run({ top_k: 3 })).rejects.toThrow(/unknown option "top_k". Did you mean "topK"/);
    await expect(run({ n: 0 })).rejects.toThrow(/n is 0; it must be a whole number of at least 1/);
    await expect(run({ seed: -1 })).rejects.toThrow(/seed/);
    await expect(run({ stop: [''] })).rejects.toThrow(/must not be empty/);
    expect(() => new LocalGenerator(model, { batch: 3 } as object)).toThrow(/unknown option "batch"/);
    await expect(streamAll(model, { prompt: 'A', n: 2 })).rejects.toThrow(/one completion at a time/);
  });
});

describe('stream', () => {
  it.each(['byte-level-bpe', 'sentencepiece-bpe', 'unigram'])('%s: joins to what generate gives', async (kind) => {
    const model = await tinyModel(kind, {}, 5);
    // Random tokens are often parts of characters, so this crosses many of their borders.
    for (const seed of [1, 2, 3]) {
      const request = { prompt: 'A', seed, ...sampled, maxTokens: 60, logProbs: true };
      const whole = await complete(model, request);
      const stop = [whole.text.slice(-6, -2)];
      for (const asked of [request, { ...request, stop }]) {
        const events = await streamAll(model, asked);
        const expected = await complete(model, asked);
        expect(events.map(({ text }) => text).join('')).toBe(expected.text);
        expect(events.map(({ tokenId }) => tokenId)).toEqual(expected.tokenIds);
        expect(events.map(({ logProb }) => logProb)).toEqual(expected.logProbs);
        expect(events.map(({ finishReason }) => finishReason)).toEqual([
          ...new Array(events.length - 1).fill(undefined),
          expected.finishReason,
        ]);
      }
    }
  });

  it('gives text as it comes, and nothing more once its reader has gone or fired the signal', async () => {
    const model = await tinyModel();
    const controller = new AbortController();
    const request = { prompt: 'A', seed: 8, ...sampled, maxTokens: 200, signal: controller.signal };
    const events: StreamEvent[] = [];
    for await (const event of new LocalGenerator(model).stream(request)) {
      events.push(event);
      if (events.length === 5) controller.abort();
    }
    expect(events.length).toBe(5);
    expect(events[0]!.text).not.toBe('');
    for await (const event of new LocalGenerator(model).stream({ ...request, signal: new AbortController().signal })) {
      events.push(event);
      break;
    }
    expect(events.length).toBe(6);
  });
});

describe('a request that cannot be right', () => {
  it('rejects the whole call by its number, before anything is generated for the others', async () => {
    const model = await tinyModel();
    let asked = 0;
    const hook = () => {
      asked++;
      return {};
    };
    const good = { prompt: 'A', maxTokens: 2, hook };
    for (const [bad, message] of [
      [{ prompt: 5 }, 'request 1: generate: prompt is 5'],
      [{ prompt: 'A', maxNewTokens: 1 }, 'request 1: generate: unknown option "maxNewTokens"'],
      [{ prompt: 'A', topP: 2 }, 'request 1: generate: topP is 2; it must be a number of at most 1 and above 0'],
      [{ prompt: 'A '.repeat(300) }, 'request 1 has '],
    ] as const) {
      const generator = new LocalGenerator(model);
      await expect(generator.generate([good, bad as never])).rejects.toThrow(message);
      expect(generator.load).toEqual({ waiting: 0, active: 0 });
    }
    // Made for the good request each time, and never asked for a token.
    expect(asked).toBe(4);
    const generator = new LocalGenerator(model);
    const apart = await Promise.allSettled([good, { prompt: 5 }].map((one) => generator.generate([one as never])));
    expect(apart.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });
});

describe('arguments that cannot be meant', () => {
  it('are refused by name', async () => {
    const model = await tinyModel();
    const generator = new LocalGenerator(model);
    const refused = (message: string) => ({ code: 'INVALID_OPTION', message: expect.stringContaining(message) });
    for (const [requests, message] of [
      ['hello', 'generate: requests is "hello"; it must be a list of requests'],
      [{ prompt: 'a' }, 'generate: requests is an object with prompt'],
      [[{}], 'generate: prompt is undefined; it must be a text'],
      [[{ prompt: 5 }], 'generate: prompt is 5'],
      [[{ prompt: 'a', stop: 5 }], 'generate: stop is 5; it must be a list of texts'],
      [[{ prompt: 'a', seed: 'a' }], 'generate: seed is "a"; it must be a whole number from 0'],
      [[{ prompt: 'a', seed: -1 }], 'generate: seed is -1'],
      [[{ prompt: 'a', seed: 0.5 }], 'generate: seed is 0.5'],
    ] as const) {
      const error = await generator.generate(requests as never).catch((cause: unknown) => cause);
      expect(error).toMatchObject(refused(message));
    }
    for (const [request, code, message] of [
      [{ max_new_tokens: 5 }, 'UNKNOWN_OPTION', 'unknown option "max_new_tokens". It is called "maxTokens" here.'],
      [{ maxNewTokens: 5 }, 'UNKNOWN_OPTION', 'It is called "maxTokens" here.'],
      [{ num_return_sequences: 5 }, 'UNKNOWN_OPTION', 'It is called "n" here.'],
      [{ do_sample: false }, 'UNKNOWN_OPTION', 'temperature: 0 is greedy.'],
      [{ numBeams: 4 }, 'UNKNOWN_OPTION', "model.search({ method: 'beamSearch'"],
      [{ n: '2' }, 'INVALID_OPTION', 'n is "2"; it must be a whole number'],
      [{ maxTokens: '2' }, 'INVALID_OPTION', 'maxTokens is "2"; it must be a whole number'],
      [{ topP: '0.5' }, 'INVALID_OPTION', 'topP is "0.5"; it must be a number'],
      [{ temperature: '0.5' }, 'INVALID_OPTION', 'temperature is "0.5"; it must be a number'],
      [{ logitBias: { 1: '2' } }, 'INVALID_OPTION', 'logitBias is '],
    ] as const) {
      const error = await generator.generate([{ prompt: 'a', ...request } as never]).catch((cause: unknown) => cause);
      expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
    }
    for (const [speculative, message] of [
      [{ draft: { model } }, 'speculative: draft is an object with model; it must be a loaded model'],
      [{ draft: { model } }, 'Give its model itself.'],
      [{ draft: 'tiny' }, 'draft is "tiny"'],
      [{ draft: null }, 'draft is null'],
      [{ promptLookup: 5 }, 'promptLookup is 5; it must be an object'],
      [{ proposer: {} }, 'proposer is an object with no keys; it must be a function that makes a proposer'],
    ] as const) {
      expect(() => new LocalGenerator(model, { speculative: speculative as never })).toThrow(message);
    }
    const made = (...given: unknown[]) => {
      try {
        return new (LocalGenerator as unknown as new (...given: unknown[]) => unknown)(...given);
      } catch (cause) {
        return cause;
      }
    };
    expect(made('model')).toMatchObject(refused('LocalGenerator: model is "model"; it must be a loaded model'));
    expect(made(model, { adapter: {} })).toMatchObject(
      refused('adapter is an object with no keys; it must be a function'),
    );
  });

  it.each<[string, (model: CausalLM) => unknown, string]>([
    [
      'a stream of nothing',
      async (model) => new LocalGenerator(model).stream(undefined as never).next(),
      'stream: options must',
    ],
    [
      'other weights of nothing',
      async (model) => model.withWeights(undefined as never),
      'CausalLM.withWeights: weights is undefined; it must be tensors by their parameter names',
    ],
    [
      'scores of a text',
      (model) => new LocalScorer(model).score('a' as never),
      'score: requests is "a"; it must be a list',
    ],
    ['windows of a text', (model) => new LocalScorer(model).scoreRolling('a' as never), 'scoreRolling: texts is "a"'],
    [
      'log-probs of a text',
      (model) => sequenceLogProbs(model, 'a' as never),
      'logProbs: sequences is "a"; it must be a list of',
    ],
    [
      'states of ids',
      (model) => hiddenStates(model, [1, 2] as never),
      'sequences is [1, 2]; it must be a list of lists',
    ],
    [
      'a search of no method',
      async (model) => new SearchGenerator(model, undefined as never),
      'search: method is undefined',
    ],
    [
      'a search by name',
      async (model) => new SearchGenerator(model, 'beamSearch' as never),
      "{ method: 'beamSearch', numBeams: 4 }",
    ],
    [
      'vectors of a text',
      (model) => new LocalEmbedder(model).embed('a' as never),
      'embed: texts is "a"; it must be a list of texts',
    ],
    ['no ids', async (model) => model.tokenizer.decode(undefined as never), 'Tokenizer.decode: ids is undefined'],
    [
      'a head of no model',
      () => ValueModel.fromCausalLM(undefined as never),
      'ValueModel.fromCausalLM: model is undefined',
    ],
    ['a config of no folder', () => loadModelConfig(undefined as never), 'loadModelConfig: folder is undefined'],
  ])('%s', async (_, misuse, message) => {
    const model = await tinyModel();
    const running = (async () => misuse(model))();
    await expect(running).rejects.toMatchObject({ code: 'INVALID_OPTION', message: expect.stringContaining(message) });
  });
});
