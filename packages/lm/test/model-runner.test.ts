import { Key, OutOfBlocksError, referenceEngine, setEngine } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { type CachedSequence, initialWeights, LocalScorer, logSoftmax, ModelRunner, networkOf } from '../src/index.js';
import { ENGINES, largestDifference, logitsOf, tinyConfig, tinyModel } from './support.js';

beforeAll(() => setEngine(referenceEngine()));

async function tiny(config: Record<string, unknown> = {}, seed = 1) {
  const network = networkOf(tinyConfig(config));
  return { network, weights: await onEngine(referenceEngine(), () => initialWeights(network, seed)) };
}

const FAMILIES: readonly [name: string, config: Record<string, unknown>][] = [
  ['llama', { hidden_size: 32, num_attention_heads: 4, num_key_value_heads: 2 }],
  ['mistral', { model_type: 'mistral', sliding_window: 5, num_key_value_heads: 1 }],
  ['gpt2', { model_type: 'gpt2' }],
];

const MAMBA = { num_heads: 4, head_dim: 8, n_groups: 2, state_size: 6, chunk_size: 8 };
const RECURRENT: typeof FAMILIES = [
  ['mamba2', { model_type: 'mamba2', ...MAMBA }],
  [
    'falcon_h1',
    { model_type: 'falcon_h1', mamba_d_ssm: 24, mamba_n_heads: 4, mamba_d_state: 5, mamba_chunk_size: 8, head_dim: 8 },
  ],
];

function softmaxOf(logits: Float32Array, temperature: number): number[] {
  const weights = Array.from(logits, (x) => Math.exp((x - Math.max(...logits)) / temperature));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / total);
}

const range = (n: number, f: (i: number) => number) => Array.from({ length: n }, (_, i) => f(i));

