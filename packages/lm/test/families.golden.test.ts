import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  concat,
  grad,
  iota,
  realize,
  referenceEngine,
  type Tensor,
  tensor,
  tokenLogProbs,
  zeros,
} from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { onEngine } from '@posttrain/core-tensor/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  initialWeights,
  type LayerHooks,
  loadWeights,
  type Network,
  saveWeights,
  sequenceLogProbs,
  type Weights,
} from '../src/index.js';
import { matrixOf } from '../src/model/calibration.js';
import { fold, foldGroups } from '../src/model/folding.js';
import type { PagedInput } from '../src/model/network.js';
import { floatWeight } from '../src/model/quantized-layer.js';
import { recentOfBlocks } from '../src/model/recent-tokens.js';
import { FAMILY_TABLES, lostInWriting, passedOver, readKeyTable } from './config/key-table.js';
import { decodeAll, goldenFolder, largestDifference, rowOf, temporaryFolder } from './support.js';

interface Expected {
  readonly loss: number;
  /** Of each gradient its norm, and its product with cos(i). */
  readonly gradients: Readonly<Record<string, readonly [number, number]>>;
  readonly rows: readonly (readonly number[])[];
  readonly log_probs: readonly (readonly number[])[];
  readonly prompts: readonly (readonly number[])[];
  readonly greedy: readonly (readonly number[])[];
  readonly lora: {
    readonly scale: number;
    readonly loss: number;
    readonly gradients: Readonly<Record<string, readonly [number, number]>>;
  };
}
interface Model {
  readonly network: Network;
  readonly weights: Weights;
}

const folderOf = (name: string): string => join(goldenFolder('families'), name);
const expectedOf = (name: string): Expected =>
  JSON.parse(readFileSync(join(folderOf(name), 'expected.json'), 'utf8')) as Expected;

const grid = ([b, s]: readonly number[]) => ({
  positions: iota([b!, s!], 1),
  segments: zeros([b!, s!], 'int32'),
});

const logitsOf = ({ network, weights }: Model, tokens: Tensor, hooks?: LayerHooks, start = 0): Tensor => {
  const [b, s] = tokens.shape as [number, number];
  const { positions, segments } = grid(tokens.shape);
  const hidden = network.hidden(weights, { tokens, positions: positions.add(start), segments }, hooks);
  return network.logits(weights, hidden.reshape([b * s, -1]), hooks);
};

/** The mean loss of all tokens but the first of each row. */
function lossOf({ network, weights }: Model, tokens: Tensor, hooks?: LayerHooks): Tensor {
  const [b, s] = tokens.shape as [number, number];
  const hidden = network.hidden(weights, { tokens, ...grid([b, s]) }, hooks);
  const { states, matrix } = network.outputLayer(weights, hidden.slice(1, 0, s - 1).reshape([b * (s - 1), -1]), hooks);
  const targets = tokens.slice(1, 1).reshape([-1]);
  return tokenLogProbs(states, matrix, targets, { softCap: network.logitSoftCap }).logProbs.mean().neg();
}

async function marks(gradient: Tensor): Promise<[number, number]> {
  const values = await gradient.toArray();
  return [Math.hypot(...values), values.reduce((sum, g, i) => sum + g * Math.cos(i), 0)];
}

async function expectMarks(got: Readonly<Record<string, Tensor>>, want: Expected['gradients']) {
  // All in one pass over the graph.
  await realize(Object.keys(want).map((name) => got[name]!));
  const pairs = await Promise.all(Object.keys(want).map(async (name) => [name, await marks(got[name]!)] as const));
  for (const [name, found] of pairs) {
    const [norm, product] = want[name]!;
    expect(Math.abs(found[0] - norm), name).toBeLessThan(1e-4 * (1 + norm));
    expect(Math.abs(found[1] - product), name).toBeLessThan(1e-4 * (1 + norm));
  }
}

