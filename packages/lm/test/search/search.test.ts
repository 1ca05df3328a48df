import { OutOfBlocksError, referenceEngine, tensor } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { describe, expect, it } from 'vitest';
import {
  beamSearch,
  contrastiveDecoding,
  contrastiveSearch,
  diverseBeamSearch,
  initialWeights,
  ModelRunner,
  type Network,
  NoContinuationError,
  networkOf,
  type SearchHypothesis,
  type SearchPrompt,
  sequenceLogProbs,
  type Weights,
} from '../../src/index.js';
import { decodeAll, ENGINES, rowOf, tinyConfig } from '../support.js';

interface Model {
  readonly network: Network;
  readonly weights: Weights;
}

async function tiny(overrides: Readonly<Record<string, unknown>> = {}, seed = 5): Promise<Model> {
  const network = networkOf(tinyConfig(overrides));
  return { network, weights: await onEngine(referenceEngine(), () => initialWeights(network, seed)) };
}

const promptOf = (prompt: readonly number[], maxTokens: number, rest: Partial<SearchPrompt> = {}): SearchPrompt => ({
  prompt,
  maxTokens,
  endTokens: new Set(),
  ...rest,
});

const PROMPTS = [
  [3, 1, 2],
  [2, 2, 9, 30, 7],
];
const tokensOf = (found: readonly SearchHypothesis[]) => found.map(({ tokens }) => tokens);

/** Every sequence of at most `longest` of `vocabulary` tokens that ends there or with token 0, and with nothing before. */
function sequences(vocabulary: number, longest: number): number[][] {
  if (longest === 0) return [[]];
  const rest = sequences(vocabulary, longest - 1);
  return Array.from({ length: vocabulary }, (_, token) =>
    token === 0 ? [[0]] : rest.map((end) => [token, ...end]),
  ).flat();
}

/** Σ log p of each token of the continuation, in passes that know nothing of a cache. */
async function scoreAll(
  { network, weights }: Model,
  prompt: readonly number[],
  continuations: readonly (readonly number[])[],
) {
  const whole = continuations.map((tokens) => [...prompt, ...tokens]);
  const scored = await sequenceLogProbs({ network, weights }, whole);
  return scored.map(({ logProbs }) => logProbs.subarray(prompt.length - 1).reduce((a, b) => a + b, 0));
}

describe.each(ENGINES)('on the %s engine', (_, makeEngine) => {
  const engine = makeEngine();

  it('as many beams as sequences are exhaustive', () =>
    onEngine(engine, async () => {
      const model = await tiny({ vocab_size: 3 });
      const prompt = [2, 1, 2];
      const all = sequences(3, 4);
      const sums = await scoreAll(model, prompt, all);
      // GNMT's: ((5 + L) / 6)^0.6 for L = 1 … 4.
      const wu = [1, 1.0969, 1.1884, 1.2754];
      for (const [lengthPenalty, lengthNormalization] of [
        ...[0, 1, -0.5].map((alpha) => [alpha, 'power'] as const),
        [0.6, 'wu'],
      ] as const) {
        const runner = new ModelRunner(model);
        const [found] = await beamSearch(runner, [promptOf(prompt, 4, { endTokens: new Set([0]) })], {
          numBeams: 3 ** 4,
          ...{ lengthPenalty, lengthNormalization, earlyStopping: 'never' },
        });
        const scores = sums.map((sum, i) => {
          const { length } = all[i]!;
          return sum / (lengthNormalization === 'wu' ? wu[length - 1]! : length ** lengthPenalty);
        });
        const ranked = all.map((_, i) => i).sort((a, b) => scores[b]! - scores[a]!);
        expect(found!.length).toBe(all.length);
        expect(found![0]!.tokens).toEqual(all[ranked[0]!]);
        for (const [place, i] of ranked.entries()) expect(found![place]!.score).toBeCloseTo(scores[i]!, 3);
        expect(runner.freeTokens).toBe(runner.capacity);
      }
    }));

  it('one beam, no contrast and one candidate are greedy decoding', () =>
    onEngine(engine, async () => {
      const model = await tiny();
      const plain = await decodeAll(
        model,
        PROMPTS.map((prompt) => rowOf(prompt, 12)),
      );
      // An end token that is met on the way, so that the rows end at different places.
      const endTokens = new Set([plain.tokens[0]![5]!]);
      const isEnd = (token: number) => endTokens.has(token);
      const greedy = await decodeAll(
        model,
        PROMPTS.map((prompt) => rowOf(prompt, 12, { isEnd })),
      );
      const prompts = PROMPTS.map((prompt) => promptOf(prompt, 12, { endTokens }));
      const runner = new ModelRunner(model);
      for (const found of [
        (await beamSearch(runner, prompts, { numBeams: 1 })).map(([best]) => best!),
        (await contrastiveDecoding(runner, prompts, { amateur: runner, alpha: 1, numBeams: 1 })).map(([best]) => best!),
        await contrastiveSearch(runner, prompts, { topK: 4, penaltyAlpha: 0 }),
        await contrastiveSearch(runner, prompts, { topK: 1, penaltyAlpha: 0.6 }),
      ]) {
        expect(tokensOf(found)).toEqual(greedy.tokens);
        expect(found.map(({ finishReason }) => finishReason)).toEqual(greedy.finishes);
        const logProbs = found.flatMap((hypothesis) => hypothesis.logProbs);
        for (const [i, logProb] of greedy.logProbs.flat().entries()) expect(logProbs[i]).toBeCloseTo(logProb, 4);
      }
      expect(runner.freeTokens).toBe(runner.capacity);
    }));

  it('scores are those of the sequences, and prompts do not depend on each other', () =>
    onEngine(engine, async () => {
      const model = await tiny({ model_type: 'gpt2' });
      const runner = new ModelRunner(model);
      const options = { numBeams: 3, lengthPenalty: 0.7 };
      const prompts = PROMPTS.map((prompt) => promptOf(prompt, 20));
      const together = await beamSearch(runner, prompts, options);
      for (const [i, prompt] of prompts.entries()) {
        const [alone] = await beamSearch(new ModelRunner(model), [prompt], options);
        expect(tokensOf(together[i]!)).toEqual(tokensOf(alone!));
        const sums = await scoreAll(model, prompt.prompt, tokensOf(alone!));
        for (const [j, sum] of sums.entries()) expect(together[i]![j]!.score).toBeCloseTo(sum / 20 ** 0.7, 4);
      }
    }));
});

