import {
  compile,
  grad,
  Key,
  referenceEngine,
  setEngine,
  type Tensor,
  tensor,
  tokenLogProbs,
} from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { onEngine } from '@posttrain/core-tensor/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  initialWeights,
  type LayerHooks,
  loadBalancingLoss,
  loadWeights,
  type ModelConfig,
  modelConfigToJson,
  networkOf,
  parseModelConfig,
  recordRouterLogits,
  sequenceLogProbs,
  type Weights,
} from '../src/index.js';
import { groupedMatmul, groupedOuter } from '../src/model/grouped-matmul.js';
import { dequantizeWeights, quantizeWeights } from '../src/model/quantize.js';
import { ENGINES, largestDifference, MIXTURES, modelFolder, readGolden, tinyConfig } from './support.js';

const key = Key.fromSeed(11);
const randomTensor = (index: number, shape: readonly number[]): Tensor =>
  tensor(key.child(index).normalHost(shape.reduce((a, b) => a * b, 1)), shape);

const mixture = (overrides: Readonly<Record<string, unknown>> = {}): ModelConfig =>
  tinyConfig({
    ...{ model_type: 'qwen3_moe', head_dim: 8, num_experts: 4, num_experts_per_tok: 2 },
    ...{ moe_intermediate_size: 24, norm_topk_prob: true, ...overrides },
  });

const SEQUENCES = [
  [5, 9, 17, 30, 2, 8, 41],
  [60, 1, 12],
];
const logProbsOf = async (config: ModelConfig, weights: Weights): Promise<number[]> =>
  (await sequenceLogProbs({ network: networkOf(config), weights }, SEQUENCES)).flatMap(({ logProbs }) => [...logProbs]);

beforeAll(() => setEngine(referenceEngine()));

describe.each(MIXTURES)('%s', (folder) => {
  it('has the router logits, auxiliary loss and gradients of transformers', async () => {
    const { config, weights, network } = await loadWeights(modelFolder(folder));
    if (!('experts' in config) || !config.experts) throw new Error('the golden has experts');
    const { perToken, auxiliaryLossCoefficient } = config.experts;
    const { read, json, names } = await readGolden(modelFolder(folder));
    const [tokens, labels] = [await read('batch.input_ids'), await read('batch.labels')];
    const [b, s] = tokens.shape as [number, number];
    const positions = tensor(
      Int32Array.from({ length: b * s }, (_, i) => i % s),
      [b, s],
      'int32',
    );
    const input = { tokens, positions, segments: positions.mul(0) };
    const losses = (w: Weights) => {
      const { hooks, logits } = recordRouterLogits();
      const hidden = network.hidden(w, input, hooks);
      const states = hidden.slice(1, 0, s - 1).reshape([b * (s - 1), config.hiddenSize]);
      const targets = labels.slice(1, 1).reshape([-1]);
      const trained = targets.notEqual(-100).cast('float32');
      const { logProbs } = tokenLogProbs(states, network.head(w), targets.maximum(0));
      const auxiliary = loadBalancingLoss(logits, { perToken });
      const loss = logProbs.mul(trained).sum().div(trained.sum()).neg().add(auxiliary.mul(auxiliaryLossCoefficient));
      return { loss, auxiliary, logits };
    };
    const { loss, auxiliary, logits } = losses(weights);
    const expected = await read('router.logits');
    expect(logits).toHaveLength(expected.shape[0]!);
    for (const [layer, actual] of logits.entries()) {
      const difference = largestDifference(await actual.toArray(), await expected.slice(0, layer, layer + 1).toArray());
      expect(difference).toBeLessThan(1e-5);
    }
    expect(await auxiliary.item()).toBeCloseTo(json['router.aux_loss'], 5);
    expect(await loss.item()).toBeCloseTo(json['router.loss'], 5);
    const gradients = grad((w: Weights) => losses(w).loss)(weights);
    const routed = names.filter((name) => name.startsWith('routed_gradient.'));
    expect(routed).toHaveLength(7);
    for (const name of routed) {
      const actual = await gradients[name.slice('routed_gradient.'.length)]!.toArray();
      expect(largestDifference(actual, await (await read(name)).toArray()), name).toBeLessThan(1e-5);
    }

    const mask = await read('router.mask');
    const layers = Array.from({ length: expected.shape[0]! }, (_, layer) => layer);
    const masked = (all: Tensor) =>
      loadBalancingLoss(
        layers.map((layer) => all.slice(0, layer, layer + 1)),
        { perToken, mask },
      );
    expect(await masked(expected).item()).toBeCloseTo(json['router.masked_aux_loss'], 5);
    const difference = largestDifference(
      await grad(masked)(expected).toArray(),
      await (await read('router.masked_gradient')).toArray(),
    );
    expect(difference).toBeLessThan(1e-6);
  });
});

