import type { Constraint, GenerateRequest } from '@posttrain/interfaces';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { scriptedModel, serve as serveModels } from '../../serve/test/support.js';
import {
  EndpointError,
  type OpenAICompatibleOptions,
  openaiCompatible,
  UnsupportedRequestError,
} from '../src/index.js';
import { chatAnswer, json, serve } from './server.js';

describe('fields', () => {
  let server: Awaited<ReturnType<typeof serve>> | undefined;

  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  async function sent(request: GenerateRequest, options: Partial<OpenAICompatibleOptions> = {}, answer?: unknown) {
    server = await serve((_, response) => json(response, answer ?? chatAnswer(['{}'])));
    const generator = openaiCompatible({ baseURL: server.baseURL, model: 'm', api: 'chat', maxRetries: 0, ...options });
    const [[completion]] = (await generator.generate([request])) as [[unknown]];
    return { body: server.seen[0]?.body, completion };
  }

  const schema = { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] };

  it('sends penalties, logit bias and a JSON schema by the names of the protocol', async () => {
    const { body } = await sent({
      prompt: 'q',
      presencePenalty: 0.5,
      frequencyPenalty: -0.25,
      logitBias: { 7: -100 },
      constraint: { type: 'json-schema', schema },
    });
    expect(body).toEqual({
      model: 'm',
      messages: [{ role: 'user', content: 'q' }],
      presence_penalty: 0.5,
      frequency_penalty: -0.25,
      logit_bias: { 7: -100 },
      response_format: { type: 'json_schema', json_schema: { name: 'completion', schema, strict: true } },
      n: 1,
    });
  });

  it('asks for a JSON object', async () => {
    const { body } = await sent({ prompt: 'q', constraint: { type: 'json' } });
    expect(body.response_format).toEqual({ type: 'json_object' });
  });

  const top = (...entries: [string, number][]) => entries.map(([token, logprob]) => ({ token, logprob }));

  it('reads the most likely tokens of a chat where they have ids', async () => {
    const content = [{ token: 'token_id:5', logprob: -1, top_logprobs: top(['token_id:3', -0.5], ['token_id:5', -1]) }];
    const answer = {
      choices: [{ index: 0, message: { content: 'a' }, finish_reason: 'stop', logprobs: { content } }],
      usage: { prompt_tokens: 1, completion_tokens: 1 },
    };
    const { body, completion } = await sent({ prompt: 'q', logProbs: true, topLogProbs: 2 }, {}, answer);
    expect(body).toMatchObject({ logprobs: true, top_logprobs: 2 });
    expect(completion).toMatchObject({
      logProbs: [-1],
      topLogProbs: [
        [
          { tokenId: 3, logProb: -0.5 },
          { tokenId: 5, logProb: -1 },
        ],
      ],
    });
  });

  it('reads the most likely tokens of a text completion, and leaves out a drawn token that is not among them', async () => {
    const logprobs = { token_logprobs: [-4], top_logprobs: [{ 'token_id:9': -4, 'token_id:3': -0.5 }] };
    const answer = {
      choices: [{ index: 0, text: 'a', finish_reason: 'stop', logprobs }],
      usage: { prompt_tokens: 1, completion_tokens: 1 },
    };
    const { body, completion } = await sent({ prompt: 'q', topLogProbs: 1 }, { api: 'completions' }, answer);
    expect(body).toMatchObject({ logprobs: 1 });
    expect(completion).toMatchObject({ topLogProbs: [[{ tokenId: 3, logProb: -0.5 }]] });
    expect(completion).not.toHaveProperty('logProbs');
  });

  it('says so when the most likely tokens have no ids', async () => {
    const content = [{ token: 'a', logprob: -1, top_logprobs: top(['a', -1]) }];
    const answer = {
      choices: [{ index: 0, message: { content: 'a' }, finish_reason: 'stop', logprobs: { content } }],
      usage: { prompt_tokens: 1, completion_tokens: 1 },
    };
    const error = await sent({ prompt: 'q', topLogProbs: 1 }, {}, answer).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(EndpointError);
    expect(String(error)).toContain('return_tokens_as_token_ids');
  });

  const refused: [string, Partial<GenerateRequest>][] = [
    ['typicalP', { typicalP: 0.9 }],
    ['epsilonCutoff', { epsilonCutoff: 0.1 }],
    ['etaCutoff', { etaCutoff: 0.1 }],
    ['badWordsIds', { badWordsIds: [[1]] }],
    ['noRepeatNgramSize', { noRepeatNgramSize: 2 }],
    ['minNewTokens', { minNewTokens: 3 }],
    ['entropies', { entropies: true }],
    ...[
      { type: 'regex', pattern: 'a' } as const,
      { type: 'grammar', ebnf: 'root ::= "a"' } as const,
      { type: 'choice', choices: ['a'] } as const,
    ].map((constraint: Constraint): [string, Partial<GenerateRequest>] => [constraint.type, { constraint }]),
  ];

  it.each(refused)('refuses %s before anything is sent', async (name, request) => {
    const error = await sent({ prompt: 'q', ...request }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(UnsupportedRequestError);
    expect(error).toMatchObject({ code: 'OPENAI_UNSUPPORTED_REQUEST', message: expect.stringContaining(name) });
    expect(server?.seen).toEqual([]);
  });

  it('refuses a constraint of a text completion, and fields that no request has', async () => {
    const api = 'completions' as const;
    await expect(sent({ prompt: 'q', constraint: { type: 'json' } }, { api })).rejects.toThrow(UnsupportedRequestError);
    await server?.close();
    await expect(sent({ prompt: 'q', presencePenality: 1 } as GenerateRequest)).rejects.toThrow('presencePenalty');
  });

  it('sends nothing for values that ask for nothing', async () => {
    const nothing = { typicalP: 1, epsilonCutoff: 0, etaCutoff: 0, badWordsIds: [], noRepeatNgramSize: 0 };
    const { body } = await sent({ prompt: 'q', ...nothing, minNewTokens: 0, entropies: false, topLogProbs: 0 });
    expect(Object.keys(body)).toEqual(['model', 'messages', 'n']);
  });

  it("reaches the sampler of this project's own server", async () => {
    const requests: object[] = [];
    const model = scriptedModel((request) => {
      requests.push(request);
      return '{"a":1}';
    });
    const { url } = await serveModels({ tiny: model });
    const generator = openaiCompatible({ baseURL: `${url}/v1`, model: 'tiny', api: 'chat', maxRetries: 0 });
    const settings = { temperature: 0.5, topK: 5, topP: 0.9, minP: 0.1, presencePenalty: 0.5, frequencyPenalty: 0.25 };
    const request = {
      ...settings,
      repetitionPenalty: 1.5,
      logitBias: { 7: -100 },
      stop: ['##'],
      seed: 11,
      maxTokens: 99,
    };
    const constraint = { type: 'json-schema', schema } as const;
    const completions = await generator.generate([{ prompt: 'q', ...request, constraint, logProbs: true }]);
    expect(completions).toMatchObject([[{ text: '{"a":1}', logProbs: [-0.5, -0.5, -0.5] }]]);
    expect(requests).toEqual([expect.objectContaining({ ...request, constraint })]);
  });
});

