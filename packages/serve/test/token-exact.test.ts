import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { CausalLM, LocalGenerator, sequenceLogProbs } from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import { EMPTY_GENERATION_CONFIG, tinyModel } from '../../lm/test/support.js';
import { openaiCompatibleTokenScorer } from '../../openai/src/index.js';
import { localModels } from '../src/index.js';
import { postJson, scriptedModel, serve } from './support.js';

beforeAll(() => setEngine(onnxruntimeEngine()));

interface Place {
  readonly logprob: number;
  readonly rank: number;
  readonly decoded_token: string;
}
type PromptLogProbs = (Record<string, Place> | null)[];
interface Choice {
  readonly index: number;
  readonly text: string;
  readonly finish_reason: string | null;
  readonly stop_reason?: string | null;
  readonly token_ids?: number[];
  readonly prompt_token_ids?: number[];
  readonly prompt_logprobs?: PromptLogProbs;
  readonly message: { readonly content: string };
}
interface Answer {
  readonly choices: Choice[];
  readonly prompt_token_ids?: number[];
  readonly prompt_logprobs?: PromptLogProbs;
}

async function client(kind = 'byte-level-bpe', end?: number) {
  const made = await tinyModel(kind);
  const ends = { ...EMPTY_GENERATION_CONFIG, eosTokenIds: [end ?? made.tokenizer.vocabSize] };
  const model = new CausalLM({ ...made, generationConfig: ends });
  const { url } = await serve(localModels('m', model), { allowPause: true });
  const post = (path: string, body: object) => postJson(`${url}/v1/${path}`, { model: 'm', seed: 3, ...body });
  const ask = async (path: string, body: object) => {
    const response = await post(path, body);
    const text = await response.text();
    expect(response.status, text).toBe(200);
    return JSON.parse(text) as Answer;
  };
  const events = async (path: string, body: object) => {
    const text = await (await post(path, { ...body, stream: true })).text();
    const lines = text.split('\n\n').filter((line) => line.startsWith('data: {'));
    return lines.map((line) => JSON.parse(line.slice(6)) as Answer);
  };
  return { url, model, post, ask, events };
}

const PROMPTS = [[5, 9, 9, 31], [40], [7, 3, 22, 2, 11]];
const MESSAGES = [{ role: 'user', content: 'Hello there' }];

describe('stop_reason', () => {
  it.each([
    ['completions', { prompt: [5, 9, 9, 31] }],
    ['chat/completions', { messages: MESSAGES }],
  ])('says which stop string ended a choice of %s, whole or streamed; null where none did', async (path, what) => {
    const { ask, events } = await client();
    const asked = { ...what, temperature: 0, max_tokens: 24 };
    const free = await ask(path, asked);
    expect(free.choices[0]).toMatchObject({ finish_reason: 'length', stop_reason: null });
    const text = free.choices[0]!.text ?? free.choices[0]!.message.content;
    const at = text.slice(8, 10);
    const stopped = { ...asked, stop: ['never comes', at] };
    expect((await ask(path, stopped)).choices[0]).toMatchObject({ finish_reason: 'stop', stop_reason: at });
    const ends = (await events(path, stopped)).flatMap(({ choices }) => choices.filter((it) => it.finish_reason));
    expect(ends).toMatchObject([{ finish_reason: 'stop', stop_reason: at }]);
    const longer = (await events(path, asked)).flatMap(({ choices }) => choices.filter((it) => it.finish_reason));
    expect(longer).toMatchObject([{ finish_reason: 'length', stop_reason: null }]);
  });
});