describe('diverse beam search', () => {
  it('with one group is beam search, and without penalty its groups are the same', async () => {
    const runner = new ModelRunner(await tiny());
    const prompts = PROMPTS.map((prompt) => promptOf(prompt, 8, { endTokens: new Set([5]) }));
    const beams = await beamSearch(runner, prompts, { numBeams: 3 });
    const one = await diverseBeamSearch(runner, prompts, { numBeams: 3, numBeamGroups: 1, diversityPenalty: 9 });
    expect(one.map(tokensOf)).toEqual(beams.map(tokensOf));
    for (const [i, { score }] of one.flat().entries()) expect(score).toBeCloseTo(beams.flat()[i]!.score, 5);
    const twice = await diverseBeamSearch(runner, prompts, { numBeams: 6, numBeamGroups: 2, diversityPenalty: 0 });
    expect(twice.map(tokensOf)).toEqual(beams.map((found) => tokensOf(found).flatMap((tokens) => [tokens, tokens])));
  });

  it('with a large penalty has no token twice at the same place', async () => {
    const runner = new ModelRunner(await tiny());
    const [found] = await diverseBeamSearch(runner, [promptOf([3, 1, 2], 8)], {
      numBeams: 5,
      numBeamGroups: 5,
      diversityPenalty: 1e6,
    });
    for (let t = 0; t < 8; t++) expect(new Set(found!.map(({ tokens }) => tokens[t])).size).toBe(5);
  });
});

describe('contrastive decoding', () => {
  it('against an amateur that knows nothing is beam search', async () => {
    const model = await tiny();
    const head = model.weights['lm_head.weight']!;
    const weights = { ...model.weights, 'lm_head.weight': tensor(new Float32Array(head.size), head.shape) };
    const [runner, amateur] = [new ModelRunner(model), new ModelRunner({ ...model, weights })];
    const prompts = PROMPTS.map((prompt) => promptOf(prompt, 8));
    const found = await contrastiveDecoding(runner, prompts, { amateur, alpha: 0, numBeams: 3 });
    const beams = await beamSearch(runner, prompts, { numBeams: 3 });
    expect(found.map(tokensOf)).toEqual(beams.map(tokensOf));
    // Every token is worth log V more.
    for (const [i, { score }] of found.flat().entries())
      expect(score).toBeCloseTo(beams.flat()[i]!.score + Math.log(64), 4);
  });
});

