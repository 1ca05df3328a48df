import { describe, expect, it, onTestFinished } from 'vitest';
import { openaiCompatible } from '../src/index.js';
import { json, serve } from './server.js';

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