describe('token prompts', () => {
  it('reach the model as they are, one or several, and come back beside what was generated', async () => {
    const { model, ask } = await client();
    const sampling = { temperature: 1, max_tokens: 6, n: 2 };
    const { choices } = await ask('completions', { prompt: PROMPTS, return_token_ids: true, ...sampling });
    expect(choices.map((it) => it.prompt_token_ids)).toEqual(PROMPTS.flatMap((prompt) => [prompt, prompt]));
    const requests = PROMPTS.map((tokenIds) => ({
      prompt: { tokenIds, continuesText: true },
      maxTokens: 6,
      n: 2,
      seed: 3,
    }));
    const wanted = (await new LocalGenerator(model).generate(requests)).flat();
    expect(choices.map(({ text }) => text)).toEqual(wanted.map(({ text }) => text));
    // The tokens that were drawn are more than the text says: the same ids, scored, have the probabilities reported.
    for (const [i, { token_ids }] of choices.entries()) {
      expect(token_ids!.length).toBe(wanted[i]!.usage!.completionTokens);
      expect(model.tokenizer.decode(token_ids!, { skipSpecialTokens: true })).toBe(choices[i]!.text);
    }
    const alone = await ask('completions', { prompt: PROMPTS[2], return_token_ids: true, ...sampling });
    expect(alone.choices.map(({ token_ids }) => token_ids)).toEqual(choices.slice(4).map(({ token_ids }) => token_ids));
  });

  it('may be what was generated before: a completion in two halves is the whole', async () => {
    const { ask } = await client();
    const greedy = { temperature: 0, return_token_ids: true };
    const whole = (await ask('completions', { prompt: PROMPTS[0], max_tokens: 8, ...greedy })).choices[0]!;
    const half = (await ask('completions', { prompt: PROMPTS[0], max_tokens: 4, ...greedy })).choices[0]!;
    const prompt = [...half.prompt_token_ids!, ...half.token_ids!];
    const rest = (await ask('completions', { prompt, max_tokens: 4, ...greedy })).choices[0]!;
    expect([...half.token_ids!, ...rest.token_ids!]).toEqual(whole.token_ids);
  });

  it.each([
    [
      'an id beyond the vocabulary',
      [
        [1, 2],
        [3, 99_999],
      ],
      'prompt[1][1]',
      /0 to \d+, not 99999/,
    ],
    ['a negative id', [1, -1], 'prompt[1]', /not -1/],
    ['a fraction', [1, 1.5], 'prompt[1]', /not 1\.5/],
    ['a text among ids', [1, 'x'], 'prompt[1]', /not "x"/],
    ['an object', [{ ids: [1] }], 'prompt[0]', /token ids of the model/],
    ['no ids', [[1], []], 'prompt', /no tokens/],
  ])('are refused by the place of %s', async (_, prompt, param, problem) => {
    const { post } = await client();
    const response = await post('completions', { prompt });
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: { param: string; message: string } };
    expect(error).toMatchObject({ param, message: expect.stringMatching(problem) });
  });
});

describe('begun', () => {
  it('goes on with the random numbers of the start: cut anywhere, a sampled completion is the whole', async () => {
    const { post, ask } = await client('byte-level-bpe', 7);
    const sampling = { temperature: 1, presence_penalty: 1, frequency_penalty: 0.5, logit_bias: { 7: 2 }, seed: 11 };
    const asked = { ...sampling, logprobs: 0, return_token_ids: true };
    const prompt = PROMPTS[2]!;
    type Drawn = Choice & { logprobs: { token_logprobs: number[] } };
    const draw = async (more: object) => (await ask('completions', { ...asked, ...more })).choices[0] as Drawn;
    const whole = await draw({ prompt, max_tokens: 12 });
    const ids = whole.token_ids!;
    expect(ids.length).toBeGreaterThan(3);
    for (const tokens of [1, 2, ids.length - 1]) {
      const start = [...prompt, ...ids.slice(0, tokens)];
      // The seed of the request is for servers that do not know this field.
      const begun = { tokens, seed: 11 };
      const rest = await draw({ prompt: [start], seed: 5, max_tokens: 12 - tokens, begun });
      expect(rest.token_ids).toEqual(ids.slice(tokens));
      expect(rest.prompt_token_ids).toEqual(start);
      expect([rest.finish_reason, whole.text.endsWith(rest.text)]).toEqual([whole.finish_reason, true]);
      rest.logprobs.token_logprobs.forEach((x, t) => {
        expect(x).toBeCloseTo(whole.logprobs.token_logprobs[tokens + t]!, 4);
      });
    }
    for (const [wrong, problem] of [
      [{ begun: { tokens: 2, seed: 11 }, n: 2 }, /n of 1/],
      [{ begun: { tokens: 2, seed: 11 }, prompt: 'text' }, /prompt of token ids/],
      [{ begun: { tokens: 5, seed: 11 } }, /must be 1 to 4/],
      [{ begun: { tokens: 2 } }, /begun\.seed/],
      [{ begun: { tokens: 2, seed: 1 }, logprobs: 2 }, /logprobs|topLogProbs/],
      [{ begun: { tokens: 2, seed: 1 }, stream: true, logprobs: 2 }, /logprobs|topLogProbs/],
      [{ begun: { tokens: 2, seed: 1, more: 1 } }, /begun\.more/],
      [{ begun: { tokens: 2, seed: 1 }, prompt: [5, 9, 7, 2] }, /ended at place 0/],
    ] as const) {
      const response = await post('completions', { prompt, max_tokens: 4, ...wrong });
      const text = await response.text();
      expect([response.status, text]).toEqual([400, expect.stringMatching(problem)]);
    }
    const { url } = await serve({ a: scriptedModel(() => 'Hello.') });
    const refused = await postJson(`${url}/v1/completions`, {
      model: 'a',
      prompt: [1, 2],
      begun: { tokens: 1, seed: 1 },
    });
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({ error: { param: 'begun', code: 'unsupported_parameter' } });
  });
});