describe('what ends a search', () => {
  it('lets go of everything when the cache is too small, and when every token is excluded', async () => {
    const model = await tiny();
    const small = () => new ModelRunner(model, { cacheTokens: 128 });
    const prompts = [promptOf([3, 1, 2], 93)];
    const none = [
      promptOf([3, 1, 2], 80, { process: (scores, tokens) => tokens.length > 1 && scores.fill(-Infinity) }),
    ];
    for (const search of [
      (runner: ModelRunner, prompts: SearchPrompt[]) => beamSearch(runner, prompts, { numBeams: 4 }),
      (runner: ModelRunner, prompts: SearchPrompt[]) =>
        contrastiveSearch(runner, prompts, { topK: 4, penaltyAlpha: 0.5 }),
      (runner: ModelRunner, prompts: SearchPrompt[]) =>
        contrastiveDecoding(runner, prompts, { amateur: runner, numBeams: 3 }),
    ]) {
      const runner = small();
      await expect(search(runner, prompts)).rejects.toThrow(OutOfBlocksError);
      expect(runner.freeTokens).toBe(runner.capacity);
      await expect(search(runner, none)).rejects.toThrow(NoContinuationError);
      expect(runner.freeTokens).toBe(runner.capacity);
    }
  });

  it('keeps what there is when it is cancelled, of that prompt only', async () => {
    const runner = new ModelRunner(await tiny());
    let asked = 0;
    const isCancelled = () => ++asked > 4;
    const prompts = [promptOf([3, 1, 2], 10, { isCancelled }), promptOf([2, 2, 9], 10)];
    const found = await beamSearch(runner, prompts, { numBeams: 3 });
    expect(found.map((list) => list.map(({ tokens }) => tokens.length))).toEqual([
      [4, 4, 4],
      [10, 10, 10],
    ]);
    expect(found.map((list) => list[0]!.finishReason)).toEqual(['abort', 'length']);
    asked = 0;
    const contrasted = await contrastiveSearch(runner, prompts, { topK: 3, penaltyAlpha: 0.5 });
    expect(contrasted.map(({ tokens }) => tokens.length)).toEqual([4, 10]);
    expect(contrasted[0]!.finishReason).toBe('abort');
    expect(runner.freeTokens).toBe(runner.capacity);
  });

  it('excludes tokens, ends where the caller says, and at the end of the context', async () => {
    const runner = new ModelRunner(await tiny());
    const odd = (scores: Float64Array) => {
      for (let token = 1; token < scores.length; token += 2) scores[token] = Number.NEGATIVE_INFINITY;
    };
    const isFinished = (tokens: readonly number[]) => tokens.length === 3;
    const prompts = [promptOf([3, 1, 2], 10, { process: odd, isFinished }), promptOf(new Array(90).fill(7), 50)];
    const beams = await beamSearch(runner, prompts, { numBeams: 3 });
    const searched = await contrastiveSearch(runner, prompts, { topK: 3, penaltyAlpha: 0.5 });
    for (const [first, second] of [[beams[0]![0]!, beams[1]![0]!], searched] as const) {
      expect(first!.tokens.length).toBe(3);
      expect(first!.tokens.every((token) => token % 2 === 0)).toBe(true);
      expect([first!.finishReason, second!.finishReason]).toEqual(['stop', 'length']);
      expect(second!.tokens.length).toBe(96 - 90);
    }
  });

  it('refuses options that make no sense', async () => {
    const runner = new ModelRunner(await tiny());
    const prompts = [promptOf([3, 1, 2], 10)];
    const other = new ModelRunner(await tiny({ vocab_size: 32 }));
    await expect(beamSearch(runner, prompts, { numBeams: 0 })).rejects.toThrow(
      'beamSearch: numBeams is 0; it must be a whole number of at least 1',
    );
    await expect(beamSearch(runner, prompts, { numBeams: 2, lengthPenalty: Number.NaN })).rejects.toThrow(
      'lengthPenalty',
    );
    await expect(beamSearch(runner, prompts, { numBeams: 2, lenghtPenalty: 1 } as never)).rejects.toThrow(
      'lengthPenalty',
    );
    await expect(beamSearch(runner, [promptOf([], 10)], { numBeams: 2 })).rejects.toThrow('prompt 0 has no tokens');
    await expect(beamSearch(runner, [promptOf([1], 0)], { numBeams: 2 })).rejects.toThrow('maxTokens');
    await expect(
      diverseBeamSearch(runner, prompts, { numBeams: 4, numBeamGroups: 3, diversityPenalty: 1 }),
    ).rejects.toThrow('3 groups do not divide 4 beams');
    await expect(contrastiveDecoding(runner, prompts, { amateur: other })).rejects.toThrow('64 and 32 tokens differ');
    await expect(contrastiveSearch(runner, prompts, { topK: 2, penaltyAlpha: 2 })).rejects.toThrow('penaltyAlpha');
  });
});
