import { readFile } from 'node:fs/promises';
import { type Engine, type Graph, iota, ones, referenceEngine, setEngine, zeros } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import type { Completion } from '@posttrain/interfaces';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  continuationLogProbs,
  hiddenStates,
  initialWeights,
  inputGradients,
  type LayerHooks,
  LocalGenerator,
  loadWeights,
  networkOf,
  perplexity,
  rollingLogProbs,
  type SequenceLogProbs,
  type StreamEvent,
  sequenceLogProbs,
} from '../src/index.js';
import {
  ENGINES,
  goldenFolder,
  largestDifference,
  MODEL_FOLDERS,
  modelFolder,
  readGolden,
  tinyConfig,
  tinyModel,
} from './support.js';

beforeAll(() => setEngine(referenceEngine()));

const range = (n: number, f: (i: number) => number) => Array.from({ length: n }, (_, i) => f(i));
const tiny = async (config: Record<string, unknown> = {}) => {
  const network = networkOf(tinyConfig(config));
  return { network, weights: await initialWeights(network, 1) };
};

describe.each(ENGINES)('on the %s engine', (_, makeEngine) => {
  const engine = makeEngine();

  it.each(MODEL_FOLDERS)('%s: ragged sequences as transformers scores them with padding on the left', (folder) =>
    onEngine(engine, async () => {
      const { config, weights } = await loadWeights(modelFolder(folder));
      const { read } = await readGolden(modelFolder(folder));
      const length = 12;
      const [ids, mask, expected] = await Promise.all(
        ['ragged.input_ids', 'ragged.attention_mask', 'ragged.log_probs'].map(async (name) =>
          (await read(name)).toArray(),
        ),
      );
      const rows = range(3, (i) => i);
      const starts = rows.map((row) => mask!.slice(row * length, (row + 1) * length).indexOf(1));
      const sequences = rows.map((row) => ids!.slice(row * length + starts[row]!, (row + 1) * length));
      const scored = await sequenceLogProbs({ network: networkOf(config), weights }, sequences);
      for (const row of rows) {
        const wanted = expected!.slice(row * (length - 1) + starts[row]!, (row + 1) * (length - 1));
        expect(scored[row]!.logProbs.length).toBe(wanted.length);
        expect(largestDifference(scored[row]!.logProbs, wanted)).toBeLessThan(1e-4);
      }
    }),
  );
});

describe('inputGradients', () => {
  const whole = async (folder: string) => {
    const { config, weights } = await loadWeights(modelFolder(folder));
    return { network: networkOf(config), weights };
  };

  it.each(ENGINES)("on the %s engine: gradients and losses of attacks are nanoGCG's", (_, makeEngine) =>
    onEngine(makeEngine(), async () => {
      const { before, suffix, after, target, runs } = JSON.parse(
        await readFile(goldenFolder('attacks/gcg.json'), 'utf8'),
      );
      const model = inputGradients(await whole('llama'));
      const place = { from: before.length, to: before.length + suffix.length };
      const sequenceOf = (ids: number[]) => ({
        tokens: [...before, ...ids, ...after, ...target],
        ...{ ...place, targetFrom: place.to + after.length },
      });
      for (const { steps } of runs) {
        let ids = suffix;
        for (const { gradient, candidates, losses, kept } of steps) {
          const found = await model.inputGradient(sequenceOf(ids));
          const stride = 256 / gradient[0].length;
          found.forEach((row, i) => {
            const wanted = gradient[i] as number[];
            expect(row).toHaveLength(256);
            expect(
              largestDifference(
                wanted.map((_, at) => row[at * stride]!),
                wanted,
              ),
            ).toBeLessThan(2e-5);
          });
          const all = await model.losses(candidates.map(sequenceOf));
          expect(
            largestDifference(
              all.map(({ loss }) => loss),
              losses,
            ),
          ).toBeLessThan(1e-4);
          ids = kept;
        }
      }
    }),
  );

  it.each(['gemma3-text', 'gpt2'])(
    '%s: is what moving an embedding to that of another token does to the loss',
    async (folder) => {
      const { network, weights } = await whole(folder);
      const sequence = { tokens: [5, 9, 14, 22, 30, 31], from: 1, to: 3, targetFrom: 4 };
      const gradient = await inputGradients({ network, weights }).inputGradient(sequence);
      const name = [...network.modules.values()].find(({ kind }) => kind === 'embedding')!.name;
      const table = weights[`${name}.weight`]!;
      const step = 1e-3;
      const lossAt = async (place: number, other: number, size: number) => {
        const hooks = (): LayerHooks => ({
          embedding(tokens, layer) {
            const embedded = layer.apply(tokens);
            if (layer.name !== name) return embedded;
            const way = table
              .slice(0, other, other + 1)
              .sub(table.slice(0, sequence.tokens[place]!, sequence.tokens[place]! + 1));
            const here = iota([...tokens.shape], 1)
              .equal(place)
              .cast('float32')
              .expandDims(2);
            return embedded.add(here.mul(way.mul(size)));
          },
        });
        const adapter = { name: 'moved', parameters: {}, hooks };
        const [{ logProbs }] = (await sequenceLogProbs({ network, weights }, [sequence.tokens], { adapter })) as [
          SequenceLogProbs,
        ];
        return -(logProbs[3]! + logProbs[4]!) / 2;
      };
      for (const [place, other] of [
        [1, 40],
        [2, 3],
      ] as const) {
        const row = gradient[place - 1]!;
        const slope = ((await lossAt(place, other, step)) - (await lossAt(place, other, -step))) / (2 * step);
        expect(row[other]! - row[sequence.tokens[place]!]!).toBeCloseTo(slope, 3);
      }
    },
  );

  it('refuses places that are out of order, and adapters that read more than tokens', async () => {
    const model = await tiny();
    const sequence = { tokens: [5, 9, 14, 22], from: 1, to: 3, targetFrom: 3 };
    await expect(inputGradients(model).losses([{ ...sequence, to: 4 }])).rejects.toThrow(/changeable from 1 to 4/);
    await expect(inputGradients(model).inputGradient({ ...sequence, from: 3 })).rejects.toThrow(/from < to/);
    await expect(inputGradients(model).inputGradient({ ...sequence, tokens: [5, 9, 14, 64] })).rejects.toThrow(/64/);
    const adapter = () => ({ name: 'prompt', parameters: {}, virtualTokens: 2, hooks: () => ({}) });
    await expect(inputGradients(model, { adapter }).inputGradient(sequence)).rejects.toThrow(/"prompt" reads more/);
    expect(() => inputGradients(model, { adapters: adapter } as never)).toThrow(/adapters/);
  });
});