describe('return_token_ids', () => {
  it.each([
    ['completions', { prompt: PROMPTS.slice(0, 2) }],
    ['chat/completions', { messages: MESSAGES }],
  ])('of a stream are those of the whole: %s', async (path, body) => {
    const { model, ask, events } = await client();
    const request = { ...body, return_token_ids: true, temperature: 1, max_tokens: 12, n: 2 };
    const whole = await ask(path, request);
    const streamed = await events(path, request);
    const pieces = streamed.flatMap(({ choices }) => choices);
    for (const { index, token_ids } of whole.choices) {
      const mine = pieces.filter((piece) => piece.index === index);
      expect(mine.flatMap((piece) => piece.token_ids ?? [])).toEqual(token_ids);
      expect(token_ids!.length).toBeGreaterThan(0);
    }
    // The prompt comes once: for each choice of texts, for all choices of a chat.
    const said = [...streamed, ...pieces].flatMap((it) => (it.prompt_token_ids ? [it.prompt_token_ids] : []));
    const wanted = whole.prompt_token_ids ? [whole.prompt_token_ids] : whole.choices.map((it) => it.prompt_token_ids);
    expect(said).toEqual(wanted);
    if (path === 'completions') return;
    const rendered = model.chatTemplate!.renderChat(MESSAGES, { addGenerationPrompt: true }).tokenIds;
    expect(whole.prompt_token_ids).toEqual(rendered);
  });

  it('are not there unless they are asked for, and only from models that know them', async () => {
    const { ask } = await client();
    expect(JSON.stringify(await ask('completions', { prompt: [1, 2] }))).not.toContain('token_ids');
    expect(JSON.stringify(await ask('chat/completions', { messages: MESSAGES }))).not.toContain('token_ids');
    const { url } = await serve({ a: scriptedModel(() => 'Hello.') });
    for (const [field, path] of [
      [{ return_token_ids: true }, 'completions'],
      [{ return_token_ids: true, stream: true }, 'completions'],
      [{ return_token_ids: true, stream: true }, 'chat/completions'],
      [{ prompt_logprobs: 0 }, 'completions'],
    ] as const) {
      const prompt = path === 'completions' ? { prompt: 'x' } : { messages: MESSAGES };
      const response = await postJson(`${url}/v1/${path}`, { model: 'a', ...prompt, ...field });
      expect(response.status).toBe(400);
      const [name] = Object.keys(field);
      expect(await response.json()).toMatchObject({ error: { param: name, code: 'unsupported_parameter' } });
    }
  });
});