/** A generator whose endpoint answers with one such choice. */
async function answering(choice: object) {
  const server = await serve((_, response) =>
    json(response, {
      choices: [{ index: 0, text: 'a', finish_reason: 'stop', ...choice }],
      usage: { prompt_tokens: 1, completion_tokens: 1 },
    }),
  );
  onTestFinished(server.close);
  return openaiCompatible({ baseURL: server.baseURL, model: 'm', api: 'completions' });
}

describe('which stop string ended a completion', () => {
  it.each<[string, object, readonly string[] | undefined, string | null | undefined]>([
    ['vLLM, a stop string', { stop_reason: '\n' }, ['\n', '##'], '\n'],
    ['vLLM, its own end', { stop_reason: null }, ['\n'], null],
    ['vLLM, a stop token', { stop_reason: 128009 }, ['\n'], null],
    ['SGLang, a stop string', { matched_stop: '##' }, ['\n', '##'], '##'],
    ['SGLang, the end token', { matched_stop: 2 }, ['\n'], null],
    ['text-generation-inference, a stop string', { finish_reason: 'stop_sequence' }, ['\n'], '\n'],
    ['text-generation-inference, one of two', { finish_reason: 'stop_sequence' }, ['\n', '##'], undefined],
    ['text-generation-inference, the end token', { finish_reason: 'eos_token' }, ['\n'], null],
    ['OpenAI, which does not say', {}, ['\n'], undefined],
    ['cut off', { finish_reason: 'length' }, ['\n'], null],
    ['no stop asked for', {}, undefined, undefined],
  ])('%s', async (_, choice, stop, wanted) => {
    const [[completion]] = (await (await answering(choice)).generate([{ prompt: 'p', ...(stop && { stop }) }])) as [
      [object],
    ];
    expect((completion as { stop?: string | null }).stop).toBe(wanted);
    expect('stop' in completion).toBe(wanted !== undefined);
  });

  it('is the end of the text where it is asked for, and its absence an error where nobody knows', async () => {
    const request = { prompt: 'p', stop: ['\n'], includeStop: true };
    expect(await (await answering({ stop_reason: '\n' })).generate([request])).toMatchObject([
      [{ text: 'a\n', stop: '\n' }],
    ]);
    expect(await (await answering({ stop_reason: null })).generate([request])).toMatchObject([
      [{ text: 'a', stop: null }],
    ]);
    await expect((await answering({})).generate([request])).rejects.toThrow(
      /does not say which stop string.*includeStop/,
    );
  });
});