describe.each(ENGINES)('ModelRunner on the %s engine', (_, makeEngine) => {
  const engine = makeEngine();

  it.each(FAMILIES)(
    '%s: a tree gives every token the logits of its path, and goes on from the path that is kept',
    (_family, config) =>
      onEngine(engine, async () => {
        const model = await tiny(config);
        const runner = new ModelRunner(model, { cacheTokens: 30 * 16 });
        const random = Key.fromSeed(12).uniformHost(400);
        let drawn = 0;
        const below = (n: number) => Math.floor(random[drawn++]! * n);
        // Some fill a block, some cross into the next, two share theirs; the last is no tree.
        const live = [3, 15, 30].map(() => runner.start());
        await runner.extend(live.map((sequence, i) => ({ sequence, tokens: range([3, 15, 30][i]!, () => below(64)) })));
        live.push(runner.fork(live[1]!));
        for (let round = 0; round < 2; round++) {
          const trees = live.map((sequence, i) => {
            const count = i === 2 ? 5 : 9 - i;
            const tokens = range(count, () => below(64));
            return {
              sequence,
              tokens,
              ...(i < 2 || i === 3 ? { parents: range(count, (n) => below(n + 1) - 1) } : {}),
            };
          });
          const before = live.map(({ tokens }) => [...tokens]);
          const results = await runner.extend(trees, { logits: 'all' });
          for (const [i, { sequence, tokens, parents }] of trees.entries()) {
            const paths = tokens.map((_, n) => {
              const path: number[] = [];
              for (let at = n; at >= 0; at = parents ? parents[at]! : at - 1) path.unshift(at);
              return path;
            });
            for (const [n, path] of paths.entries()) {
              const wanted = (await logitsOf(model, [...before[i]!, ...path.map((at) => tokens[at]!)])).at(-1)!;
              expect(largestDifference(results[i]!.logits[n]!, wanted)).toBeLessThan(2e-4);
            }
            const [path] = paths.sort((a, b) => b.length - a.length || b.at(-1)! - a.at(-1)!);
            runner.keep(sequence, before[i]!.length, path!);
            expect(sequence.tokens).toEqual([...before[i]!, ...path!.map((at) => tokens[at]!)]);
          }
          for (let step = 0; step < 3; step++) {
            const next = await runner.extend(live.map((sequence) => ({ sequence, tokens: [below(64)] })));
            for (const [i, sequence] of live.entries()) {
              const wanted = (await logitsOf(model, sequence.tokens)).at(-1)!;
              expect(largestDifference(next[i]!.logits[0]!, wanted)).toBeLessThan(2e-4);
            }
          }
        }
        const [sequence] = live as [CachedSequence];
        const extend = (parents: number[]) => runner.extend([{ sequence, tokens: [1, 2], parents }]);
        await expect(extend([-1])).rejects.toThrow(/needs a parent for each of its 2 tokens/);
        await expect(extend([-1, 1])).rejects.toThrow(/needs a parent/);
      }),
  );

  it.each([...FAMILIES, ...RECURRENT])(
    '%s: any forks, cuts and releases give the logits of one pass without a cache',
    (family, config) =>
      onEngine(engine, async () => {
        const model = await tiny(config);
        const packWeights = family === 'llama' || family === 'falcon_h1';
        const runner = new ModelRunner(model, { cacheTokens: 30 * 16, maxTokensPerPass: 32, packWeights });
        const random = Key.fromSeed(11).uniformHost(2000);
        let drawn = 0;
        const below = (n: number) => Math.floor(random[drawn++]! * n);
        let live: CachedSequence[] = [runner.start()];
        for (let i = 0; i < 30; i++) {
          const one = live[below(live.length)]!;
          const action = below(6);
          if (action === 0 && live.length < 5) live.push(runner.fork(one, below(one.length + 1)));
          else if (action === 1) runner.truncate(one, below(one.length + 1));
          else if (action === 2 && live.length > 1) {
            runner.release(one);
            live = live.filter((other) => other !== one);
          } else if (action === 3 && live.length < 5) live.push(runner.start([...one.tokens, 1]));
          else {
            const chosen = live.filter((sequence) => sequence.length < 50 && below(2) === 0);
            const inputs = chosen.map((sequence) => {
              const tokens = range(below(3) === 0 ? 1 + below(40) : 1, () => below(64));
              return { sequence, tokens, ...(below(2) === 0 ? { temperature: below(3) / 2 } : {}) };
            });
            const logits = below(2) === 0 ? 'all' : 'last';
            const results = await runner.extend(inputs, { logits, hidden: true });
            for (const [n, { sequence, tokens, temperature }] of inputs.entries()) {
              const wanted = await logitsOf(model, sequence.tokens);
              const rows = results[n]!.logits;
              expect(rows.length).toBe(logits === 'all' ? tokens.length : 1);
              expect(results[n]!.hidden!.length).toBe(rows.length);
              expect(results[n]!.softmax?.length).toBe(temperature === undefined ? undefined : rows.length);
              for (const [at, { probabilities, mostLikely }] of (results[n]!.softmax ?? []).entries()) {
                expect(mostLikely).toBe(rows[at]!.indexOf(Math.max(...rows[at]!)));
                expect(largestDifference([...probabilities], softmaxOf(rows[at]!, temperature || 1))).toBeLessThan(
                  1e-5,
                );
              }
              expect(
                largestDifference(
                  rows.flatMap((row) => [...row]),
                  wanted.slice(-rows.length).flat(),
                ),
              ).toBeLessThan(2e-4);
            }
          }
        }
        for (const sequence of live) runner.release(sequence);
        expect(runner.freeTokens).toBe(runner.capacity);
      }),
  );

  it('gives two runners of one network results of their own', () =>
    onEngine(engine, async () => {
      const model = await tiny();
      const runners = [new ModelRunner(model), new ModelRunner(model)];
      const sequences = runners.map((runner) => runner.start());
      for (const step of range(4, (i) => i)) {
        const tokens = runners.map((_, i) => [3 * step + i + 1]);
        const results = await Promise.all(
          runners.map((runner, i) => runner.extend([{ sequence: sequences[i]!, tokens: tokens[i]! }])),
        );
        for (const [i, [result]] of results.entries()) {
          const wanted = await logitsOf(model, sequences[i]!.tokens);
          expect(largestDifference([...result!.logits[0]!], wanted.at(-1)!)).toBeLessThan(2e-4);
        }
      }
    }));

  it('computes what a sequence in the cache begins with only once, and says when nothing more fits', () =>
    onEngine(engine, async () => {
      const model = await tiny();
      const runner = new ModelRunner(model, { cacheTokens: 64 });
      const prompt = range(40, (i) => i);
      const first = runner.start(prompt);
      expect(first.length).toBe(0);
      const [whole] = await runner.extend([{ sequence: first, tokens: prompt }]);
      const logits = Float32Array.from(whole!.logits[0]!);
      runner.release(first);
      const again = runner.start(prompt);
      expect(again.tokens).toEqual(prompt.slice(0, 39));
      const [last] = await runner.extend([{ sequence: again, tokens: [39] }]);
      expect(largestDifference(last!.logits[0]!, logits)).toBeLessThan(1e-5);
      const free = runner.freeTokens;
      const other = runner.start();
      await expect(runner.extend([{ sequence: other, tokens: prompt }])).rejects.toThrow(OutOfBlocksError);
      expect([other.length, runner.freeTokens]).toEqual([0, free]);
      // What is released makes room when it is needed.
      runner.release(again);
      await runner.extend([{ sequence: other, tokens: prompt.toReversed() }]);
      expect(runner.freeTokens).toBe(16);
    }));

  it.each(RECURRENT)('%s: begins where states are kept, and goes on from there', (_family, config) =>
    onEngine(engine, async () => {
      const model = await tiny({ ...config, max_position_embeddings: 400 });
      const runner = new ModelRunner(model);
      const prompt = range(300, (i) => (7 * i + 3) % 64);
      const first = runner.start(prompt);
      await runner.extend([{ sequence: first, tokens: prompt }]);
      const other = [...prompt.slice(0, 280), 1, 2, 3];
      // States are kept at multiples of 256 tokens, and at the end of a prompt.
      const second = runner.start(other);
      expect(second.length).toBe(256);
      expect(runner.start([...prompt, 5]).length).toBe(300);
      const wanted = await logitsOf(model, other);
      const [result] = await runner.extend([{ sequence: second, tokens: other.slice(256) }]);
      expect(largestDifference(result!.logits[0]!, wanted.at(-1)!)).toBeLessThan(2e-4);
      const tree = { sequence: second, tokens: [1, 2], parents: [-1, -1] };
      await expect(runner.extend([tree])).rejects.toThrow(
        /input 0 is a tree of tokens: this model has recurrent layers/,
      );
    }),
  );

  it('shares the blocks of a prompt among its samples', () =>
    onEngine(engine, async () => {
      const runner = new ModelRunner(await tiny(), { cacheTokens: 96 });
      const prompt = runner.start();
      await runner.extend([{ sequence: prompt, tokens: range(48, (i) => i) }]);
      const samples = range(3, () => 0).map(() => runner.fork(prompt));
      await runner.extend(samples.map((sequence, i) => ({ sequence, tokens: [i] })));
      // Three blocks of the prompt and one a sample: without sharing it would be fifteen.
      expect(runner.freeTokens).toBe(0);
      await expect(runner.extend([{ sequence: prompt, tokens: [1] }])).rejects.toThrow(/needs 1 more blocks and has 0/);
    }));
});

