import { type Engine, Key, referenceEngine, setEngine, type Tensor, tensor } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Adapter,
  initialWeights,
  type LayerHooks,
  ModelRunner,
  type ModuleInfo,
  type Network,
  NO_ADAPTER,
  networkOf,
  type QuantizationOptions,
  withParameters,
} from '../src/index.js';
import { quantizeWeights } from '../src/model/quantize.js';
import { ENGINES, largestDifference, tinyConfig } from './support.js';

beforeAll(() => setEngine(referenceEngine()));

const range = <T>(n: number, f: (i: number) => T) => Array.from({ length: n }, (_, i) => f(i));

/** A [r, in] and B [out, r]. */
interface LowRank {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** The same adapter, which says that its updates are of low rank. */
const stacked = (adapter: LowRankAdapter): LowRankAdapter => ({
  ...adapter,
  lowRank: (given) => Object.fromEntries(Object.entries(given).map(([name, own]) => [name, { ...own, scale: 0.5 }])),
});

type LowRankAdapter = Adapter<Readonly<Record<string, LowRank>>>;

/** W + ½ B·A on the modules whose names end so, whatever they are: linear layers, experts, the embedding, the output layer. */
function lowRank(network: Network, name: string, endings: readonly string[], rank: number, seed: number) {
  const targets = [...network.modules.values()].filter(({ name }) => endings.some((ending) => name.endsWith(ending)));
  const size = ({ kind, inFeatures, outFeatures }: ModuleInfo) =>
    kind === 'embedding' ? [outFeatures, inFeatures] : [inFeatures, outFeatures];
  const parameters = Object.fromEntries(
    targets.map((module, i): [string, LowRank] => {
      const [inputs, outputs] = size(module) as [number, number];
      const random = (n: number, shape: readonly [number, number]) => {
        const numbers = Key.fromSeed(seed)
          .child(i)
          .child(n)
          .normalHost(shape[0] * shape[1]);
        return tensor(
          Float32Array.from(numbers, (x) => 0.4 * x),
          shape,
        );
      };
      return [module.name, { a: random(0, [rank, inputs]), b: random(1, [outputs, rank]) }];
    }),
  );
  const update = (x: Tensor, { b }: LowRank) => x.matmul(b, { transposeB: true }).mul(0.5);
  const adapter: LowRankAdapter = {
    name,
    parameters,
    hooks: (given): LayerHooks => ({
      linear(x, layer) {
        const own = given[layer.name];
        return own ? layer.apply(x).add(update(x.matmul(own.a, { transposeB: true }), own)) : layer.apply(x);
      },
      embedding(tokens, layer) {
        const own = given[layer.name];
        return own ? layer.apply(tokens).add(update(own.a.transpose().gather(tokens), own)) : layer.apply(tokens);
      },
      headWeight(layer) {
        const own = given[layer.name];
        return own ? layer.weight.add(own.b.matmul(own.a).mul(0.5)) : layer.weight;
      },
    }),
  };
  return adapter;
}

async function tiny({
  quantization,
  ...config
}: Record<string, unknown> & { quantization?: QuantizationOptions } = {}) {
  const network = networkOf(tinyConfig({ hidden_size: 32, num_attention_heads: 4, num_key_value_heads: 2, ...config }));
  return onEngine(referenceEngine(), async () => {
    const weights = await initialWeights(network, 1);
    if (!quantization) return { network, weights };
    const quantized = await quantizeWeights(network, weights, quantization);
    return { network: networkOf(network.config, quantized.quantized, network.engine), weights: quantized.weights };
  });
}

/** The engine, how often it has compiled a step (or anything that takes memory over), and how often it has run anything. */
function counting(engine: Engine) {
  const counts = { compiled: 0, runs: 0 };
  const counted: Engine = {
    ...engine,
    async compile(graph, options) {
      const executable = await engine.compile(graph, options);
      if (options.donations.length > 0) counts.compiled++;
      return {
        dispose: () => executable.dispose(),
        run(inputs) {
          counts.runs++;
          return executable.run(inputs);
        },
      };
    },
  };
  return { counted, counts };
}

type Model = Awaited<ReturnType<typeof tiny>>;

/** What each row gets when it is the only one of its runner. */
async function alone(model: Model, prompts: readonly (readonly number[][])[], adapters: readonly Adapter[]) {
  const rows: number[][][] = [];
  for (const [i, steps] of prompts.entries()) {
    const runner = new ModelRunner(model, { prefixReuse: false });
    const sequence = runner.start();
    const logits: number[][] = [];
    for (const tokens of steps) {
      const [result] = await runner.extend([{ sequence, tokens, adapter: adapters[i]! }]);
      logits.push([...result!.logits[0]!]);
    }
    rows.push(logits);
  }
  return rows;
}

const FAMILIES: readonly [name: string, config: Parameters<typeof tiny>[0], endings: readonly string[][]][] = [
  [
    'llama',
    {},
    [
      ['q_proj', 'down_proj'],
      ['v_proj', 'embed_tokens', 'lm_head'],
      ['o_proj', 'up_proj'],
    ],
  ],
  ['a tied output layer', { tie_word_embeddings: true }, [['q_proj', 'lm_head'], ['embed_tokens'], ['down_proj']]],
  [
    'a quantised output layer',
    { quantization: { method: 'int4', head: true } },
    [['q_proj', 'lm_head'], ['embed_tokens'], ['down_proj']],
  ],
  ['gpt2', { model_type: 'gpt2', n_head: 4 }, [['c_attn'], ['wte', 'c_fc'], ['wpe', 'lm_head', 'c_proj']]],
  [
    'gemma2',
    { model_type: 'gemma2', head_dim: 8, query_pre_attn_scalar: 8 },
    [['q_proj', 'lm_head'], ['v_proj'], ['up_proj']],
  ],
  [
    'qwen3_moe',
    { model_type: 'qwen3_moe', num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 12 },
    [
      ['experts.2.down_proj', 'q_proj'],
      ['gate_proj', 'experts.2.down_proj'],
      ['mlp.gate', 'lm_head'],
    ],
  ],
];

/** Adapters that are apart, and adapters of which those for linear layers alone are stacked, on every engine. */
const RUNS = ENGINES.flatMap(([name, make]) =>
  (name === 'reference' ? [false, true] : [true]).map((isStacked) => [name, isStacked, make] as const),
);

describe.each(RUNS)('rows with different adapters on the %s engine, stacked: %s', (name, isStacked, makeEngine) => {
  const engine = makeEngine();

  // Compiling for the other engine takes longest, and these have all there is.
  const families = FAMILIES.filter(
    ([family]) => name === 'reference' || ['llama', 'a quantised output layer', 'qwen3_moe'].includes(family),
  );

  it.each(families)('%s: each gets what it gets alone, as rows join and leave', (_, config, endings) =>
    onEngine(engine, async () => {
      const model = await tiny(config);
      // The same weights, on an engine of its own.
      const inReference = await onEngine(referenceEngine(), () => tiny(config));
      const made = endings.map((ending, i) => {
        const adapter = lowRank(model.network, `a${i}`, ending, i + 1, i);
        const kinds = Object.keys(adapter.parameters).map((name) => model.network.modules.get(name)!.kind);
        return isStacked && kinds.every((kind) => kind === 'linear') ? stacked(adapter) : adapter;
      });
      const adapters = [made[0]!, NO_ADAPTER, made[1]!, made[2]!, made[0]!];
      const prompts = range(5, (i) => i).map((i) => [
        range(3 + 4 * i, (t) => (7 * t + i) % 64),
        ...range(5, (t) => (5 * t + i) % 64).map((token) => [token]),
      ]);
      const expected = await alone(inReference, prompts, adapters);
      const runner = new ModelRunner(model, { prefixReuse: false, maxTokensPerPass: 64, packWeights: true });
      const rows = prompts.map((steps, i) => ({ i, steps, next: 0, sequence: runner.start() }));
      // The third joins later, the first leaves early; one-token steps of the same rows are read from a copy.
      const present = (step: number) => rows.filter(({ i, next }) => next < (i === 0 ? 4 : 6) && (i !== 2 || step > 2));
      let worst = 0;
      for (let step = 0; present(step).length > 0; step++) {
        const now = present(step);
        const inputs = now.map(({ i, steps, next, sequence }) => ({
          sequence,
          tokens: steps[next]!,
          adapter: adapters[i]!,
        }));
        const results = await runner.extend(inputs);
        for (const [n, row] of now.entries()) {
          worst = Math.max(worst, largestDifference(results[n]!.logits[0]!, expected[row.i]![row.next]!));
          row.next++;
        }
      }
      expect(worst).toBeLessThan(2e-4);
      // And each adapter does something that could be missed.
      const none = adapters.map(() => NO_ADAPTER);
      const base = await alone(inReference, prompts, none);
      for (const i of [0, 2, 3]) expect(largestDifference(expected[i]![0]!, base[i]![0]!)).toBeGreaterThan(1e-2);
    }),
  );
});

describe.each([false, true])('passes over rows with different adapters, stacked: %s', (isStacked) => {
  const make = (model: Model, count: number) =>
    range(count, (i) => {
      const endings = [['q_proj'], ['v_proj', 'up_proj'], ['down_proj']][i % 3]!;
      const adapter = lowRank(model.network, `a${i}`, endings, 1 + (i % 2), i);
      return isStacked ? stacked(adapter) : adapter;
    });

  /** Three one-token steps of new rows: read from blocks, copied, read from the copy. Gives the logits of the last. */
  async function threeSteps(runner: ModelRunner, adapters: readonly Adapter[]) {
    const rows = adapters.map((adapter, i) => ({ adapter, tokens: [i + 1], sequence: runner.start() }));
    const step = async () => (await runner.extend(rows)).map(({ logits }) => [...logits[0]!]);
    await step();
    await step();
    const logits = await step();
    for (const { sequence } of rows) runner.release(sequence);
    return logits;
  }

  const stepsOf = (i: number) => [[i + 1], [i + 1], [i + 1]];

  it('are one run of the engine, compiled once whichever rows have which of them', async () => {
    const { counted, counts } = counting(referenceEngine());
    await onEngine(counted, async () => {
      const model = await tiny();
      const runner = new ModelRunner(model, { prefixReuse: false, packWeights: false });
      const [a, b, c] = make(model, 3) as [Adapter, Adapter, Adapter];
      await threeSteps(runner, [a, b, c, NO_ADAPTER]);
      await threeSteps(runner, [a, c, c, a]);
      const before = { ...counts };
      await threeSteps(runner, [NO_ADAPTER, b, NO_ADAPTER, c]);
      // Two of them, and one with the copying of the rows from their blocks.
      expect(counts).toEqual({ compiled: before.compiled, runs: before.runs + 4 });
      await threeSteps(runner, [b, b, b, b]);
      expect(counts.compiled).toBe(before.compiled + 2);
    });
  });

  it('hold as many adapters as they can, and the others are in a pass of their own, which stays theirs', async () => {
    const { counted, counts } = counting(referenceEngine());
    await onEngine(counted, async () => {
      const model = await tiny();
      const runner = new ModelRunner(model, { prefixReuse: false, packWeights: false });
      const adapters: Adapter[] = [...make(model, 10), NO_ADAPTER, NO_ADAPTER];
      const rows = adapters.map((adapter, i) => ({ adapter, tokens: [i + 1], sequence: runner.start() }));
      for (let i = 0; i < 2; i++) await runner.extend(rows);
      const before = { ...counts };
      const results = await runner.extend(rows);
      expect(counts).toEqual({ compiled: before.compiled, runs: before.runs + 2 });
      const expected = await alone(
        model,
        adapters.map((_, i) => stepsOf(i)),
        adapters,
      );
      for (const [i, { logits }] of results.entries()) {
        expect(largestDifference(logits[0]!, expected[i]![2]!)).toBeLessThan(1e-9);
      }
      // The first leaves: eight and two adapters are left where they were, so that nothing is compiled again.
      runner.release(rows.shift()!.sequence);
      const since = { ...counts };
      await runner.extend(rows);
      expect(counts).toEqual({ compiled: since.compiled, runs: since.runs + 2 });
    });
  });

  it('give the place of one that left to a newcomer, for whom stacks of the same size need nothing compiled', async () => {
    const { counted, counts } = counting(referenceEngine());
    await onEngine(counted, async () => {
      const model = await tiny();
      const runner = new ModelRunner(model, { prefixReuse: false, packWeights: false });
      const [first, ...others] = make(model, 8);
      const rows = others.map((adapter, i) => ({ adapter, tokens: [i + 1], sequence: runner.start() }));
      const join = (adapter: Adapter) => runner.extend([...rows, { adapter, tokens: [1], sequence: runner.start() }]);
      await join(first!);
      const before = { ...counts };
      const results = await join(make(model, 1)[0]!);
      expect(counts.compiled).toBe(before.compiled + (isStacked ? 0 : 1));
      const expected = await alone(model, [[[1]]], [first!]);
      expect(largestDifference(results.at(-1)!.logits[0]!, expected[0]![0]!)).toBeLessThan(1e-9);
      // One of the other kind.
      const plain = lowRank(model.network, 'other', ['o_proj'], 1, 50);
      const other = isStacked ? plain : stacked(plain);
      const [changed] = (await alone(model, [[[1]]], [other]))[0]!;
      for (let i = 0; i < 2; i++) {
        const joined = await join(other);
        expect(largestDifference(joined.at(-1)!.logits[0]!, changed!)).toBeLessThan(1e-9);
      }
    });
  });

  it('take new numbers of an adapter as they come, and need none of those that have gone', async () => {
    const { counted, counts } = counting(referenceEngine());
    await onEngine(counted, async () => {
      const model = await tiny();
      const runner = new ModelRunner(model, { prefixReuse: false, packWeights: false });
      const [a, b, c] = make(model, 3);
      const fresh = (seed: number) => withParameters(a!, lowRank(model.network, 'a', ['q_proj'], 1, seed).parameters);
      await threeSteps(runner, [a!, b!, c!]);
      await threeSteps(runner, [a!, b!, c!]);
      const before = { ...counts };
      const [one, two] = [fresh(7), fresh(8)];
      const check = async (adapters: readonly Adapter[]) => {
        const logits = await threeSteps(runner, adapters);
        const since = { ...counts };
        const expected = await alone(
          model,
          adapters.map((_, i) => stepsOf(i)),
          adapters,
        );
        for (const [i, row] of logits.entries()) expect(largestDifference(row, expected[i]![2]!)).toBeLessThan(1e-9);
        Object.assign(counts, since);
      };
      await check([one, b!, c!]);
      expect(counts.compiled).toBe(before.compiled);
      for (const adapter of [a!, one]) {
        for (const { a, b } of Object.values(adapter.parameters)) {
          await a.dispose();
          await b.dispose();
        }
      }
      await check([b!, c!, NO_ADAPTER]);
      expect(counts.compiled).toBe(before.compiled);
      // The same hooks twice, with different numbers.
      await check([two, fresh(9), b!]);
    });
  });

  it('keep what is broken to the rows that have it', () =>
    onEngine(referenceEngine(), async () => {
      const model = await tiny();
      const runner = new ModelRunner(model, { prefixReuse: false });
      const [a, broken] = make(model, 2);
      const infinite = Object.fromEntries(
        Object.entries(broken!.parameters).map(([name, { a, b }]) => [name, { a, b: b.mul(Infinity) }]),
      );
      const adapters = [withParameters(broken!, infinite), a!];
      const [bad, good] = await threeSteps(runner, adapters);
      expect(bad!.some(Number.isFinite)).toBe(false);
      const expected = await alone(model, [stepsOf(1)], [a!]);
      expect(largestDifference(good!, expected[0]![2]!)).toBeLessThan(1e-9);
    }));
});