describe.each(ENGINES)('on the %s engine', (_, makeEngine) => {
  const engine = makeEngine();

  it('one expert is the plain MLP', () =>
    onEngine(engine, async () => {
      const config = mixture({ num_experts: 1, num_experts_per_tok: 1 });
      const weights = await initialWeights(networkOf(config), 3);
      const dense = tinyConfig({ model_type: 'qwen3', head_dim: 8 });
      const renamed = Object.entries(weights)
        .filter(([name]) => !name.endsWith('mlp.gate.weight'))
        .map(([name, weight]) => [name.replace('mlp.experts.0.', 'mlp.'), weight]);
      const expected = await logProbsOf(dense, Object.fromEntries(renamed));
      expect(largestDifference(await logProbsOf(config, weights), expected)).toBeLessThan(1e-5);
    }));

  it('all experts alike are one expert, however tokens are routed, when weights are normalised', () =>
    onEngine(engine, async () => {
      const config = mixture();
      const weights = await initialWeights(networkOf(config), 4);
      const alike = Object.fromEntries(
        Object.entries(weights).map(([name, weight]) => [
          name,
          weights[name.replace(/experts\.\d+/, 'experts.0')] ?? weight,
        ]),
      );
      const single = mixture({ num_experts: 1, num_experts_per_tok: 1 });
      const { parameters } = networkOf(single);
      const one = parameters.map(({ name, shape }) => [name, alike[name]!.slice(0, 0, shape[0])]);
      const expected = await logProbsOf(single, Object.fromEntries(one));
      expect(largestDifference(await logProbsOf(config, alike), expected)).toBeLessThan(1e-5);
      expect(largestDifference(await logProbsOf(config, weights), expected)).toBeGreaterThan(1e-2);
    }));

  it('the names of experts do not matter', () =>
    onEngine(engine, async () => {
      const config = mixture({ num_experts: 3, norm_topk_prob: false });
      const weights = await initialWeights(networkOf(config), 5);
      const turned = (expert: number) => (expert + 1) % 3;
      const permuted = Object.entries(weights).map(([name, weight]) =>
        name.endsWith('mlp.gate.weight')
          ? [name, weight.gather(tensor([2, 0, 1], [3], 'int32'))]
          : [name.replace(/experts\.(\d+)/, (_match, e) => `experts.${turned(Number(e))}`), weight],
      );
      const expected = await logProbsOf(config, weights);
      expect(largestDifference(await logProbsOf(config, Object.fromEntries(permuted)), expected)).toBeLessThan(1e-5);
    }));

  it('all experts chosen is the sum of all, weighted by the softmax of the router', () =>
    onEngine(engine, async () => {
      // Experts whose gate is alike have an output linear in `down`: the weighted sum is one MLP per token.
      const config = mixture({ num_experts: 3, num_experts_per_tok: 3, norm_topk_prob: false, num_hidden_layers: 1 });
      const weights = await initialWeights(networkOf(config), 6);
      const zeroRouter = {
        ...weights,
        'model.layers.0.mlp.gate.weight': weights['model.layers.0.mlp.gate.weight']!.mul(0),
      };
      const shared = Object.fromEntries(
        Object.entries(zeroRouter).map(([name, weight]) => [
          name,
          name.includes('down_proj')
            ? weight
            : (zeroRouter[name.replace(/experts\.\d+/, 'experts.0') as never] ?? weight),
        ]),
      );
      const down = (expert: number) => weights[`model.layers.0.mlp.experts.${expert}.down_proj.weight`]!;
      const dense = tinyConfig({ model_type: 'qwen3', head_dim: 8, num_hidden_layers: 1 });
      const averaged: Weights = Object.fromEntries(
        networkOf(dense).parameters.map(({ name }) => [
          name,
          name.includes('down_proj')
            ? down(0).add(down(1)).add(down(2)).div(3)
            : (shared[name] ?? shared[name.replace('mlp.', 'mlp.experts.0.')])!,
        ]),
      );
      const expected = await logProbsOf(dense, averaged);
      expect(largestDifference(await logProbsOf(config, shared), expected)).toBeLessThan(1e-5);
    }));

  it('an adapter on one expert changes what that expert computes, and nothing else', () =>
    onEngine(engine, async () => {
      const config = mixture({ num_experts: 3 });
      const network = networkOf(config);
      const weights = await initialWeights(network, 7);
      const target = 'model.layers.0.mlp.experts.2.down_proj';
      const delta = randomTensor(1, [16, 24]).mul(0.3);
      const hooks: LayerHooks = {
        linear: (x, layer) =>
          layer.name === target ? layer.apply(x).add(x.matmul(delta, { transposeB: true })) : layer.apply(x),
      };
      const adapter = { name: 'delta', parameters: {}, hooks: () => hooks };
      const changed = { ...weights, [`${target}.weight`]: weights[`${target}.weight`]!.add(delta) };
      const scored = await sequenceLogProbs({ network, weights }, SEQUENCES, { adapter });
      const expected = await logProbsOf(config, changed);
      expect(
        largestDifference(
          scored.flatMap(({ logProbs }) => [...logProbs]),
          expected,
        ),
      ).toBeLessThan(1e-5);
      expect(largestDifference(await logProbsOf(config, weights), expected)).toBeGreaterThan(1e-3);
    }));

  it('grouped products and their gradients are those of each group by itself, empty groups too', () =>
    onEngine(engine, async () => {
      const sizes = [3, 0, 1, 0];
      const counts = tensor(sizes, [4], 'int32');
      const x = randomTensor(2, [4, 5]);
      const matrices = sizes.map((_, i) => randomTensor(3 + i, [6, 5]));
      const weigh = randomTensor(9, [4, 6]);
      const apart = (rows: Tensor, ms: readonly Tensor[]) => {
        const parts = ms.map((m, i) => {
          const start = sizes.slice(0, i).reduce((a, b) => a + b, 0);
          const mask = tensor(
            Float32Array.from({ length: 4 }, (_, r) => Number(r >= start && r < start + sizes[i]!)),
            [4, 1],
          );
          return rows.mul(mask).matmul(m, { transposeB: true });
        });
        return parts.reduce((a, b) => a.add(b));
      };
      const together = (rows: Tensor, ms: readonly Tensor[]) => groupedMatmul(rows, counts, ms, { transposeB: true });
      expect(largestDifference(await together(x, matrices).toArray(), await apart(x, matrices).toArray())).toBeLessThan(
        1e-5,
      );
      for (const argument of [0, 1]) {
        // Of the square, so that the gradient of the gradient has something to see.
        const gradientOf = (f: typeof together) =>
          grad((rows: Tensor, ms: readonly Tensor[]) => f(rows, ms).mul(weigh).square().sum(), { argument });
        const twice = (f: typeof together) =>
          grad(
            (rows: Tensor, ms: readonly Tensor[]) =>
              [gradientOf(f)(rows, ms)]
                .flat()
                .reduce((sum, g) => sum.add((g as Tensor).square().sum()), tensor([0], [])),
            { argument: 1 - argument },
          );
        for (const derivative of [gradientOf, twice]) {
          const [actual, expected] = [derivative(together)(x, matrices), derivative(apart)(x, matrices)].map(
            (result) => [result].flat() as Tensor[],
          );
          for (const [i, part] of actual!.entries()) {
            const difference = largestDifference(await part.toArray(), await expected![i]!.toArray());
            expect(difference, `argument ${argument}, part ${i}`).toBeLessThan(1e-3);
          }
        }
      }
      const outer = groupedOuter(x, weigh, counts);
      expect(await outer[1]!.abs().sum().item()).toBe(0);
    }));
});