it('reads the experts of a gpt-oss in MXFP4 as transformers does, and saves what they stand for', () =>
  onEngine(referenceEngine(), async () => {
    const model = await loadWeights(folderOf('gpt-oss-mxfp4'));
    const file = await openSafetensors(join(folderOf('gpt-oss-mxfp4'), 'expected.safetensors'));
    const read = async (key: string) => {
      const { data, shape, dtype } = await file.read(key);
      return tensor(data, shape, dtype);
    };
    const [tokens, logits] = [await read('input_ids'), await (await read('logits')).toArray()];
    await file.close();
    expect(largestDifference(await logitsOf(model, tokens).toArray(), logits)).toBeLessThan(1e-4);
    const folder = await temporaryFolder();
    await saveWeights(folder, model.config, model.weights);
    expect(readFileSync(join(folder, 'config.json'), 'utf8')).not.toMatch(/mxfp4/);
    expect(largestDifference(await logitsOf(await loadWeights(folder), tokens).toArray(), logits)).toBeLessThan(1e-4);
  }));

it.each(['granite-moe', 'gpt-oss'])('saves %s in int8, where files have experts in one tensor otherwise', (name) =>
  onEngine(referenceEngine(), async () => {
    const quantized = await loadWeights(folderOf(name), { quantization: { method: 'int8' } });
    const folder = await temporaryFolder();
    await saveWeights(folder, quantized.config, quantized.weights, {}, undefined, quantized.network);
    const again = await loadWeights(folder);
    const tokens = tensor(Int32Array.of(1, 2, 3, 4), [1, 4], 'int32');
    const logits = await logitsOf(quantized, tokens).toArray();
    expect(largestDifference(await logitsOf(again, tokens).toArray(), logits)).toBe(0);
  }),
);

it('finds the tokens before each new one of a tree, in the cache and among the new ones', () =>
  onEngine(referenceEngine(), async () => {
    const int = (values: readonly number[], shape: readonly number[]) =>
      tensor(Int32Array.from(values), shape, 'int32');
    // Three tokens of a row are in block 1; two new ones follow the first new one, and a third one of them.
    const cached = [10, 11, 12];
    const blocks = 3 * 4;
    const past = Float32Array.from({ length: blocks * 2 }, (_, i) => cached[Math.floor(i / 2) - 4] ?? Number.NaN);
    const pool = () => tensor(past, [blocks, 2]);
    const x = tensor(Float32Array.from([1, 2, 3, 4].flatMap((value) => [value, value, value, value])), [1, 4, 4]);
    const paged = {
      ...{ tokens: int([0, 0, 0, 0], [1, 4]), lengths: int([3], [1]), table: int([1, 2], [1, 2]), blockSize: 4 },
      ...{ slots: int([7, 8, 9, 10], [1, 4]), cache: { keys: [], values: [] } },
    };
    const tree = {
      depths: int([0, 1, 1, 2], [1, 4]),
      visible: int([1, 0, 0, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 1], [1, 4, 4]),
    };
    const found = async (input: PagedInput, taps = 6) =>
      Promise.all(
        recentOfBlocks(x, taps, { keys: pool(), values: pool() }, input, 1).found.map(async (rows) =>
          (await rows.toArray()).filter((_, i) => i % 4 === 0),
        ),
      );
    const inTree = [
      [1, 2, 3, 4],
      [12, 1, 1, 2],
      [11, 12, 12, 1],
      [10, 11, 11, 12],
      [0, 10, 10, 11],
      [0, 0, 0, 10],
    ];
    expect(await found({ ...paged, tree })).toEqual(inTree);
    const inRow = [
      [1, 2, 3, 4],
      [12, 1, 2, 3],
      [11, 12, 1, 2],
      [10, 11, 12, 1],
      [0, 10, 11, 12],
      [0, 0, 10, 11],
    ];
    expect(await found(paged)).toEqual(inRow);
  }));

