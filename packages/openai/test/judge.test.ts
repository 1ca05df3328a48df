import type { Completion, GenerateRequest, Generator, VerifyRequest } from '@posttrain/interfaces';
import { afterEach, describe, expect, it } from 'vitest';
import { evaluate, meanScore } from '../../eval/src/index.js';
import { bestOfN, traceTable } from '../../tts/src/index.js';
import { scripted } from '../../tts/test/doubles.js';
import { judge, openaiCompatible } from '../src/index.js';
import { chatAnswer, json, serve } from './server.js';

/** Says `texts` in turn, five prompt tokens and three of its own each time. */
function saying(texts: readonly string[], finishReason: Completion['finishReason'] = 'stop') {
  const seen: GenerateRequest[] = [];
  let next = 0;
  const generator: Generator = {
    name: 'judge-model',
    generate: async (requests) => {
      seen.push(...requests);
      return requests.map(({ n = 1 }) =>
        Array.from({ length: n }, () => ({
          ...{ text: texts[next++ % texts.length]!, finishReason },
          usage: { promptTokens: 5, completionTokens: 3 },
        })),
      );
    },
  };
  return { generator, seen };
}

const request = (completion: string, more: Partial<VerifyRequest> = {}): VerifyRequest => ({
  ...{ prompt: 'Why is the sky blue?', completion },
  ...more,
});
const rubric = 'Right, and short.';
const contentOf = ({ prompt }: GenerateRequest) => (prompt as readonly { content: string }[])[0]!.content;