describe('log-probabilities of return_token_ids', () => {
  it('are one for each token, the end token among them, whole or streamed', async () => {
    const { model, ask, events } = await client('byte-level-bpe', 7);
    const request = { prompt: PROMPTS[0], n: 4, max_tokens: 30, logprobs: 0, logit_bias: { 7: 6 } };
    const { choices } = await ask('completions', { ...request, return_token_ids: true });
    const streamed = (await events('completions', { ...request, return_token_ids: true })).flatMap((it) => it.choices);
    const ended = choices.filter(({ finish_reason }) => finish_reason === 'stop');
    expect(ended.length).toBeGreaterThan(0);
    for (const choice of choices) {
      const {
        token_ids: ids,
        logprobs,
        index,
      } = choice as Choice & { logprobs: { token_logprobs: number[]; tokens: string[] } };
      const [scored] = await sequenceLogProbs(model, [[...PROMPTS[0]!, ...ids!]]);
      expect(logprobs.token_logprobs).toHaveLength(ids!.length);
      logprobs.token_logprobs.forEach((x, t) => {
        expect(x).toBeCloseTo(scored!.logProbs[PROMPTS[0]!.length - 1 + t]!, 4);
      });
      expect(logprobs.tokens.join('')).toBe(choice.text);
      const mine = streamed.filter((piece) => piece.index === index) as (Choice & { logprobs: typeof logprobs })[];
      const pieces = mine.flatMap((piece) => piece.logprobs.token_logprobs);
      expect(pieces).toHaveLength(ids!.length);
      pieces.forEach((x, t) => {
        expect(x).toBeCloseTo(logprobs.token_logprobs[t]!, 4);
      });
    }
    // Who does not ask has what the OpenAI API gives.
    const bare = (await ask('completions', request)).choices as (Choice & { logprobs: { tokens: string[] } })[];
    for (const { index } of ended) {
      expect(bare[index]!.logprobs.tokens).toHaveLength(choices[index]!.token_ids!.length - 1);
    }
  });
});