describe('sequenceLogProbs', () => {
  const sequences = [range(5, (i) => i), range(40, (i) => (3 * i) % 64), [60, 61], range(17, (i) => i + 9)];

  it('does not depend on how sequences are put together', async () => {
    const { network, weights } = await tiny();
    const together = await sequenceLogProbs({ network, weights }, sequences);
    const apart = await sequenceLogProbs({ network, weights }, sequences, { maxTokensPerPass: 1 });
    for (const [i, { logProbs, entropies, isGreedy }] of together.entries()) {
      expect(logProbs.length).toBe(sequences[i]!.length - 1);
      expect(largestDifference(logProbs, apart[i]!.logProbs)).toBeLessThan(1e-5);
      expect(largestDifference(entropies, apart[i]!.entropies)).toBeLessThan(1e-5);
      expect(isGreedy).toEqual(apart[i]!.isGreedy);
    }
  });

  it.each([
    ['a window', { model_type: 'mistral', sliding_window: 5 }],
    ['learned positions', { model_type: 'gpt2', n_positions: 48 }],
    ['sinks and windows', { model_type: 'gpt_oss', num_local_experts: 2, num_experts_per_tok: 1, sliding_window: 5 }],
    ['a convolution', { model_type: 'lfm2', layer_types: ['conv', 'full_attention'], conv_L_cache: 3 }],
    ['states alone', { model_type: 'mamba2', num_heads: 4, head_dim: 8, n_groups: 2, state_size: 6 }],
    ['states beside keys', { model_type: 'falcon_h1', mamba_d_ssm: 24, mamba_n_heads: 4, mamba_d_state: 5 }],
  ])('is the same piece by piece: %s', async (_, config) => {
    const model = await tiny(config as Record<string, unknown>);
    const how = { ranks: true, moments: true, topLogProbs: 2, temperature: 0.7 };
    const pieces = { maxTokensPerPass: 1, prefillChunk: 7 };
    const whole = await sequenceLogProbs(model, sequences, how);
    const apart = await sequenceLogProbs(model, sequences, { ...how, ...pieces });
    for (const [i, one] of whole.entries()) {
      for (const column of ['logProbs', 'entropies'] as const)
        expect(largestDifference(apart[i]![column], one[column])).toBeLessThan(1e-4);
      expect(apart[i]!.ranks).toEqual(one.ranks);
      expect(largestDifference(apart[i]!.moments!.deviations, one.moments!.deviations)).toBeLessThan(1e-3);
      expect(apart[i]!.topLogProbs!.map((top) => top.map(({ tokenId }) => tokenId))).toEqual(
        one.topLogProbs!.map((top) => top.map(({ tokenId }) => tokenId)),
      );
    }
    const rolled = await rollingLogProbs(model, sequences, { maxLength: 20, contextLength: 4 });
    const rolledApart = await rollingLogProbs(model, sequences, { maxLength: 20, contextLength: 4, ...pieces });
    for (const [i, { logProbs }] of rolled.entries())
      expect(largestDifference(rolledApart[i]!.logProbs, logProbs)).toBeLessThan(1e-4);
    const states = await hiddenStates(model, sequences);
    const statesApart = await hiddenStates(model, sequences, pieces);
    for (const [i, rows] of states.entries())
      for (const [t, row] of rows.entries()) expect(largestDifference(statesApart[i]![t]!, row)).toBeLessThan(1e-4);
    const continuations = [1, 2].map((last) => ({ tokens: [...sequences[1]!, last], start: 30 }));
    const scored = await continuationLogProbs(model, continuations);
    const scoredApart = await continuationLogProbs(model, continuations, pieces);
    for (const [i, { logProbs }] of scored.entries())
      expect(largestDifference(scoredApart[i]!.logProbs, logProbs)).toBeLessThan(1e-4);
  });

  it('gives a distribution: the probabilities of all next tokens sum to 1, and their entropy is the one reported', async () => {
    const { network, weights } = await tiny();
    const all = range(64, (token) => token).map((token) => [7, 9, token]);
    const scored = await sequenceLogProbs({ network, weights }, all, { temperature: 1.7 });
    const last = scored.map(({ logProbs }) => logProbs[1]!);
    expect(last.reduce((sum, x) => sum + Math.exp(x), 0)).toBeCloseTo(1, 5);
    const entropy = -last.reduce((sum, x) => sum + Math.exp(x) * x, 0);
    for (const { entropies } of scored) expect(entropies[1]).toBeCloseTo(entropy, 5);
    const greedy = scored.map(({ isGreedy }) => isGreedy[1]!);
    expect(greedy.indexOf(1)).toBe(last.indexOf(Math.max(...last)));
    expect(greedy.reduce((a, b) => a + b)).toBe(1);
  });

  it('uniform logits: every token has log-probability -ln V', async () => {
    const { network, weights } = await tiny();
    const flat = { ...weights, 'lm_head.weight': zeros([64, 16]) };
    const [scored] = await sequenceLogProbs({ network, weights: flat }, [[1, 2, 3]]);
    for (const value of scored!.logProbs) expect(value).toBeCloseTo(-Math.log(64), 6);
  });

  it('holds no more than the tokens of a pass, and never the logits of a whole one', async () => {
    const vocabulary = 40_000;
    const graphs: Graph[] = [];
    // An engine that looks at the graphs it is given, and computes nothing.
    const watching: Engine = {
      ...referenceEngine(),
      async compile(graph) {
        graphs.push(graph);
        const run = async () => {
          return Promise.all(
            graph.outputs.map(({ node, index }) => {
              const spec = node.outputs[index]!;
              const data = new Float32Array(spec.shape.reduce((a, b) => a * b, 1));
              return watching.upload(data, spec);
            }),
          );
        };
        return { run, dispose: async () => {} };
      },
    };
    const config = tinyConfig({ vocab_size: vocabulary, num_hidden_layers: 1 });
    const network = networkOf(config, undefined, watching);
    const weights = Object.fromEntries(network.parameters.map(({ name, shape }) => [name, ones(shape)]));
    const rows = range(40, (i) => i).map((i) => range(20 + i, (t) => t + i));
    await sequenceLogProbs({ network, weights }, rows, { maxTokensPerPass: 1000 });
    const grids = graphs.flatMap(({ inputs }) =>
      inputs.map(({ outputs }) => outputs[0]!).filter(({ shape, dtype }) => dtype === 'int32' && shape.length === 2),
    );
    expect(grids.length).toBeGreaterThan(1);
    for (const { shape } of grids) expect(shape[0]! * shape[1]!).toBeLessThanOrEqual(1000);
    const sizes = graphs
      .flatMap(({ nodes }) => nodes.flatMap((node) => node.outputs))
      .map(({ shape }) => shape.reduce((a, b) => a * b, 1));
    // 32 MiB of float32; the logits of 1000 tokens would be 160 MB.
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2 ** 23);
    expect(Math.max(...sizes)).toBeGreaterThan(2 ** 22);
  });

  it('gives the moments of log p that all tokens together have', async () => {
    const model = await tiny();
    const tokens = [range(7, (i) => 9 * i), [60, 61]];
    const all = await sequenceLogProbs(model, tokens, { temperature: 0.5, moments: true, topLogProbs: 64 });
    for (const { moments, topLogProbs, entropies } of all) {
      expect(moments!.means).toEqual(entropies.map((x) => -x));
      for (const [t, top] of topLogProbs!.entries()) {
        const mean = top.reduce((sum, { logProb }) => sum + Math.exp(logProb) * logProb, 0);
        const square = top.reduce((sum, { logProb }) => sum + Math.exp(logProb) * (logProb - mean) ** 2, 0);
        expect(moments!.means[t]).toBeCloseTo(mean, 3);
        expect(moments!.deviations[t]).toBeCloseTo(Math.sqrt(square), 3);
        expect(square).toBeGreaterThan(1e-4);
      }
    }
    expect((await sequenceLogProbs(model, tokens))[0]!.moments).toBeUndefined();
    const [rolled] = await rollingLogProbs(model, tokens, {
      temperature: 0.5,
      moments: true,
      maxLength: 3,
      contextLength: 3,
    });
    expect(rolled!.moments!.deviations).toHaveLength(6);
    expect(rolled!.moments!.deviations.slice(0, 3)).toEqual(all[0]!.moments!.deviations.slice(0, 3));
  });

  it('refuses what it cannot do, naming it', async () => {
    const { network, weights } = await tiny();
    const run = (tokens: number[], options = {}) => sequenceLogProbs({ network, weights }, [[1, 2], tokens], options);
    await expect(run([1])).rejects.toThrow(/sequence 1 has 1 tokens; it needs 2 to 97/);
    await expect(run(range(98, () => 0))).rejects.toThrow(/sequence 1 has 98 tokens/);
    await expect(run([1, 2], { temperature: 0 })).rejects.toThrow(/temperature is 0; it must be a number above 0/);
    await expect(run([1, 2], { temprature: 1 })).rejects.toThrow(/Did you mean "temperature"/);
  });
});