describe('judge', () => {
  it('asks for a rating by the rubric, all requests at once, and reads it', async () => {
    const { generator, seen } = saying(['Brief and right. Rating: [[9]]', 'No. [[2]] at first, but: [[ 3.5 ]]']);
    const verdicts = await judge({ generator, rubric }).verify([request('Scattering.'), request('Paint.')]);
    expect(verdicts).toEqual([
      { score: 9, explanation: 'Brief and right. Rating: [[9]]', usage: { promptTokens: 5, completionTokens: 3 } },
      {
        score: 3.5,
        explanation: expect.stringContaining('[[ 3.5 ]]'),
        usage: { promptTokens: 5, completionTokens: 3 },
      },
    ]);
    expect(seen[0]).toMatchObject({ n: 1, temperature: 0, maxTokens: 1024 });
    for (const part of [rubric, 'Why is the sky blue?', 'Scattering.', 'from 1 (worst) to 10 (best)'])
      expect(contentOf(seen[0]!)).toContain(part);
    expect(contentOf(seen[0]!)).not.toContain('reference');
  });

  it.each<[string, RegExp]>([
    ['I cannot say.', /^no rating in the judgement: "I cannot say\."/],
    ['[[high]]', /no rating/],
    ['', /no rating/],
    ['<think>maybe [[5]]', /no rating/],
    ['Rating: [[11]]', /^the rating 11 is not from 1 to 10/],
    ['Rating: [[-1]]', /the rating -1 is not/],
  ])('a judgement that cannot be read, %j, is no score, and counts its tokens', async (text, reason) => {
    const [verdict] = await judge({ generator: saying([text]).generator, rubric }).verify([request('x')]);
    expect(verdict).toEqual({
      score: null,
      explanation: expect.stringMatching(reason),
      usage: { promptTokens: 5, completionTokens: 3 },
    });
  });

  it('says when a judgement was cut off, and does not read what was only thought', async () => {
    const cut = judge({ generator: saying(['It is'], 'length').generator, rubric });
    expect((await cut.verify([request('x')]))[0]!.explanation).toMatch(/which was cut off at its token limit/);
    const thinking = judge({ generator: saying(['<think>[[1]]</think> [[7]]']).generator, rubric });
    expect((await thinking.verify([request('x')]))[0]!.score).toBe(7);
  });

  it('takes the mean of the judgements that can be read', async () => {
    const { generator, seen } = saying(['[[4]]', 'no idea', '[[8]]']);
    const [verdict] = await judge({ generator, rubric, n: 3 }).verify([request('x')]);
    expect(verdict).toEqual({ score: 6, explanation: '[[4]]', usage: { promptTokens: 15, completionTokens: 9 } });
    expect(seen[0]).toMatchObject({ n: 3, temperature: 1 });
  });

  it('shows the conversation and the reference where there are such, on a scale of its own', async () => {
    const { generator, seen } = saying(['[[0.5]]']);
    const verifier = judge({ generator, rubric, reference: 'gold', scale: { min: 0, max: 1 }, name: 'strict' });
    const messages = [
      { role: 'user', content: 'Hi' },
      { role: 'tool', content: '42' },
    ];
    expect((await verifier.verify([request('x', { messages, row: { gold: 'Rayleigh' } })]))[0]!.score).toBe(0.5);
    expect(contentOf(seen[0]!)).toMatch(/user: Hi\n\ntool: 42[\s\S]*Rayleigh[\s\S]*from 0 \(worst\) to 1 \(best\)/);
    expect(verifier.name).toBe('strict');
    await expect(verifier.verify([request('x', { row: { answer: 1 } })])).rejects.toThrow(
      /judge needs the column "gold", but the row has answer/,
    );
    await expect(verifier.verify([request('x')])).rejects.toThrow(/no row/);
  });

  it('takes a prompt and a parser of your own', async () => {
    const { generator, seen } = saying(['YES']);
    const verifier = judge({
      generator,
      prompt: ({ completion }) => `Is this a poem? ${completion}`,
      parse: (text) => (text === 'YES' ? 1 : text === 'NO' ? 0 : null),
      sampling: { maxTokens: 1, temperature: 0.5 },
    });
    expect((await verifier.verify([request('Roses')]))[0]!.score).toBe(1);
    expect(seen[0]).toMatchObject({ prompt: 'Is this a poem? Roses', maxTokens: 1, temperature: 0.5 });
  });

  it('heeds the signal of its caller', async () => {
    const { generator, seen } = saying(['[[4]]']);
    const controller = new AbortController();
    controller.abort(new Error('enough'));
    const verifying = judge({ generator, rubric }).verify([request('x', { signal: controller.signal })]);
    await expect(verifying).rejects.toThrow('enough');
    expect(seen[0]!.signal).toBe(controller.signal);
  });

  it.each<[object, RegExp]>([
    [{ generator: saying(['x']).generator }, /rubric is missing; say what makes a completion good/],
    [{ generator: saying(['x']).generator, rubric: ' ' }, /rubric is missing/],
    [{ generator: 'gpt', rubric }, /generator is "gpt"; it must be a generator/],
    [{ generator: saying(['x']).generator, rubric, prompt: () => '' }, /prompt takes the place of rubric/],
    [
      { generator: saying(['x']).generator, rubric, scale: { min: 1, max: 1 } },
      /scale is an object with min, max; it must/,
    ],
    [{ generator: saying(['x']).generator, rubic: 'x' }, /Did you mean "rubric"/],
  ])('refuses %o', (options, message) => {
    expect(() => judge(options as never)).toThrow(message);
  });
});

describe('a judge over an endpoint', () => {
  let server: Awaited<ReturnType<typeof serve>> | undefined;
  afterEach(async () => server?.close());

  it('grades in eval and chooses in a search, with its tokens in the bill', async () => {
    // It likes long answers.
    server = await serve(({ body }, response) => {
      const [, answer] = /<response>\n(.*)\n<\/response>/.exec(body.messages[0].content)!;
      json(response, chatAnswer([`Rating: [[${answer!.length}]]`]));
    });
    const generator = openaiCompatible({ baseURL: server.baseURL, model: 'judge', api: 'chat' });
    const verifier = judge({ generator, rubric: 'Length.' });
    const result = await evaluate(
      {
        type: 'generate',
        name: 'open questions',
        dataset: [{ question: 'a?' }, { question: 'b?' }],
        prompt: ({ question }) => question,
        graders: [verifier],
        metrics: [meanScore()],
      },
      scripted(['four', 'sixsix']),
    );
    expect(result.metrics[0]!.value).toBe(5);
    expect(result.gradingUsage).toEqual({ promptTokens: 14, completionTokens: 4 });
    const { text, trace } = await bestOfN(
      { prompt: 'c?' },
      { generator: scripted(['ab', 'abc', 'a']), verifier, n: 3 },
    );
    expect(text).toBe('abc');
    expect(trace.spent.verifierTokens).toBe(27);
    expect(traceTable([trace])[0]!.verifierTokens).toBe(27);
  });
});