describe('the endpoints of token ids alone', () => {
  it("vLLM's /inference/v1/generate and SGLang's /generate draw what /v1/completions does, and say the same of the prompt", async () => {
    const { url, ask } = await client();
    const sampling = { temperature: 0.9, max_tokens: 5 };
    const prompt = PROMPTS[2]!;
    const asked = { prompt, n: 2, logprobs: 0, prompt_logprobs: 0, return_token_ids: true, ...sampling };
    const { choices } = (await ask('completions', asked)) as {
      choices: (Choice & { logprobs: { token_logprobs: number[] } })[];
    };
    // What is in the cache already is computed otherwise: rounding.
    const close = (found: readonly number[], own: readonly number[]) => {
      expect(found).toHaveLength(own.length);
      found.forEach((x, t) => {
        expect(x).toBeCloseTo(own[t]!, 4);
      });
    };
    const vllm = (await (
      await postJson(`${url}/inference/v1/generate`, {
        token_ids: prompt,
        sampling_params: { ...sampling, n: 2, seed: 3, logprobs: 0, prompt_logprobs: 0 },
      })
    ).json()) as Omit<Answer, 'choices'> & {
      choices: { token_ids: number[]; logprobs: { content: { token: string; logprob: number }[] } }[];
    };
    expect(vllm.choices.map((it) => it.token_ids)).toEqual(choices.map((it) => it.token_ids));
    vllm.choices.forEach(({ logprobs }, i) => {
      close(
        logprobs.content.map(({ logprob }) => logprob),
        choices[i]!.logprobs.token_logprobs,
      );
    });
    expect(vllm.choices[0]!.logprobs.content[0]!.token).toBe(`token_id:${choices[0]!.token_ids![0]}`);
    expect(vllm.choices[0]).toMatchObject({ finish_reason: 'length', weight_version: 'default' });
    expect(vllm.prompt_logprobs).toEqual(choices[0]!.prompt_logprobs);
    const sglang = async (body: object) => {
      const response = await postJson(`${url}/generate`, body);
      return { status: response.status, body: await response.json() };
    };
    const parameters = [3, 4].map((sampling_seed) => ({ temperature: 0.9, max_new_tokens: 5, sampling_seed }));
    const body = { input_ids: [prompt, prompt], return_logprob: true, logprob_start_len: 0 };
    const both = await sglang({ ...body, sampling_params: parameters });
    type Triple = [number, number, null];
    type Meta = { output_token_logprobs: Triple[]; input_token_logprobs: Triple[] };
    const metas = (both.body as { meta_info: Meta }[]).map(({ meta_info }) => meta_info);
    metas.forEach(({ output_token_logprobs: triples }, i) => {
      expect(triples.map(([, id, none]) => [id, none])).toEqual(choices[i]!.token_ids!.map((id) => [id, null]));
      close(
        triples.map(([x]) => x),
        choices[i]!.logprobs.token_logprobs,
      );
    });
    expect(metas[0]).toMatchObject({
      ...{
        finish_reason: { type: 'length', length: 5 },
        prompt_tokens: 5,
        completion_tokens: 5,
        weight_version: 'default',
      },
    });
    expect(metas[0]!.input_token_logprobs.map(([, id]) => id)).toEqual(prompt);
    expect(metas[0]!.input_token_logprobs[0]).toEqual([null, prompt[0], null]);
    close(
      metas[0]!.input_token_logprobs.slice(1).map(([x]) => x),
      prompt.slice(1).map((id, t) => choices[0]!.prompt_logprobs![t + 1]![id]!.logprob),
    );
    const one = await sglang({ text: 'Hello', sampling_params: { max_new_tokens: 2, temperature: 0 } });
    expect(one.body).toMatchObject({ output_ids: [expect.any(Number), expect.any(Number)], text: expect.any(String) });
    expect(await (await fetch(`${url}/model_info`)).json()).toMatchObject({
      model_path: 'm',
      weight_version: 'default',
    });
    for (const [wrong, param] of [
      [{ sampling_params: { max_tokens: 3 } }, 'sampling_params.max_tokens'],
      [{ sampling_params: [{}] }, 'sampling_params'],
      [{ sampling_params: { ignore_eos: true } }, 'sampling_params.ignore_eos'],
      [{ top_logprobs_num: 2 }, 'top_logprobs_num'],
      [{ lora_path: 'none' }, 'model'],
      [{ input_ids: undefined }, 'text'],
    ] as const) {
      const answer = await sglang({ ...body, ...wrong });
      expect([answer.status >= 400, answer.body], JSON.stringify(wrong)).toMatchObject([true, { error: { param } }]);
    }
  });
});