describe('perplexity', () => {
  it('is the size of the vocabulary for a model whose weights are zero', async () => {
    const network = networkOf(tinyConfig());
    const weights = Object.fromEntries(network.parameters.map(({ name, shape }) => [name, zeros(shape)]));
    const scored = await sequenceLogProbs({ network, weights }, [range(9, (i) => i), [3, 1]]);
    expect(perplexity(scored)).toBeCloseTo(network.config.vocabSize, 3);
  });

  it('is that of the log-probabilities of transformers, every token counting once', async () => {
    const folder = modelFolder('smollm2');
    const { config, weights } = await loadWeights(folder);
    const { read } = await readGolden(folder);
    const [ids, mask, expected] = await Promise.all(
      ['ragged.input_ids', 'ragged.attention_mask', 'ragged.log_probs'].map(async (name) =>
        (await read(name)).toArray(),
      ),
    );
    const rows = [0, 1, 2].map((row) => ({ row, start: mask!.slice(row * 12, (row + 1) * 12).indexOf(1) }));
    const wanted = rows.flatMap(({ row, start }) => expected!.slice(row * 11 + start, (row + 1) * 11));
    const sequences = rows.map(({ row, start }) => ids!.slice(row * 12 + start, (row + 1) * 12));
    const got = perplexity(await sequenceLogProbs({ network: networkOf(config), weights }, sequences));
    const mean = wanted.reduce((a, b) => a + b, 0) / wanted.length;
    expect(got / Math.exp(-mean)).toBeCloseTo(1, 4);
  });

  it('refuses to say anything about nothing', () => {
    expect(() => perplexity([])).toThrow(/two tokens/);
  });
});

