import type { GenerateRequest, Prompt } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import {
  type CausalLM,
  LocalGenerator,
  promptTokens,
  SearchGenerator,
  type SearchMethod,
  sequenceLogProbs,
} from '../../src/index.js';
import { tinyModel } from '../support.js';

const BEAMS: SearchMethod = { method: 'beamSearch', numBeams: 3 };
const CHAT: Prompt = [{ role: 'user', content: 'One and one?' }];

const METHODS = (amateur: CausalLM): readonly (readonly [SearchMethod, number])[] => [
  [BEAMS, 3],
  [{ method: 'diverseBeamSearch', numBeams: 4, numBeamGroups: 2, diversityPenalty: 2 }, 4],
  [{ method: 'contrastiveSearch', topK: 3, penaltyAlpha: 0.5 }, 1],
  [{ method: 'contrastiveDecoding', amateur, numBeams: 2 }, 2],
];

describe('model.search', () => {
  it('every method completes text and conversations, with the log-probabilities of the model', async () => {
    const model = await tinyModel();
    for (const [method, n] of METHODS(await tinyModel('byte-level-bpe', { num_hidden_layers: 1 }, 9))) {
      const requests: GenerateRequest[] = [
        { prompt: 'One and one is', n, maxTokens: 6, logProbs: true, temperature: 0 },
        { prompt: CHAT, prefix: 'It is', maxTokens: 5 },
      ];
      const [first, second] = await new SearchGenerator(model, method).generate(requests);
      expect(first!.length).toBe(n);
      expect(second!.length).toBe(1);
      expect(second![0]).not.toHaveProperty('logProbs');
      expect(second![0]!.usage).toEqual({
        promptTokens: promptTokens(model, CHAT, 'It is').length,
        completionTokens: 5,
      });
      expect(first!.map(({ score }) => score)).toEqual(first!.map(({ score }) => score).toSorted((a, b) => b - a));
      expect(new Set(first!.map(({ tokenIds }) => String(tokenIds))).size).toBe(n);
      for (const { text, tokenIds, logProbs, finishReason } of first!) {
        expect(finishReason).toBe('length');
        expect(text).toBe(model.tokenizer.decode(tokenIds!, { skipSpecialTokens: true }));
        const [scored] = await sequenceLogProbs(model, [[...model.tokenizer.encode('One and one is'), ...tokenIds!]]);
        for (const [i, logProb] of scored!.logProbs.slice(-6).entries()) expect(logProbs![i]).toBeCloseTo(logProb, 4);
      }
    }
  });

  it('one beam is the greedy completion, and prompts that wait for each other change nothing', async () => {
    const model = await tinyModel();
    const requests = ['A', 'One and one is', 'Something else'].map((prompt) => ({
      prompt,
      maxTokens: 8,
      temperature: 0,
    }));
    const greedy = (await new LocalGenerator(model).generate(requests)).flat().map(({ usage, ...completion }) => {
      const { cachedPromptTokens: _, ...counted } = usage;
      return { ...completion, usage: counted };
    });
    const found = (
      await new SearchGenerator(model, { method: 'beamSearch', numBeams: 1 }, { maxBatch: 2 }).generate(requests)
    ).flat();
    expect(found.map(({ score: _, ...completion }) => completion)).toEqual(greedy);
  });

  it('a stop string ends a hypothesis and is not part of the text', async () => {
    const model = await tinyModel();
    const request = { prompt: 'One and one is', maxTokens: 8 };
    const best = (await new SearchGenerator(model, BEAMS).generate([request]))[0]![0]!;
    const stop = [best.text.slice(2, 4)];
    const [stopped] = await new SearchGenerator(model, BEAMS).generate([{ ...request, n: 3, stop }]);
    for (const { text, finishReason, stop: found } of stopped!) {
      expect(found).toBe(finishReason === 'stop' ? stop[0] : null);
      expect(text).not.toContain(stop[0]);
      expect(['stop', 'length']).toContain(finishReason);
    }
    expect(stopped!.map(({ finishReason }) => finishReason)).toContain('stop');
  });

  it('what a constraint allows is all that is found', async () => {
    const model = await tinyModel();
    const choices = ['yes', 'no', 'perhaps'];
    for (const [method, n] of METHODS(model)) {
      const [found] = await new SearchGenerator(model, method).generate([
        { prompt: 'One and one is two?', n, maxTokens: 12, constraint: { type: 'choice', choices } },
      ]);
      for (const { text, finishReason } of found!) {
        expect(choices).toContain(text);
        expect(finishReason).toBe('stop');
      }
    }
  });

  it('a signal that has fired ends its request only', async () => {
    const model = await tinyModel();
    const signal = AbortSignal.abort();
    const [aborted, other] = await new SearchGenerator(model, BEAMS).generate([
      { prompt: 'A', maxTokens: 4, signal },
      { prompt: 'A', maxTokens: 4 },
    ]);
    expect(aborted).toMatchObject([{ text: '', finishReason: 'abort', tokenIds: [] }]);
    expect(other).toMatchObject([{ finishReason: 'length' }]);
  });

  it('an adapter is asked for at every call, and a repetition penalty keeps tokens from coming again', async () => {
    const model = await tinyModel();
    const request = { prompt: 'A', maxTokens: 12, repetitionPenalty: 1e6 };
    let asked = 0;
    const adapter = () => {
      asked++;
      return { name: 'none', parameters: {}, hooks: () => ({}) };
    };
    const search = new SearchGenerator(model, BEAMS, { adapter });
    const best = (await search.generate([request]))[0]![0]!;
    expect(new Set(best.tokenIds).size).toBe(12);
    await search.generate([request]);
    expect(asked).toBe(2);
  });

  it('says what is wrong', async () => {
    const model = await tinyModel();
    const run = (request: Partial<GenerateRequest>, options = {}) =>
      new SearchGenerator(model, BEAMS, options).generate([{ prompt: 'A', maxTokens: 4, ...request }]);
    await expect(run({ temperature: 0.7 })).rejects.toThrow('temperature 0.7 is for sampling');
    await expect(run({ topK: 5 })).rejects.toThrow('topK 5 is for sampling');
    await expect(run({ n: 4 })).rejects.toThrow('n is 4, but beamSearch finds 3 here');
    await expect(run({ stpo: [] } as never)).rejects.toThrow('Did you mean "stop"');
    await expect(run({ repetitionPenalty: 0 })).rejects.toThrow('repetitionPenalty is 0; it must be a number above 0');
    await expect(run({ maxTokens: 60 }, { cacheTokens: 64 })).rejects.toThrow('do not fit the cache of 64 tokens');
    expect(() => new SearchGenerator(model, { method: 'bestFirst' } as never)).toThrow(
      'no method "bestFirst"; there are beamSearch',
    );
  });
});
