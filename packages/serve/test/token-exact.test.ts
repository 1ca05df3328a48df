import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { LocalGenerator, sequenceLogProbs } from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../lm/test/support.js';
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

async function client(kind = 'byte-level-bpe') {
  const model = await tinyModel(kind);
  const { url } = await serve(localModels('m', model));
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
  return { model, post, ask, events };
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