it('reads the configs of transformers 4 and 5, and what it writes of them', () => {
  const of = (config: ModelConfig) => ('experts' in config ? config.experts : undefined);
  const qwen3 = mixture({ num_hidden_layers: 4, decoder_sparse_step: 2, mlp_only_layers: [3] });
  const four = {
    count: 4,
    perToken: 2,
    intermediateSize: 24,
    normalizeWeights: true,
    auxiliaryLossCoefficient: 0.001,
    outputRouterLogits: false,
  };
  expect(of(qwen3)).toEqual({ ...four, sparseLayers: [false, true, false, false] });
  expect(mixture({ num_experts: undefined, num_local_experts: 4 })).toEqual(mixture());
  const mixtral = tinyConfig({ model_type: 'mixtral', router_aux_loss_coef: 0.02, output_router_logits: true });
  const routed = { auxiliaryLossCoefficient: 0.02, outputRouterLogits: true };
  const eight = { ...four, ...routed, count: 8, sparseLayers: [true, true] };
  expect(of(mixtral)).toEqual(eight);
  const dense = mixture({ mlp_only_layers: [0, 1] });
  expect(of(dense)).toBeUndefined();
  for (const config of [qwen3, mixtral, dense]) expect(parseModelConfig(modelConfigToJson(config))).toEqual(config);
  expect(() => mixture({ num_experts_per_tok: 5 })).toThrow(/"num_experts_per_tok" must be at most num_experts \(4\)/);
  expect(() => tinyConfig({ model_type: 'mixtral', router_jitter_noise: 0.1 })).toThrow(/router_jitter_noise/);
});

