import { onEngine } from '@posttrain/core-tensor/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Continuation, continuationLogProbs, initialWeights, networkOf, sequenceLogProbs } from '../src/index.js';
import { type PrefixNode, prefixTree } from '../src/score/prefix-tree.js';
import { ENGINES, largestDifference, tinyConfig } from './support.js';

const range = (n: number, f: (i: number) => number) => Array.from({ length: n }, (_, i) => f(i));

/** Where each sequence leaves the tree. */
function branches({ roots, alone }: ReturnType<typeof prefixTree>) {
  const found = new Map(alone.map((i) => [i, 0]));
  const visit = (node: PrefixNode, from: number, path: readonly PrefixNode[]) => {
    expect(node.from).toBe(from);
    expect(node.to).toBeGreaterThan(from);
    for (const leaf of node.leaves) {
      expect(found.has(leaf)).toBe(false);
      found.set(leaf, node.to);
      pathOf.set(leaf, [...path, node]);
    }
    for (const child of node.children) visit(child, node.to, [...path, node]);
  };
  const pathOf = new Map<number, readonly PrefixNode[]>();
  for (const root of roots) visit(root, 0, []);
  return { found, pathOf };
}

describe('prefixTree', () => {
  it('has each sequence once, behind prefixes of its own that leave the token before its start', () => {
    const continuation = fc
      .tuple(fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 2, maxLength: 14 }), fc.nat())
      .map(([tokens, seed]): Continuation => ({ tokens, start: 1 + (seed % (tokens.length - 1)) }));
    fc.assert(
      fc.property(fc.array(continuation, { maxLength: 12 }), fc.integer({ min: 1, max: 8 }), (all, least) => {
        const { found, pathOf } = branches(prefixTree(all, least));
        expect([...found.keys()].sort((a, b) => a - b)).toEqual(all.map((_, i) => i));
        for (const [i, to] of found) {
          expect(to).toBeLessThan(all[i]!.start);
          for (const { from, to: end, sequence } of pathOf.get(i) ?? []) {
            expect(all[sequence]!.tokens.slice(from, end)).toEqual(all[i]!.tokens.slice(from, end));
          }
        }
      }),
    );
  });

  it('shares what choices, and what questions, have in common, and not what is not worth while', () => {
    const examples = range(100, (i) => i);
    const questions = [200, 300].map((first) => [...examples, ...range(70, (i) => first + i)]);
    const all = questions.flatMap((question) =>
      [1, 2, 3].map((answer) => ({ tokens: [...question, answer, 9], start: 170 })),
    );
    const { roots, alone } = prefixTree(all);
    expect(alone).toEqual([]);
    expect(roots.map(({ from, to, leaves }) => [from, to, leaves])).toEqual([[0, 100, []]]);
    expect(roots[0]!.children.map(({ from, to, leaves }) => [from, to, leaves])).toEqual([
      [100, 169, [0, 1, 2]],
      [100, 169, [3, 4, 5]],
    ]);
    const short = [1, 2].map((answer) => ({ tokens: [...range(60, (i) => i), answer], start: 60 }));
    expect(prefixTree(short)).toEqual({ roots: [], alone: [0, 1] });
  });
});

const MODELS = [{}, { model_type: 'gpt2', n_positions: 160 }, { model_type: 'mistral', sliding_window: 20 }];

describe.each(ENGINES)('continuationLogProbs on the %s engine', (_, makeEngine) => {
  const engine = makeEngine();

  it.each(MODELS)('is what scoring each sequence by itself gives (%o)', (kind) =>
    onEngine(engine, async () => {
      const network = networkOf(tinyConfig({ max_position_embeddings: 160, ...kind }));
      const weights = await initialWeights(network, 1);
      const examples = range(50, (i) => (i * 5) % 64);
      const questions = [1, 2, 3].map((q) => [...examples, ...range(20 + 10 * q, (i) => (i * q + q) % 64)]);
      const all = [
        ...questions.flatMap((question, q) =>
          range(4, (i) => i).map((i) => ({
            tokens: [...question, ...range(1 + i + q, (t) => (7 * t + i) % 64)],
            start: question.length,
          })),
        ),
        // Up to one token more than the context; with a start in the shared part; like nobody else.
        { tokens: [...questions[2]!, ...range(61, (i) => i)], start: 120 },
        { tokens: questions[1]!, start: 30 },
        { tokens: [63, 5, 4], start: 1 },
      ];
      const { roots } = prefixTree(all);
      expect(roots.length).toBe(1);
      const plain = await sequenceLogProbs(
        { network, weights },
        all.map(({ tokens }) => tokens),
      );
      for (const options of [{}, { maxTokensPerPass: 64, maxCacheBytes: 1 }]) {
        const shared = await continuationLogProbs({ network, weights }, all, options);
        for (const [i, { logProbs, isGreedy }] of shared.entries()) {
          const from = all[i]!.start - 1;
          expect(logProbs.length).toBe(all[i]!.tokens.length - all[i]!.start);
          expect(largestDifference(logProbs, plain[i]!.logProbs.subarray(from))).toBeLessThan(1e-4);
          expect(isGreedy).toEqual(plain[i]!.isGreedy.subarray(from));
        }
      }
    }),
  );
});
