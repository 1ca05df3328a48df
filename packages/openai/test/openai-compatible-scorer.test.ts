import { afterEach, describe, expect, it } from 'vitest';
import { openaiCompatibleScorer } from '../src/index.js';
import { json, serve } from './server.js';

let server: Awaited<ReturnType<typeof serve>> | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

type Row = readonly [token: string, logProb: number | null, best?: number];

/** A server that tokenises as `rows` say; `counted` says whether a leading special token counts in the offsets. */
async function scorerFor(
  rows: readonly Row[],
  { special = 0, columns = {} }: { special?: number; columns?: object } = {},
) {
  server = await serve((_, response) => {
    let offset = 0;
    const offsets = rows.map(([token], i) => {
      const at = offset;
      offset += i === 0 && special > 0 ? special - 1 : [...token].length;
      return at;
    });
    const logprobs = {
      tokens: rows.map(([token]) => token),
      token_logprobs: rows.map(([, logProb]) => logProb),
      top_logprobs: rows.map(([token, logProb, best]) =>
        logProb === null ? null : { [token]: logProb, ...(best === undefined ? {} : { '?': best }) },
      ),
      text_offset: offsets,
      ...columns,
    };
    json(response, { choices: [{ text: '', logprobs }] });
  });
  return openaiCompatibleScorer({ baseURL: server.baseURL, model: 'm', maxRetries: 0 });
}

describe('openaiCompatibleScorer', () => {
  const rows: Row[] = [
    ['The', null],
    [' sky', -3],
    [' is', -1],
    [' very', -2, -0.5],
    [' blue', -0.25],
    ['.', -9, -1],
  ];

  it('sums the log-probabilities of the continuation alone', async () => {
    const scorer = await scorerFor(rows);
    expect(await scorer.score([{ prompt: 'The sky is', continuation: ' very blue' }])).toEqual([
      { logProb: -2.25, tokens: 2, isGreedy: false },
    ]);
    expect(await scorer.score([{ prompt: 'The sky is very', continuation: ' blue' }])).toEqual([
      { logProb: -0.25, tokens: 1, isGreedy: true },
    ]);
    expect(server?.seen[0]?.body).toEqual({
      model: 'm',
      prompt: 'The sky is very blue',
      max_tokens: 1,
      temperature: 0,
      echo: true,
      logprobs: 1,
    });
  });

  it('counts offsets in code points', async () => {
    const scorer = await scorerFor([
      ['👍', null],
      [' yes', -1],
      [' ok', -2],
    ]);
    expect(await scorer.score([{ prompt: '👍', continuation: ' yes' }])).toEqual([
      { logProb: -1, tokens: 1, isGreedy: true },
    ]);
  });

  it.each([
    ['counted', '<s>'.length + 1],
    ['not counted', 1],
  ])('leaves out a leading special token, %s in the offsets', async (_, special) => {
    const scorer = await scorerFor(
      [
        ['<s>', null],
        ['A', -4],
        [' b', -1],
        ['!', -1],
      ],
      { special },
    );
    expect(await scorer.score([{ prompt: 'A', continuation: ' b' }])).toEqual([
      { logProb: -1, tokens: 1, isGreedy: true },
    ]);
  });

  it('refuses a token across the boundary', async () => {
    const scorer = await scorerFor(rows);
    await expect(scorer.score([{ prompt: 'The sky is ', continuation: 'very blue' }])).rejects.toThrow(
      /a token lies across its start/,
    );
  });

  it('counts all tokens of a character, and refuses those that cannot be told apart', async () => {
    const whole = await scorerFor([
      ['a', null],
      ['', -1],
      ['é', -2],
      ['!', -1],
    ]);
    expect(await whole.score([{ prompt: 'a', continuation: 'é' }])).toEqual([
      { logProb: -3, tokens: 2, isGreedy: true },
    ]);
    await server?.close();
    const parts = await scorerFor([
      ['a', null],
      ['\ufffd', -1],
      ['\ufffd', -2],
      ['!', -1],
    ]);
    await expect(parts.score([{ prompt: 'a', continuation: 'é' }])).rejects.toThrow(/or ends inside a character/);
  });

  it('refuses servers without log-probabilities of the prompt rather than scoring 0', async () => {
    const generatedOnly = await scorerFor([[' blue', -0.25]]);
    await expect(generatedOnly.score([{ prompt: 'The sky is', continuation: ' blue' }])).rejects.toThrow(
      /did not return log-prob/,
    );
    await server?.close();
    const none = await scorerFor(rows, { columns: { token_logprobs: null } });
    await expect(none.score([{ prompt: 'The sky is', continuation: ' very' }])).rejects.toThrow(
      /did not return log-prob/,
    );
  });

  it('refuses empty texts and conversations', async () => {
    const scorer = await scorerFor(rows);
    await expect(scorer.score([{ prompt: '', continuation: 'x' }])).rejects.toThrow(/not empty/);
    await expect(scorer.score([{ prompt: 'x', continuation: '' }])).rejects.toThrow(/not empty/);
    await expect(scorer.score([{ prompt: [], continuation: 'x' }])).rejects.toThrow(/must be texts/);
  });
});
