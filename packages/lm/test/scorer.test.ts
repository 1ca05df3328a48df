import { referenceEngine, setEngine } from '@posttrain/core-tensor';
import { candidateScorer } from '@posttrain/interfaces';
import { beforeAll, describe, expect, it } from 'vitest';
import { LocalGenerator, LocalScorer, rollingLogProbs, sequenceLogProbs } from '../src/index.js';
import { tinyModel } from './support.js';

beforeAll(() => setEngine(referenceEngine()));

const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0);

describe('LocalScorer', () => {
  it('sums the log-probabilities of the continuation’s tokens, one at a time', async () => {
    const model = await tinyModel();
    const { tokenizer } = model;
    const requests = [
      { prompt: 'The sum is', continuation: ' twelve and a half' },
      { prompt: 'The sum is ', continuation: 'twelve and a half' },
      { prompt: 'Q', continuation: ': why not?\n' },
    ];
    const scores = await new LocalScorer(model).score(requests);
    for (const [i, { prompt, continuation }] of requests.entries()) {
      const whole = tokenizer.encode(prompt + continuation);
      const start = tokenizer.encode(prompt.trimEnd()).length;
      // Each token from a sequence of its own that ends with it.
      const one = async (t: number) => (await sequenceLogProbs(model, [whole.slice(0, t + 1)]))[0]!;
      const last = await Promise.all(Array.from({ length: whole.length - start }, (_, t) => one(start + t)));
      expect(scores[i]!.tokens).toBe(whole.length - start);
      expect(scores[i]!.logProb).toBeCloseTo(sum(last.map(({ logProbs }) => logProbs.at(-1)!)), 4);
    }
    // A space at the end of the prompt belongs to the continuation.
    expect(scores[1]).toEqual(scores[0]);
  });

  it('calls greedy what greedy decoding gives, and nothing else', async () => {
    const model = await tinyModel('byte-level-bpe', {}, 4);
    const prompt = 'The sum is';
    const [completions] = await new LocalGenerator(model).generate([{ prompt, temperature: 0, maxTokens: 4 }]);
    const { text, tokenIds } = completions![0]!;
    // Only a text that the tokenizer cuts as the model wrote it can be compared.
    expect(model.tokenizer.encode(prompt + text).slice(-4)).toEqual(tokenIds);
    const scores = await new LocalScorer(model).score([
      { prompt, continuation: text },
      { prompt, continuation: `${text.slice(0, -1)}~` },
    ]);
    expect(scores.map(({ isGreedy }) => isGreedy)).toEqual([true, false]);
  });

  it('scores the assistant’s answer in a conversation', async () => {
    const model = await tinyModel();
    const messages = [{ role: 'user', content: 'Well?' }];
    const [score] = await new LocalScorer(model).score([{ prompt: messages, continuation: 'Fine.' }]);
    const header = model.chatTemplate!.renderChat(messages, { addGenerationPrompt: true });
    const tokens = model.tokenizer.encode(`${header.text}Fine.`, { addSpecialTokens: false });
    const [scored] = await sequenceLogProbs(model, [tokens]);
    const count = tokens.length - header.tokenIds.length;
    expect(score!.tokens).toBe(count);
    expect(score!.logProb).toBeCloseTo(sum(scored!.logProbs.subarray(-count)), 5);
  });

  it('weighs candidates of one token by the distribution of the next token, restricted to them', async () => {
    const model = await tinyModel();
    const { tokenizer } = model;
    const prompt = 'The sum is';
    const candidates = [' the', ' a', '!', '9'];
    const ids = candidates.map((text) => tokenizer.encode(prompt + text).slice(tokenizer.encode(prompt).length));
    expect(ids.every(({ length }) => length === 1)).toBe(true);
    const [found] = await candidateScorer(new LocalScorer(model)).distributions([{ prompt, candidates }]);
    const [scored] = await sequenceLogProbs(model, [tokenizer.encode(`${prompt}!`)], {
      topLogProbs: model.config.vocabSize,
    });
    const next = scored!.topLogProbs!;
    const logs = ids.map(([id]) => next.at(-1)!.find(({ tokenId }) => tokenId === id)!.logProb);
    const total = logs.reduce((all, log) => all + Math.exp(log), 0);
    for (const [i, log] of logs.entries()) {
      expect(found!.logProbs[i]).toBeCloseTo(log, 5);
      expect(found!.probabilities[i]).toBeCloseTo(Math.exp(log) / total, 5);
    }
  });

  it('refuses a continuation without tokens, naming the request', async () => {
    const model = await tinyModel();
    const requests = [
      { prompt: 'A', continuation: ' b' },
      { prompt: 'A', continuation: '' },
    ];
    await expect(new LocalScorer(model).score(requests)).rejects.toThrow(/score request 1.*no tokens/);
  });

  it.each([
    [{ prompt: 'A' }, 'score request 1: continuation must be a text, not undefined'],
    [{ prompt: 'A', continuation: null }, 'score request 1: continuation must be a text, not null'],
    [{ prompt: 'A', completion: ' b' }, 'score request 1: unknown option "completion"'],
    [{ prompt: 'A', continuation: 7 }, 'score request 1: continuation must be a text, not 7'],
    [{ continuation: ' b' }, 'score request 1: '],
  ])('refuses %j, which would be scored as another text', async (request, message) => {
    const model = await tinyModel();
    const requests = [{ prompt: 'A', continuation: ' b' }, request as { prompt: string; continuation: string }];
    await expect(new LocalScorer(model).score(requests)).rejects.toThrow(message);
  });

  it('gives choices of one question what each gets by itself', async () => {
    const model = await tinyModel('byte-level-bpe', { max_position_embeddings: 512 });
    const prompt = `${'How many are there, all in all? '.repeat(12)}Answer:`;
    const requests = [' one', ' two', ' a few', ' none at all'].map((continuation) => ({ prompt, continuation }));
    const together = await new LocalScorer(model).score(requests);
    for (const [i, request] of requests.entries()) {
      const [alone] = await new LocalScorer(model).score([request]);
      expect(together[i]!.logProb).toBeCloseTo(alone!.logProb, 4);
      expect({ ...together[i], logProb: 0 }).toEqual({ ...alone, logProb: 0 });
    }
  });

  it('scores whole texts of any length, the first token behind a begin token', async () => {
    const model = await tinyModel('byte-level-bpe', { max_position_embeddings: 24 });
    const texts = ['Short.', 'A text that is a good deal longer than what the model can see at once. '.repeat(3)];
    const scores = await new LocalScorer(model).scoreRolling(texts);
    const sequences = texts.map((text) => [
      model.tokenizer.bosId!,
      ...model.tokenizer.encode(text, { addSpecialTokens: false }),
    ]);
    expect(sequences[1]!.length).toBeGreaterThan(2 * 24);
    const scored = await rollingLogProbs(model, sequences);
    for (const [i, { logProb, tokens }] of scores.entries()) {
      expect(tokens).toBe(sequences[i]!.length - 1);
      expect(logProb).toBeCloseTo(sum(scored[i]!.logProbs), 3);
    }
    await expect(new LocalScorer(model).scoreRolling(['A', ''])).rejects.toThrow(/text 1 has no tokens/);
  });
});