const WINDOWS: readonly (readonly [name: string, config: Record<string, unknown>])[] = [
  ['every layer', { model_type: 'mistral', sliding_window: 8 }],
  [
    'one of two layers, with sinks',
    { model_type: 'gpt_oss', num_local_experts: 2, num_experts_per_tok: 1, sliding_window: 8 },
  ],
];
it.each(WINDOWS)(
  'a window in %s: rows of any length, forks and cuts give what passes without a cache give',
  (_name, config) =>
    onEngine(ENGINES[1]![1](), async () => {
      const model = await tiny({ ...config, max_position_embeddings: 512 });
      const runner = new ModelRunner(model, { maxTokensPerPass: 64 });
      const check = async (sequence: CachedSequence, logits: Float32Array) => {
        const wanted = (await logitsOf(model, sequence.tokens)).at(-1)!;
        expect(largestDifference(logits, wanted)).toBeLessThan(2e-4);
      };
      const tokens = (count: number, from: number) => range(count, (i) => (7 * i + from) % 64);
      const [long, short] = [runner.start(), runner.start()];
      const [first] = await runner.extend([
        { sequence: long, tokens: tokens(250, 3) },
        { sequence: short, tokens: tokens(5, 1) },
      ]);
      await check(long, first!.logits[0]!);
      const twin = runner.fork(long);
      // One token at a time: beyond what a copy of a window has room for.
      for (let step = 0; step < 135; step++) {
        const results = await runner.extend(
          [long, short].map((sequence) => ({ sequence, tokens: [(11 * step) % 64] })),
        );
        if (step % 44 !== 0 && step !== 134) continue;
        await check(long, results[0]!.logits[0]!);
        await check(short, results[1]!.logits[0]!);
      }
      const [again] = await runner.extend([{ sequence: twin, tokens: [5, 6] }]);
      await check(twin, again!.logits[0]!);
      // A little is taken back, and a tree put behind it.
      runner.truncate(long, long.length - 20);
      const before = long.length;
      await runner.extend([{ sequence: long, tokens: [1, 2, 3, 4], parents: [-1, -1, 1, 2] }]);
      runner.keep(long, before, [1, 2]);
      await check(long, (await runner.extend([{ sequence: long, tokens: [9] }]))[0]!.logits[0]!);
      expect(() => runner.truncate(long, 40)).toThrow(/sliding windows have given back what token 40/);
      expect(() => runner.fork(long, 40)).toThrow(/fork it before it is extended/);
      // What begins as another goes on from it where it still has what that sees.
      const end = runner.start([...long.tokens, 1]);
      expect(end.length).toBe(long.length);
      await check(end, (await runner.extend([{ sequence: end, tokens: [1] }]))[0]!.logits[0]!);
      expect(runner.start([...long.tokens.slice(0, 60), 1]).length).toBe(0);
    }),
);