it('quantises experts and not routers, and computes with what the codes stand for', async () => {
  const config = mixture();
  const network = networkOf(config);
  const weights = await initialWeights(network, 9);
  const quantized = await quantizeWeights(network, weights, { method: 'nf4', blockSize: 64 });
  const routers = [...network.modules.values()].filter(({ kind }) => kind === 'router').map(({ name }) => name);
  expect(routers).toEqual(['model.layers.0.mlp.gate', 'model.layers.1.mlp.gate']);
  expect(routers.some((name) => quantized.quantized.has(name))).toBe(false);
  expect(quantized.quantized.has('model.layers.1.mlp.experts.3.up_proj')).toBe(true);
  const small = networkOf(config, quantized.quantized);
  const expected = await logProbsOf(config, await dequantizeWeights(small, quantized.weights));
  const scored = await sequenceLogProbs({ network: small, weights: quantized.weights }, SEQUENCES);
  expect(
    largestDifference(
      scored.flatMap(({ logProbs }) => [...logProbs]),
      expected,
    ),
  ).toBeLessThan(1e-5);
});

describe('loadBalancingLoss', () => {
  it('is the number of experts per token for even loads, and the number of experts when one gets all', async () => {
    const even = tensor(
      [4, 0, 0, 4, 0, 0, 4, 0, 0, 4, 0, 0, 4, 0, 0, 4].map((_, i) => (i % 5 === 0 ? 4 : 0)),
      [4, 4],
    );
    expect(await loadBalancingLoss([even], { perToken: 1 }).item()).toBeCloseTo(1, 5);
    const uneven = tensor(
      Array.from({ length: 16 }, (_, i) => (i % 4 === 2 ? 50 : 0)),
      [4, 4],
    );
    expect(await loadBalancingLoss([uneven], { perToken: 1 }).item()).toBeCloseTo(4, 5);
  });
});

it('computes on the default engine what the reference computes, gradients too', async () => {
  const config = mixture({ num_experts: 5 });
  const tokens = tensor(SEQUENCES[0]!, [1, 7], 'int32');
  const positions = tensor([0, 1, 2, 3, 4, 5, 6], [1, 7], 'int32');
  const gradients = async () => {
    const network = networkOf(config);
    const weights = await initialWeights(network, 8);
    const loss = (w: Weights) =>
      network
        .hidden(w, { tokens, positions, segments: positions.mul(0) })
        .square()
        .mean();
    return Promise.all(Object.values(await compile(grad(loss))(weights)).map((gradient) => gradient.toArray()));
  };
  const expected = await gradients();
  const actual = await onEngine(onnxruntimeEngine(), gradients);
  for (const [i, part] of actual.entries()) expect(largestDifference(part, expected[i]!)).toBeLessThan(1e-4);
});