describe.each(FAMILY_TABLES)('%s', (name) => {
  const expected = expectedOf(name);
  let model: Model;
  let tokens: Tensor;
  let logits: readonly number[];
  let lora: Readonly<Record<string, Tensor>>;
  const engine = onnxruntimeEngine();
  const reference = <T>(body: () => Promise<T>): Promise<T> => onEngine(referenceEngine(), body);

  beforeAll(async () => {
    model = await loadWeights(folderOf(name));
    const file = await openSafetensors(join(folderOf(name), 'expected.safetensors'));
    const read = async (key: string) => {
      const { data, shape, dtype } = await file.read(key);
      return tensor(data, shape, dtype);
    };
    tokens = await read('input_ids');
    logits = await (await read('logits')).toArray();
    const names = [...file.tensors.keys()].filter((key) => key.startsWith('lora.'));
    lora = Object.fromEntries(
      await Promise.all(names.map(async (key) => [key.slice('lora.'.length), await read(key)] as const)),
    );
    await file.close();
  });

  it('gives the logits, the loss and all gradients of transformers', () =>
    reference(async () => {
      expect(largestDifference(await logitsOf(model, tokens).toArray(), logits)).toBeLessThan(1e-4);
      const loss = (weights: Weights) => lossOf({ ...model, weights }, tokens);
      expect(Math.abs((await loss(model.weights).item()) - expected.loss)).toBeLessThan(1e-5);
      const gradients = grad(loss)(model.weights);
      expect(Object.keys(expected.gradients).length).toBeGreaterThan(10);
      await expectMarks(gradients, expected.gradients);
    }));

  it('trains a LoRA as PEFT does, by its default targets', () =>
    reference(async () => {
      const loss = (parameters: Weights) => {
        const hooks: LayerHooks = {
          linear(x, layer) {
            const [a, b] = ['A', 'B'].map((part) => parameters[`${layer.name}.lora_${part}`]);
            if (!a || !b) return layer.apply(x);
            const turned = x.matmul(a, { transposeB: true }).matmul(b, { transposeB: true });
            return layer.apply(x).add(turned.mul(expected.lora.scale));
          },
        };
        return lossOf(model, tokens, hooks);
      };
      for (const key of Object.keys(lora)) {
        expect(model.network.modules.get(key.replace(/\.lora_[AB]$/, ''))?.kind, key).toBe('linear');
      }
      expect(Math.abs((await loss(lora).item()) - expected.lora.loss)).toBeLessThan(1e-5);
      await expectMarks(grad(loss)(lora), expected.lora.gradients);
    }));

  it('scores padded rows and continues prompts with its cache as transformers does', () =>
    onEngine(engine, async () => {
      const scored = await sequenceLogProbs(model, expected.rows);
      for (const [i, { logProbs }] of scored.entries()) {
        expect(largestDifference(logProbs, expected.log_probs[i]!)).toBeLessThan(1e-4);
        expect(logProbs.length).toBe(expected.log_probs[i]!.length);
      }
      const rows = expected.prompts.map((prompt) => rowOf(prompt, expected.greedy[0]!.length));
      expect((await decodeAll(model, rows)).tokens).toEqual(expected.greedy);
    }));

  it('knows distances only, and appends to a cache what a whole pass computes', () =>
    reference(async () => {
      const { network, weights } = model;
      const { config } = network;
      const isMovable = 'rotary' in config ? !config.rotary?.growth : 'alibi' in config && config.alibi;
      if (isMovable) {
        const moved = await logitsOf(model, tokens, {}, 13).toArray();
        expect(largestDifference(moved, logits)).toBeLessThan(1e-4);
      }
      const [b, s] = tokens.shape as [number, number];
      if (network.stateShapes.length > 0) {
        // Both rows as one, in which the second begins anew.
        const packed = { tokens: tokens.reshape([1, b * s]), positions: iota([1, b * s], 1).mod(s) };
        const segments = iota([b, s], 0).reshape([1, b * s]);
        const states = network.hidden(weights, { ...packed, segments }).reshape([b * s, -1]);
        expect(largestDifference(await network.logits(weights, states).toArray(), logits)).toBeLessThan(1e-4);
      }
      const extend = (from: number, to: number, cache: ReturnType<Network['newCache']>) =>
        network.extend(weights, { tokens: tokens.slice(1, from, to), lengths: zeros([b], 'int32').add(from), cache });
      const first = extend(0, 6, network.newCache(b, 16));
      const rest = extend(6, s, first.cache);
      const hidden = concat([first.hidden, rest.hidden], 1).reshape([b * s, -1]);
      expect(largestDifference(await network.logits(weights, hidden).toArray(), logits)).toBeLessThan(1e-4);
    }));

  it('sees virtual tokens as the tokens that they are', () =>
    reference(async () => {
      const { network, weights } = model;
      const s = tokens.shape[1]!;
      const virtualTokens = network.asVirtualTokens(weights, tokens.slice(0, 0, 1).slice(1, 0, 4).reshape([4]));
      const rest = tokens.slice(0, 0, 1).slice(1, 4);
      const behind = await logitsOf(model, rest, { virtualTokens }).toArray();
      const vocabulary = network.config.vocabSize;
      expect(largestDifference(behind, logits.slice(4 * vocabulary, s * vocabulary))).toBeLessThan(1e-4);
    }));

  it('quantises to what its codes stand for, and comes back from its folder', () =>
    reference(async () => {
      const quantized = await loadWeights(folderOf(name), { quantization: { method: 'nf4' } });
      const modules = [...quantized.network.modules.values()].filter(({ quantization }) => quantization);
      expect(modules.length).toBeGreaterThan(3);
      const float = Object.fromEntries(modules.map((m) => [`${m.name}.weight`, floatWeight(m, quantized.weights)]));
      const wanted = await logitsOf({ ...model, weights: { ...model.weights, ...float } }, tokens).toArray();
      expect(largestDifference(wanted, logits)).toBeGreaterThan(1e-3);
      expect(largestDifference(await logitsOf(quantized, tokens).toArray(), wanted)).toBeLessThan(1e-4);
      const folder = await temporaryFolder();
      await saveWeights(folder, quantized.config, quantized.weights, {}, undefined, quantized.network);
      const again = await loadWeights(folder);
      expect(largestDifference(await logitsOf(again, tokens).toArray(), wanted)).toBeLessThan(1e-4);
    }));

  it('computes the same when inputs of its layers are scaled and their columns back', () =>
    reference(async () => {
      const { network } = model;
      const weights = { ...model.weights };
      for (let layer = 0; layer < network.config.numHiddenLayers; layer++) {
        const modules = [...network.modules.values()].filter((m) => m.layer === layer && m.kind === 'linear');
        const matrices = new Map(
          await Promise.all(modules.map(async (m) => [m.name, await matrixOf(m, weights)] as const)),
        );
        for (const group of foldGroups(network, modules)) {
          const scales = Float64Array.from({ length: group.to[0]!.inFeatures }, (_, i) => 0.5 + ((i * 7) % 5) / 4);
          await fold(network, { weights, matrices }, group, scales);
        }
        for (const m of modules) {
          const { data, shape } = matrices.get(m.name)!;
          weights[`${m.name}.weight`] = tensor(Float32Array.from(data), shape);
        }
      }
      expect(largestDifference(await logitsOf({ ...model, weights }, tokens).toArray(), logits)).toBeLessThan(1e-4);
    }));

  it('is saved as transformers saves it, and a new model has the same tensors', () =>
    reference(async () => {
      const { config, weights } = await loadWeights(folderOf(name));
      const folder = await temporaryFolder();
      await saveWeights(folder, config, weights, { dtype: 'bfloat16' });
      const [ours, theirs] = await Promise.all(
        [folder, folderOf(name)].map((where) => openSafetensors(join(where, 'model.safetensors'))),
      );
      expect([...ours!.tensors.keys()].sort()).toEqual([...theirs!.tensors.keys()].sort());
      for (const key of ours!.tensors.keys()) expect(await ours!.read(key), key).toEqual(await theirs!.read(key));
      await Promise.all([ours!.close(), theirs!.close()]);
      expect((await loadWeights(folder)).config).toEqual(config);
      const started = await initialWeights(model.network, 3);
      const shapes = (all: Weights) => Object.entries(all).map(([key, { shape }]) => `${key} ${shape}`);
      expect(shapes(started).sort()).toEqual(shapes(weights).sort());
    }));

  it('of config.json, passes no key over that changes anything, and writes what it has read', () => {
    expect(passedOver(name).filter((patch) => patch !== '{"tie_word_embeddings":true}')).toEqual([]);
    expect(lostInWriting(name)).toEqual([]);
    expect(readKeyTable(name).changed.length).toBeGreaterThan(2);
  });
});