describe('pauses', () => {
  /** A model that gives a token when it is told to. */
  const stepped = () => {
    const waiting: (() => void)[] = [];
    const delay = (signal: AbortSignal) =>
      new Promise<void>((resolve) => {
        waiting.push(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    return { model: scriptedModel(() => 'abcdefghi', { delay }), step: () => waiting.shift()?.() };
  };
  const until = async (isSo: () => boolean | Promise<boolean>) => {
    for (let i = 0; i < 200 && !(await isSo()); i++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await isSo()).toBe(true);
  };
  const isOpen = (promise: Promise<unknown>) =>
    Promise.race([promise.then(() => false), new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 30))]);
  const stepUntilEnd = (step: () => void, promise: Promise<unknown>) =>
    until(async () => {
      step();
      return !(await isOpen(promise));
    });
  const control = async (url: string, path: string, method = 'POST') => {
    const response = await fetch(`${url}${path}`, { method });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  it('let requests wait, and go on to the same answer', async () => {
    const { url, ask } = await client();
    const request = { prompt: PROMPTS, max_tokens: 4, prompt_logprobs: 0, return_token_ids: true };
    const before = await ask('completions', request);
    for (const mode of ['abort', 'wait', 'keep']) {
      expect(await control(url, `/pause?mode=${mode}&clear_cache=true`)).toEqual({
        status: 200,
        body: { status: 'paused' },
      });
      expect((await control(url, '/is_paused', 'GET')).body).toEqual({ is_paused: true });
      const waiting = ask('completions', request);
      expect(await isOpen(waiting), mode).toBe(true);
      expect((await control(url, '/resume')).body).toEqual({ status: 'resumed' });
      expect((await waiting).choices).toEqual(before.choices);
    }
    expect((await control(url, '/is_paused', 'GET')).body).toEqual({ is_paused: false });
  });

  it.each(['abort', 'wait', 'keep'] as const)('in the middle of a completion, by %s', async (mode) => {
    const { model, step } = stepped();
    const { url } = await serve({ a: model }, { allowPause: true });
    const asked = postJson(`${url}/v1/completions`, { model: 'a', prompt: 'x', max_tokens: 9 });
    const answer = async () => ((await (await asked).json()) as Answer).choices[0]!;
    const running = async () =>
      (await (await fetch(`${url}/metrics`)).text()).includes('posttrain_completions_running 1');
    await until(running);
    step();
    const paused = control(url, `/pause?mode=${mode}`);
    if (mode === 'wait') {
      expect(await isOpen(paused)).toBe(true);
      await stepUntilEnd(step, paused);
      expect(await answer()).toMatchObject({ text: 'abcdefghi', finish_reason: 'stop' });
      return;
    }
    await paused;
    if (mode === 'abort') {
      const { text, finish_reason } = await answer();
      expect([finish_reason, 'abcdefghi'.startsWith(text), text.length < 9]).toEqual(['abort', true, true]);
      return;
    }
    for (let i = 0; i < 5; i++) step();
    expect(await isOpen(asked)).toBe(true);
    await control(url, '/resume');
    await stepUntilEnd(step, asked);
    expect(await answer()).toMatchObject({ text: 'abcdefghi', finish_reason: 'stop' });
  });

  it("are SGLang's by other names", async () => {
    const { url, ask } = await client();
    for (const mode of ['abort', 'retract', 'in_place']) {
      expect((await postJson(`${url}/pause_generation`, { mode })).status).toBe(200);
      expect((await control(url, '/is_paused', 'GET')).body).toEqual({ is_paused: true });
      expect((await postJson(`${url}/continue_generation`, {})).status).toBe(200);
    }
    expect((await postJson(`${url}/pause_generation`, { mode: 'keep' })).status).toBe(400);
    expect((await ask('completions', { prompt: [1, 2] })).choices).toHaveLength(1);
  });

  it('are refused by name, and by servers that do not allow them; a paused server drains', async () => {
    const { url } = await client();
    expect(await control(url, '/pause?mode=stop')).toMatchObject({ status: 400, body: { error: { param: 'mode' } } });
    expect(await control(url, '/pause?modes=wait')).toMatchObject({ status: 400, body: { error: { param: 'modes' } } });
    expect((await control(url, '/pause', 'GET')).status).toBe(405);
    const fixed = await serve({ a: scriptedModel(() => 'x') });
    for (const [path, method] of [
      ['/pause', 'POST'],
      ['/resume', 'POST'],
      ['/is_paused', 'GET'],
    ] as const) {
      expect(await control(fixed.url, path, method)).toMatchObject({
        status: 404,
        body: { error: { code: 'pause_not_allowed' } },
      });
    }
    const paused = await serve({ a: scriptedModel(() => 'x') }, { allowPause: true });
    await control(paused.url, '/pause?mode=keep');
    const waiting = postJson(`${paused.url}/v1/completions`, { model: 'a', prompt: 'x' });
    expect(await isOpen(waiting)).toBe(true);
    await paused.server.drain();
    expect((await waiting).status).toBe(200);
  });
});

describe('prompt_logprobs', () => {
  it.each(['byte-level-bpe', 'sentencepiece-bpe'])('are what the model says of its prompt: %s', async (kind) => {
    const { model, ask } = await client(kind);
    const vocabulary = model.config.vocabSize;
    const { choices } = await ask('completions', { prompt: PROMPTS, max_tokens: 1, prompt_logprobs: 3, n: 2 });
    const scored = await sequenceLogProbs(
      model,
      PROMPTS.filter(({ length }) => length > 1),
      { topLogProbs: vocabulary },
    );
    expect(choices).toHaveLength(6);
    const lists = choices.map((it) => it.prompt_logprobs!);
    expect(lists[2]).toEqual([null]);
    for (const [i, prompt, list] of [
      [0, PROMPTS[0]!, lists[0]!],
      [1, PROMPTS[2]!, lists[5]!],
    ] as const) {
      expect(list[0]).toBeNull();
      expect(list).toHaveLength(prompt.length);
      for (const [t, place] of list.slice(1).entries()) {
        const own = place![prompt[t + 1]!]!;
        expect(own.logprob).toBeCloseTo(scored[i]!.logProbs[t]!, 4);
        const falling = scored[i]!.topLogProbs![t]!;
        expect(own.rank).toBe(1 + falling.findIndex(({ tokenId }) => tokenId === prompt[t + 1]));
        // The three most likely ones, and the prompt's own.
        const best = falling.slice(0, 3).map(({ tokenId }) => String(tokenId));
        expect(Object.keys(place!).sort()).toEqual([...new Set([...best, String(prompt[t + 1])])].sort());
        best.forEach((id, at) => {
          expect(place![id]).toMatchObject({ rank: at + 1, decoded_token: model.tokenizer.decode([Number(id)]) });
        });
      }
    }
    const bare = await ask('completions', { prompt: PROMPTS[0], max_tokens: 1, prompt_logprobs: 0 });
    expect(bare.choices[0]!.prompt_logprobs!.slice(1).map((place) => Object.keys(place!))).toEqual(
      PROMPTS[0]!.slice(1).map((id) => [String(id)]),
    );
  });

  it('are a teacher that an endpoint gives: token ids in, their log-probabilities and texts out', async () => {
    const model = await tinyModel('byte-level-bpe');
    const { url } = await serve(localModels('m', model));
    const scorer = openaiCompatibleTokenScorer({ baseURL: `${url}/v1`, model: 'm' });
    const sequences = PROMPTS.filter(({ length }) => length > 1);
    const found = await scorer.scoreTokens(sequences);
    const wanted = await sequenceLogProbs(model, sequences);
    found.forEach(({ logProbs, texts }, i) => {
      expect(logProbs).toHaveLength(sequences[i]!.length - 1);
      Array.from(logProbs).forEach((x, t) => {
        expect(x).toBeCloseTo(wanted[i]!.logProbs[t]!, 4);
      });
      expect(texts).toEqual(sequences[i]!.slice(1).map((id) => model.tokenizer.decode([id])));
    });
    const beyond = scorer.scoreTokens([[1, model.config.vocabSize]]);
    await expect(beyond).rejects.toThrow(/status 400/);
  });

  it('of a chat stand beside its choices', async () => {
    const { model, ask } = await client();
    const answer = await ask('chat/completions', {
      messages: MESSAGES,
      max_tokens: 1,
      prompt_logprobs: 0,
      return_token_ids: true,
    });
    const tokens = answer.prompt_token_ids!;
    const [scored] = await sequenceLogProbs(model, [tokens]);
    const found = answer.prompt_logprobs!.slice(1).map((place, t) => place![tokens[t + 1]!]!.logprob);
    for (const [t, logProb] of found.entries()) expect(logProb).toBeCloseTo(scored!.logProbs[t]!, 4);
    expect(found).toHaveLength(tokens.length - 1);
  });

  it.each([
    [{ stream: true, prompt_logprobs: 1 }, /'stream' is not enabled/],
    [{ prompt_logprobs: -1 }, /0 to 20/],
    [{ prompt_logprobs: 21 }, /0 to 20/],
    [{ prompt_logprobs: true }, /a number/],
  ])('are refused by name: %j', async (extra, problem) => {
    const { post } = await client();
    const response = await post('completions', { prompt: [1, 2], ...extra });
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: { param: string; message: string } };
    expect(error).toMatchObject({ param: 'prompt_logprobs', message: expect.stringMatching(problem) });
  });
});
