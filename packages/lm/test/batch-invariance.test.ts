import { referenceEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { onEngine } from '@posttrain/core-tensor/testing';
import type { Completion } from '@posttrain/interfaces';
import { array, asyncProperty, assert as check, constantFrom, integer, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CausalLM, LocalGenerator } from '../src/index.js';
import { tinyModel } from './support.js';

const requests = array(
  record({
    prompt: constantFrom('One and one is', 'One and one is two, and', 'x', 'The quick brown fox jumps. '.repeat(3)),
    prefix: constantFrom('', ' two', ' and so on'),
    maxTokens: integer({ min: 1, max: 10 }),
    n: integer({ min: 1, max: 3 }),
    temperature: constantFrom(0, 1),
    seed: integer({ min: 0, max: 99 }),
    stop: constantFrom<string[]>([], [' '], ['e', 't']),
    maxBatch: constantFrom(2, 64),
  }),
  { minLength: 2, maxLength: 5 },
);

/** The completions of each request by itself, and of all of them together in one batch. */
async function aloneAndTogether(model: CausalLM, asked: Parameters<Parameters<typeof requests.map>[0]>[0]) {
  const { maxBatch } = asked[0]!;
  const given = asked.map(({ maxBatch: _, ...request }) => ({ ...request, logProbs: true }));
  const together = await new LocalGenerator(model, { maxBatch }).generate(given);
  const alone: Completion[][] = [];
  for (const request of given) alone.push(...(await new LocalGenerator(model).generate([request])));
  return { alone: alone.flat(), together: together.flat() };
}

describe('a request gives the same alone and in a batch', () => {
  it('on the reference engine: the same tokens, text and end, and the same log-probabilities to rounding of doubles', () =>
    onEngine(referenceEngine(), async () => {
      const model = await tinyModel();
      await check(
        asyncProperty(requests, async (asked) => {
          const { alone, together } = await aloneAndTogether(model, asked);
          together.forEach(({ logProbs, ...rest }, i) => {
            const { logProbs: wanted, ...same } = alone[i]!;
            expect(rest).toEqual(same);
            for (const [t, logProb] of logProbs!.entries()) expect(Math.abs(logProb - wanted![t]!)).toBeLessThan(1e-6);
          });
        }),
        { numRuns: 10, seed: 3 },
      );
    }));

  it('on onnxruntime: the same log-probabilities of the same tokens to rounding of floats', () =>
    onEngine(onnxruntimeEngine(), async () => {
      const model = await tinyModel();
      await check(
        asyncProperty(requests, async (asked) => {
          const { alone, together } = await aloneAndTogether(model, asked);
          together.forEach(({ logProbs, tokenIds }, i) => {
            const wanted = alone[i]!;
            // Rounding may turn a draw; what comes after it has another beginning.
            const turned = tokenIds!.findIndex((token, t) => token !== wanted.tokenIds![t]);
            const shared = turned < 0 ? tokenIds!.length : turned;
            for (let t = 0; t < shared; t++) {
              const difference = Math.abs(logProbs![t]! - wanted.logProbs![t]!);
              expect(difference, `token ${t} of completion ${i}`).toBeLessThan(1e-4);
            }
          });
        }),
        { numRuns: 10, seed: 3 },
      );
    }));
});
