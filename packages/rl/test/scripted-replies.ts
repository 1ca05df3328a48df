import { Key } from '@posttrain/core-tensor';
import type { Completion, GenerateRequest } from '@posttrain/interfaces';
import { LocalGenerator, NO_ADAPTER } from '@posttrain/lm';
import { onTestFinished, vi } from 'vitest';
import type { Environment, PromptRow, Reply, RolloutRequest } from '../src/index.js';
import { chatModel } from './calculator.js';

const END = 9;

/** What the sampler was asked in a run of scripted replies: the tokens it read and those it wrote. */
export interface Asked {
  readonly prompt: readonly number[];
  readonly reply: readonly number[];
}

/**
 * The sampler says what `script` says, letter by letter, with the log-probability -token/100 - turn/1000, and is cut off where a request
 * says so. `script` gets the place of a request in its batch and how often it was asked before.
 */
export async function scriptSampler(
  script: (place: number, turn: number) => string | Promise<string>,
): Promise<Asked[]> {
  const { tokenizer } = await chatModel(1);
  const asked: Asked[] = [];
  let turn = 0;
  const generate = async (requests: readonly GenerateRequest[]): Promise<Completion[][]> => {
    const now = turn++;
    return Promise.all(
      requests.map(async ({ prompt, maxTokens = 99 }, place) => {
        const said = await script(place, now);
        const whole = [...tokenizer.encode(said, { addSpecialTokens: false }), END];
        const tokenIds = whole.slice(0, maxTokens);
        asked.push({ prompt: [...(prompt as unknown as { tokenIds: readonly number[] }).tokenIds], reply: tokenIds });
        return [
          {
            text: said.slice(0, tokenIds.length),
            tokenIds,
            logProbs: tokenIds.map((token) => -token / 100 - now / 1000),
            finishReason: tokenIds.length < whole.length ? ('length' as const) : ('stop' as const),
            usage: { promptTokens: 0, completionTokens: tokenIds.length },
          },
        ];
      }),
    );
  };
  const spy = vi.spyOn(LocalGenerator.prototype, 'generate').mockImplementation(generate as never);
  onTestFinished(() => spy.mockRestore());
  return asked;
}

/** Every `=` of a reply is a call of a tool. */
export const parseCalls = (text: string): Reply => ({
  ...{ role: 'assistant', content: text },
  tool_calls: [...text]
    .filter((letter) => letter === '=')
    .map((_, i) => ({
      ...{ id: `${i}`, type: 'function' as const },
      function: { name: 'f', arguments: {} },
    })),
});

/** Answers `1` to every reply, and is done at one with a `2`; counts the calls that it gets. */
export const counting = (calls: number[] = []): Environment<PromptRow> => ({
  ...{ name: 'counting', settings: {} },
  start: () => ({
    messages: [{ role: 'user', content: '1' }],
    step({ content, tool_calls = [] }) {
      calls.push(tool_calls.length);
      return { messages: [{ role: 'tool', content: '1' }], reward: 1, done: content.includes('2') };
    },
  }),
});

export const requestOf = async (options: Partial<RolloutRequest> = {}): Promise<RolloutRequest> => ({
  ...{ adapter: NO_ADAPTER, sampling: { maxTokens: 16 }, maxBatch: 64, packWeights: 'at-once', step: 0 },
  ...{ key: Key.fromSeed(1), rows: [{ prompt: '1' }], prompts: [[0]], completionsPerPrompt: 1, firstGroup: 0 },
  model: options.model ?? (await chatModel(1)),
  ...options,
});
