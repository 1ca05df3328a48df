import { referenceEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { onEngine } from '@posttrain/core-tensor/testing';
import type { Completion } from '@posttrain/interfaces';
import fc, { array, asyncProperty, assert as check, constantFrom, integer, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type CausalLM,
  type Continuation,
  continuationLogProbs,
  initialWeights,
  LocalGenerator,
  networkOf,
  sequenceLogProbs,
} from '../src/index.js';
import { type PrefixNode, prefixTree } from '../src/score/prefix-tree.js';
import { packTrees, prefixOfAll, sequenceTrees } from '../src/score/token-forest.js';
import { ENGINES, largestDifference, tinyConfig, tinyModel } from './support.js';

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

/** What a completion is, without how much of its prompt was computed for another one: that is the batch's. */
const withoutCache = ({ usage, ...rest }: Omit<Completion, 'logProbs'>) => {
  const { cachedPromptTokens: _, ...tokens } = usage!;
  return { ...rest, usage: tokens };
};

describe('a request gives the same alone and in a batch', () => {
  const hybrid = { mamba_d_ssm: 24, mamba_n_heads: 4, mamba_d_state: 5, mamba_chunk_size: 8 };
  it.each([
    ['llama', {}, 10],
    ['falcon_h1', hybrid, 3],
  ])(
    '%s on the reference engine: the same tokens, text and end, and log-probabilities to rounding of doubles',
    (model_type, sizes, numRuns) =>
      onEngine(referenceEngine(), async () => {
        const model = await tinyModel('byte-level-bpe', { model_type, ...sizes });
        await check(
          asyncProperty(requests, async (asked) => {
            const { alone, together } = await aloneAndTogether(model, asked);
            together.forEach(({ logProbs, ...rest }, i) => {
              const { logProbs: wanted, ...same } = alone[i]!;
              expect(withoutCache(rest)).toEqual(withoutCache(same));
              for (const [t, logProb] of logProbs!.entries())
                expect(Math.abs(logProb - wanted![t]!)).toBeLessThan(1e-6);
            });
          }),
          { numRuns, seed: 3 },
        );
      }),
  );

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

/** How far apart the log-probability of a token may be: rounding; with factors rounded to bfloat16, one that flips, too. */
const PRECISIONS = [
  ['highest', 'plain', 1e-4],
  ['highest', 'avx512', 1e-4],
  ['medium', 'avx512bf16', 1e-2],
  ['medium', 'amx', 1e-2],
] as const;

describe('what is sampled has the log-probabilities that are trained on', () => {
  for (const [matmulPrecision, cpuKernels, most] of PRECISIONS) {
    it(`matmulPrecision ${matmulPrecision}, multiplied by ${cpuKernels}, within ${most}`, async ({ skip }) => {
      const engine = onnxruntimeEngine({ matmulPrecision, cpuKernels });
      await engine.start().catch((error: Error) => skip(error.message));
      const makeModel = () => tinyModel('byte-level-bpe', { hidden_size: 64, intermediate_size: 160 });
      const { sampled, own, rows } = await onEngine(engine, async () => {
        const model = await makeModel();
        const asked = ['One and one is', 'The quick brown fox jumps. '.repeat(3)].map((prompt, seed) => {
          return { prompt, maxTokens: 12, n: 3, seed, logProbs: true };
        });
        const completions = (await new LocalGenerator(model).generate(asked)).flat();
        const prompts = asked.flatMap(({ prompt, n }) =>
          Array.from({ length: n }, () => model.tokenizer.encode(prompt)),
        );
        const rows = completions.map(({ tokenIds }, i) => [...prompts[i]!, ...tokenIds!]);
        const own = (await sequenceLogProbs(model, rows)).map(({ logProbs }) => logProbs);
        return { sampled: completions.map(({ logProbs }) => logProbs!), own, rows };
      });
      const apart = sampled.map((logProbs, i) => largestDifference(logProbs, own[i]!.subarray(-logProbs.length)));
      expect(Math.max(...apart)).toBeLessThan(most);
      // Rounding is seen in the numbers: nothing above would notice a precision that is not used.
      const exact = await onEngine(onnxruntimeEngine({ cpuKernels: 'off' }), async () =>
        sequenceLogProbs(await makeModel(), rows),
      );
      const changes = own.map((logProbs, i) => largestDifference(logProbs, exact[i]!.logProbs));
      if (matmulPrecision === 'medium') expect(Math.max(...changes)).toBeGreaterThan(1e-3);
      else expect(Math.max(...changes)).toBeLessThan(most);
    });
  }
});

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

describe('sequenceTrees', () => {
  it('has every sequence as a path, and every token that sequences begin with alike once', () => {
    const examples = range(20, (i) => i);
    const questions = [0, 1, 2, 3, 4].map((q) => [...examples, ...range(10 + q, (i) => (i * (q + 2) + q) % 64)]);
    const all = questions.flatMap((question) =>
      [[1], [2], [3, 4, 5], [3, 4, 6, 7]].map((answer) => ({
        tokens: [...question, ...answer],
        start: question.length,
      })),
    );
    expect(prefixOfAll(all)).toBe(20);
    const trees = sequenceTrees(all, 20, 64);
    const found = all.map(() => [] as number[]);
    for (const { tokens, parents, asked } of trees) {
      const pathTo = (at: number): number[] => (at < 0 ? [] : [...pathTo(parents[at]!), tokens[at]!]);
      for (const { at, target, sequence, index } of asked) {
        const { tokens: own, start } = all[sequence]!;
        expect([...examples, ...pathTo(at)]).toEqual(own.slice(0, start + index));
        found[sequence]![index] = target;
      }
    }
    expect(found).toEqual(all.map(({ tokens, start }) => tokens.slice(start)));
    // The last token of a sequence is no input; 3, 4 and 6 are, once.
    const needed = questions.reduce((sum, question) => sum + question.length - 20 + 3, 0);
    expect(trees.reduce((sum, { tokens }) => sum + tokens.length, 0)).toBe(needed);
    const { width, rows, rowsPerPass } = packTrees(trees, { hidden: 64, prefix: 16, rowsOf: () => 4 });
    expect(rows.flat().length).toBe(trees.length);
    for (const row of rows) expect(row.reduce((sum, { tokens }) => sum + tokens.length, 0)).toBeLessThanOrEqual(width);
    expect(rowsPerPass).toBeLessThanOrEqual(4);
  });
});

const MODELS = [
  {},
  { model_type: 'gpt2', n_positions: 160 },
  { model_type: 'mistral', sliding_window: 20 },
  // Scores fall with the distance.
  { model_type: 'bloom', n_layer: 2, n_head: 2 },
];

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