it('generate and stream report statistics, what tokens were drawn with, and which stop string ended them', async () => {
  const model = await tinyModel();
  const generator = new LocalGenerator(model);
  const statistics = ['rank', 'entropy'] as const;
  const asked = {
    prompt: 'One and one',
    maxTokens: 12,
    seed: 4,
    topK: 5,
    logProbs: true,
    statistics,
    samplingLogProbs: true,
  };
  const [[whole]] = (await generator.generate([asked])) as [[Completion]];
  const prompt = model.tokenizer.encode('One and one');
  const [scored] = await sequenceLogProbs(model, [[...prompt, ...whole.tokenIds!]], { ranks: true });
  expect(whole.statistics!.rank).toEqual([...scored!.ranks!.slice(-12)]);
  expect(largestDifference(whole.statistics!.entropy!, scored!.entropies.slice(-12))).toBeLessThan(1e-4);
  // Of five tokens that may be drawn, each is likelier than among all.
  for (const [t, logProb] of whole.logProbs!.entries()) expect(whole.samplingLogProbs![t]).toBeGreaterThan(logProb);
  const stop = [whole.text.slice(5, 7)];
  const events: StreamEvent[] = [];
  for await (const event of generator.stream({ ...asked, stop })) events.push(event);
  const [{ tokenIds: _, ...stopped }] = (await generator.generate([{ ...asked, stop }]))[0] as [Completion];
  expect(stopped.stop).toBe(stop[0]);
  expect(events.map(({ stop: found }) => found)).toEqual([...events.slice(1).map(() => undefined), stop[0]]);
  expect(events.map((event) => event.statistics!.rank)).toEqual(stopped.statistics!.rank);
  expect(events.map((event) => event.samplingLogProb)).toEqual(stopped.samplingLogProbs);
});
