import type { Generator } from '@posttrain/interfaces';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bestOfN, majorityVote, NoCandidateError } from '../src/index.js';
import { completion, scripted, table } from './doubles.js';

const problem = { prompt: 'q' };
const digits = ['1', '2', '3', '4', '5', '6', '7', '8'];
const verifier = () => table(Number);

describe('budget', () => {
  it('stops at maxCompletions with the best so far', async () => {
    const result = await bestOfN(problem, {
      generator: scripted(digits),
      verifier: verifier(),
      n: 8,
      budget: { maxCompletions: 3 },
    });
    expect(result).toMatchObject({ text: '3', exhausted: 'maxCompletions' });
    expect(result.trace.spent.completions).toBe(3);
    expect(result.trace.exhausted).toBe('maxCompletions');
  });

  it('does not call a budget exhausted that was just enough', async () => {
    const result = await bestOfN(problem, {
      generator: scripted(digits),
      verifier: verifier(),
      n: 8,
      sampling: { maxTokens: 3 },
      budget: { maxCompletions: 8, maxVerifierCalls: 8, maxCompletionTokens: 24 },
    });
    expect(result).toMatchObject({ text: '8', exhausted: null });
  });

  it('draws no completion that could not be verified', async () => {
    const result = await bestOfN(problem, {
      generator: scripted(digits),
      verifier: verifier(),
      n: 8,
      batchSize: 3,
      budget: { maxVerifierCalls: 4 },
    });
    expect(result).toMatchObject({ text: '4', exhausted: 'maxVerifierCalls' });
    expect(result.trace.spent).toMatchObject({ completions: 4, verifierCalls: 4, generatorCalls: 2 });
  });

  it('gives back the tokens a completion did not use, and never exceeds the limit', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 10 }), { minLength: 20, maxLength: 20 }),
        fc.integer({ min: 10, max: 120 }),
        fc.integer({ min: 1, max: 20 }),
        async (lengths, maxCompletionTokens, batchSize) => {
          const queue = [...lengths];
          const generator: Generator = {
            name: 'lengths',
            generate: async ([request]) => [Array.from({ length: request!.n! }, () => completion('1', queue.shift()!))],
          };
          const result = await majorityVote(problem, {
            generator,
            n: 20,
            batchSize,
            sampling: { maxTokens: 10 },
            budget: { maxCompletionTokens },
          });
          const { completions, completionTokens } = result.trace.spent;
          expect(completionTokens).toBeLessThanOrEqual(maxCompletionTokens);
          expect(completionTokens).toBe(lengths.slice(0, completions).reduce((a, b) => a + b, 0));
          if (completions < 20) {
            expect(result.exhausted).toBe('maxCompletionTokens');
            expect(maxCompletionTokens - completionTokens).toBeLessThan(10);
          } else expect(result.exhausted).toBeNull();
        },
      ),
    );
  });

  it('takes the tokens of completions that were counted together as shares, and blames who goes over their sum', async () => {
    const sharing = (...tokens: readonly [number, number]): Generator => ({
      name: 'sharing',
      generate: async () => [tokens.map((count) => completion('1', count))],
    });
    const options = { n: 2, sampling: { maxTokens: 4 }, budget: { maxCompletionTokens: 8 } };
    const { trace } = await majorityVote(problem, { ...options, generator: sharing(7, 1) });
    expect(trace.spent.completionTokens).toBe(8);
    await expect(majorityVote(problem, { ...options, generator: sharing(7, 2) })).rejects.toThrow(
      /generator "sharing": .*7 completionTokens were spent where at most 4 were reserved/,
    );
  });

  it('needs maxTokens to keep a token budget', async () => {
    await expect(
      majorityVote(problem, { generator: scripted([]), n: 1, budget: { maxCompletionTokens: 5 } }),
    ).rejects.toThrow(/maxCompletionTokens can only be kept when sampling.maxTokens is set/);
  });

  it('refuses a wall time no timer can keep', async () => {
    await expect(
      majorityVote(problem, { generator: scripted([]), n: 1, budget: { maxWallTimeMs: 2 ** 31 } }),
    ).rejects.toThrow(/budget: maxWallTimeMs is 2147483648; it must be a whole number from 0 to 2147483647/);
  });

  it('throws when nothing could be drawn, naming the limit', async () => {
    const error = await majorityVote(problem, {
      generator: scripted(digits),
      n: 2,
      budget: { maxCompletions: 0 },
    }).catch((e) => e);
    expect(error).toBeInstanceOf(NoCandidateError);
    expect(error.code).toBe('TTS_NO_CANDIDATE');
    expect(error.message).toMatch(/The budget ended the search: maxCompletions/);
    expect(error.trace.exhausted).toBe('maxCompletions');
  });

  /** Answers the first call at once; later calls answer only when aborted, as `late` says. */
  const slow = (late: 'throw' | 'partial'): Generator => {
    let calls = 0;
    return {
      name: 'slow',
      generate: async ([request]) => {
        const { n, signal } = request!;
        if (calls++ === 0) return [Array.from({ length: n! }, () => completion('1'))];
        await new Promise((resolve) => signal!.addEventListener('abort', resolve, { once: true }));
        if (late === 'throw') throw signal!.reason;
        return [Array.from({ length: n! }, () => ({ ...completion('9', 2), finishReason: 'abort' as const }))];
      },
    };
  };

  it('returns the best so far when the wall time is over', async () => {
    const options = { n: 4, batchSize: 2, budget: { maxWallTimeMs: 200 } };
    const lost = await majorityVote(problem, { ...options, generator: slow('throw') });
    expect(lost).toMatchObject({ answer: '1', exhausted: 'maxWallTimeMs' });
    expect(lost.trace.spent).toMatchObject({ completions: 4, lostCompletions: 2, completionTokens: 6 });
    const partial = await majorityVote(problem, { ...options, generator: slow('partial') });
    expect(partial).toMatchObject({ answer: '1', exhausted: 'maxWallTimeMs' });
    expect(partial.trace.spent).toMatchObject({ completions: 4, lostCompletions: 0, completionTokens: 10 });
    expect(partial.trace.nodes.at(-1)).toMatchObject({ finishReason: 'abort', status: 'dropped', reason: 'aborted' });
  });

  it('does not wait for ever for a generator that ignores the signal', async () => {
    const generator: Generator = { name: 'deaf', generate: () => new Promise(() => {}) };
    const error = await majorityVote(problem, { generator, n: 1, budget: { maxWallTimeMs: 1 } }).catch((e) => e);
    expect(error).toBeInstanceOf(NoCandidateError);
    expect(error.trace.spent).toMatchObject({ completions: 1, lostCompletions: 1 });
  });

  it('leaves unverified what the wall time cut off', async () => {
    let calls = 0;
    const stuck = {
      name: 'stuck',
      verify: (requests: readonly { signal?: AbortSignal }[]) =>
        calls++ === 0
          ? Promise.resolve(requests.map(() => ({ score: 1 })))
          : new Promise<never>((_, reject) => {
              const { signal } = requests[0]!;
              signal!.addEventListener('abort', () => reject(signal!.reason), { once: true });
            }),
    };
    const result = await bestOfN(problem, {
      generator: scripted(digits),
      verifier: stuck,
      n: 4,
      batchSize: 2,
      budget: { maxWallTimeMs: 500 },
    });
    expect(result).toMatchObject({ text: '1', score: 1, exhausted: 'maxWallTimeMs' });
    expect(result.trace.nodes[3]).toMatchObject({ status: 'dropped', reason: 'not verified: wall time over' });
    expect(result.trace.nodes[3]).not.toHaveProperty('score');
  });

  it('rejects with the reason of the caller’s signal', async () => {
    const controller = new AbortController();
    const generator: Generator = { name: 'deaf', generate: () => new Promise(() => {}) };
    const running = majorityVote(problem, { generator, n: 1, signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    await expect(majorityVote(problem, { generator, n: 1, signal: controller.signal })).rejects.toThrow('enough');
  });
});