it('holds no more of layers with windows than these, a piece of the prompt and a little', () =>
  onEngine(ENGINES[1]![1](), async () => {
    const windows = { model_type: 'gpt_oss', num_local_experts: 2, num_experts_per_tok: 1, sliding_window: 8 };
    const model = await tiny({ ...windows, max_position_embeddings: 4096 });
    const runner = new ModelRunner(model, { maxTokensPerPass: 256 });
    const sequence = runner.start();
    await runner.extend([{ sequence, tokens: range(3000, (i) => i % 64) }]);
    // One of two layers has 4096 tokens, the other what the pools begin with.
    expect(runner.cacheBytes).toBe((model.network.cacheBytesPerToken / 2) * (4096 + 1024));
  }));

describe('a cache in 8 bits', () => {
  it.each([...FAMILIES, RECURRENT[1]!])(
    '%s: is near the floats, and the same however a sequence came to be',
    (_family, config) =>
      onEngine(ENGINES[1]![1](), async () => {
        const model = await tiny(config);
        const runner = new ModelRunner(model, { kvCacheDtype: 'int8', maxTokensPerPass: 16 });
        const tokens = range(40, (i) => (7 * i + 3) % 64);
        const [whole, steps] = [runner.start(), runner.start()];
        const last = async (sequence: CachedSequence, more: readonly number[]) =>
          Float32Array.from((await runner.extend([{ sequence, tokens: more }]))[0]!.logits[0]!);
        await runner.extend([{ sequence: whole, tokens: tokens.slice(0, 39) }]);
        for (const token of tokens.slice(0, 39)) await last(steps, [token]);
        const fork = runner.fork(whole);
        const [one, other] = [await last(whole, [tokens[39]!]), await last(steps, [tokens[39]!])];
        expect(largestDifference(one, other)).toBeLessThan(2e-4);
        expect(largestDifference(await last(fork, [tokens[39]!]), one)).toBeLessThan(2e-4);
        const wanted = (await logitsOf(model, tokens)).at(-1)!;
        const size = Math.sqrt(wanted.reduce((sum, x) => sum + x * x, 0));
        const error = Math.sqrt(wanted.reduce((sum, x, i) => sum + (x - one[i]!) ** 2, 0));
        // Not the floats themselves either.
        expect(error / size).toBeGreaterThan(1e-5);
        expect(error / size).toBeLessThan(0.05);
        const floats = new ModelRunner(model, { maxTokensPerPass: 16 });
        await floats.extend([{ sequence: floats.start(), tokens }]);
        const { cacheBytesPerToken, kvHeads, windows } = model.network;
        const d = cacheBytesPerToken / (8 * kvHeads * windows.length);
        expect(runner.cacheBytes / floats.cacheBytes).toBeCloseTo((d + 4) / (4 * d), 10);
        expect(runner.capacity).toBeGreaterThan(floats.capacity);
      }),
  );

  it('refuses what it has no form for, by name', async () => {
    const convolves = { model_type: 'lfm2', layer_types: ['conv', 'full_attention'], conv_L_cache: 3 };
    const runner = new ModelRunner(await tiny(convolves), { kvCacheDtype: 'int8' });
    await expect(runner.extend([{ sequence: runner.start(), tokens: [1] }])).rejects.toThrow(/"int8" is not for lfm2/);
    const states = new ModelRunner(await tiny(RECURRENT[0]![1]), { kvCacheDtype: 'int8' });
    const ofStates = states.extend([{ sequence: states.start(), tokens: [1] }]);
    await expect(ofStates).rejects.toThrow(/"int8" is not for mamba2: none of its layers attends/);
    const plain = new ModelRunner(await tiny(), { kvCacheDtype: 'int8' });
    const adapter = { name: 'prompt', parameters: {}, virtualTokens: 2, hooks: () => ({}) };
    const refused = plain.extend([{ sequence: plain.start(), tokens: [1], adapter }]);
    await expect(refused).rejects.toThrow(/prompt puts keys and values of its own into the cache/);
    expect(() => new ModelRunner({ network: runner.network, weights: {} }, { kvCacheDtype: 'int4' as never })).toThrow(
      /kvCacheDtype/,
    );
  });
});

it('refuses what makes no sense, and changes nothing', async () => {
  const runner = new ModelRunner(await tiny(), {});
  const sequence = runner.start();
  const refused = (tokens: number[], message: RegExp) =>
    expect(runner.extend([{ sequence, tokens }])).rejects.toThrow(message);
  await refused([], /input 0 has no tokens/);
  await refused([64], /extend: input 0, position 0: 64 is no token id; ids are whole numbers from 0 to 63/);
  await refused(
    range(97, () => 1),
    /a sequence of 97 tokens; the context holds 96/,
  );
  await expect(
    runner.extend([
      { sequence, tokens: [1] },
      { sequence, tokens: [2] },
    ]),
  ).rejects.toThrow(/given twice/);
  expect(sequence.length).toBe(0);
  runner.release(sequence);
  expect(() => runner.release(sequence)).toThrow(/was released/);
  await refused([1], /was released/);
  expect(() => new ModelRunner({ network: runner.network, weights: {} }, { cacheTokens: 0 })).toThrow(/cacheTokens/);
});

describe('model.runner()', () => {
  it('scores forks of a prompt, gives their states, and goes on from any token', async () => {
    const model = await tinyModel();
    const runner = new ModelRunner(model);
    const prompt = model.tokenizer.encode('2 + 3 =');
    const root = runner.start(prompt);
    const [read] = await runner.extend([{ sequence: root, tokens: prompt.slice(root.length) }]);
    const next = logSoftmax(read!.logits[0]!);

    const steps = [' 5', ' five'].map((text) => model.tokenizer.encode(text, { addSpecialTokens: false }));
    const branches = steps.map((tokens) => ({ sequence: runner.fork(root), tokens }));
    const results = await runner.extend(branches, { logits: 'all', hidden: true });
    const scored = await new LocalScorer(model).score(
      [' 5', ' five'].map((continuation) => ({ prompt: '2 + 3 =', continuation })),
    );
    for (const [i, { logits }] of results.entries()) {
      const rows = [next, ...logits.map((row) => logSoftmax(row))];
      expect(steps[i]!.reduce((sum, token, t) => sum + rows[t]![token]!, 0)).toBeCloseTo(scored[i]!.logProb, 3);
    }

    // The logits of a state are what the output layer makes of it.
    const head = await model.network.head(model.weights).toArray();
    const state = results[1]!.hidden!.at(-1)!.slice();
    const logits = results[1]!.logits.at(-1)!.slice();
    const width = state.length;
    const made = Array.from(logits, (_, token) => state.reduce((sum, x, j) => sum + x * head[token * width + j]!, 0));
    expect(largestDifference(made, logits)).toBeLessThan(1e-3);

    const again = runner.fork(branches[1]!.sequence, prompt.length);
    const [repeated] = await runner.extend([{ sequence: again, tokens: steps[1]! }]);
    expect(largestDifference(repeated!.logits[0]!, logits)).toBeLessThan(1e-3);
    for (const sequence of [root, again, ...branches.map(({ sequence }) => sequence)]) runner.release(sequence);
    expect(runner.freeTokens).toBe(runner.capacity);
  });
});
