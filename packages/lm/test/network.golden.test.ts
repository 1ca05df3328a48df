import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { grad, referenceEngine, setEngine, type Tensor, tensor, tokenLogProbs } from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { onEngine } from '@posttrain/core-tensor/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rotaryWidth } from '../src/config/index.js';
import { type Phi3Config, parseModelConfig, type RotaryModelConfig } from '../src/index.js';
import { networkOf } from '../src/model/network-of.js';
import { rotaryAngles, rotationOf } from '../src/model/rotary-angles.js';
import { loadWeights } from '../src/model/weights.js';
import { goldenFolder, MODEL_FOLDERS, modelFolder, readGolden } from './support.js';

describe('networks', () => {
  async function largestError(actual: Tensor, expected: Tensor): Promise<number> {
    expect(actual.shape).toEqual(expected.shape);
    const [a, b] = [await actual.toArray(), await expected.toArray()];
    return a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0);
  }

  beforeAll(() => setEngine(referenceEngine()));

  describe.each(MODEL_FOLDERS)('%s', (folder) => {
    it('gives the logits, log-probabilities and gradients of transformers', async () => {
      const { config, weights } = await loadWeights(modelFolder(folder));
      const network = networkOf(config);
      const { read, json, names } = await readGolden(modelFolder(folder));
      const tokens = await read('batch.input_ids');
      const [b, s] = tokens.shape as [number, number];
      const row = (f: (i: number, t: number) => number) =>
        tensor(
          Int32Array.from({ length: b * s }, (_, i) => f(Math.floor(i / s), i % s)),
          [b, s],
          'int32',
        );
      const input = { tokens, positions: row((_, t) => t), segments: row(() => 1) };

      const hidden = network.hidden(weights, input);
      const logits = network.logits(weights, hidden.reshape([b * s, -1])).reshape([b, s, -1]);
      expect(await largestError(logits, await read('batch.logits'))).toBeLessThan(1e-4);

      const width = hidden.shape[2]!;
      const flat = (h: Tensor) => h.slice(1, 0, s - 1).reshape([b * (s - 1), width]);
      const scored = tokenLogProbs(flat(hidden), network.head(weights), tokens.slice(1, 1).reshape([-1]), {
        chunkSize: 7,
        softCap: network.logitSoftCap,
      });
      expect(await largestError(scored.logProbs.reshape([b, s - 1]), await read('batch.log_probs'))).toBeLessThan(1e-4);

      const labels = (await read('batch.labels')).slice(1, 1).reshape([-1]);
      const trained = labels.notEqual(-100).cast('float32');
      const loss = (w: typeof weights) => {
        const h = flat(network.hidden(w, input));
        const { logProbs } = tokenLogProbs(h, network.head(w), labels.maximum(0), {
          chunkSize: 7,
          softCap: network.logitSoftCap,
        });
        return logProbs.mul(trained).sum().div(trained.sum()).neg();
      };
      expect(Math.abs((await loss(weights).item()) - json['batch.loss'])).toBeLessThan(1e-5);
      const gradients = grad(loss)(weights);
      for (const name of names.filter((n) => n.startsWith('gradient.'))) {
        const error = await largestError(gradients[name.slice('gradient.'.length)]!, await read(name));
        expect(error, name).toBeLessThan(1e-5);
      }
    });
  });
});

describe('rotary positions', () => {
  const folder = goldenFolder('rotary');
  const cases = JSON.parse(readFileSync(join(folder, 'rotary.json'), 'utf8')) as Record<
    string,
    { config: Record<string, unknown>; positions: number[] }
  >;
  let file: Awaited<ReturnType<typeof openSafetensors>>;
  beforeAll(async () => {
    file = await openSafetensors(join(folder, 'rotary.safetensors'));
  });
  afterAll(() => file.close());
  const read = async (name: string) => [...((await file.read(name)).data as Float32Array)];

  describe.each(Object.entries(cases))('rotary positions: %s', (name, { config, positions }) => {
    const parsed = parseModelConfig(config) as RotaryModelConfig | Phi3Config;
    const width = parsed.modelType === 'phi3' ? rotaryWidth(parsed) : parsed.headDim;
    const engine = onnxruntimeEngine();

    it('have the frequencies of transformers, float32 by float32', async () => {
      const check = async (found: Float32Array, golden: string) => {
        const want = await read(`${name}.${golden}`);
        expect(found.length).toBe(want.length);
        // torch's vectorised power is not always the nearest float32: one unit in few pairs.
        const off = want.filter((x, i) => x !== found[i]);
        expect(off.length).toBeLessThanOrEqual(0.05 * want.length);
        for (const [i, x] of want.entries()) expect(Math.abs(found[i]! - x)).toBeLessThanOrEqual(1.3e-7 * x);
      };
      await check(rotationOf(parsed.rope, width).frequencies, 'frequencies');
      if (parsed.modelType === 'phi3') {
        await check(rotationOf(parsed.rope, width, true).frequencies, 'long_frequencies');
      }
    });

    it('have its cos and sin at every position of the context', () =>
      onEngine(engine, async () => {
        const rotation = rotationOf(parsed.rope, width);
        const tokens = tensor(Int32Array.from(positions), [1, positions.length], 'int32');
        const turned = rotaryAngles(tokens, rotation, { dtype: 'float32' });
        const frequencies = await read(`${name}.frequencies`);
        for (const [i, kind] of (['cos', 'sin'] as const).entries()) {
          const [got, want] = [await turned[i]!.toArray(), await read(`${name}.${kind}`)];
          want.forEach((x, at) => {
            const [row, pair] = [Math.floor(at / frequencies.length), at % frequencies.length];
            const unit = positions[row]! * Math.abs(rotation.frequencies[pair]! - frequencies[pair]!);
            const error = Math.abs(got[at]! - x);
            if (!(error <= rotation.scale * (1e-6 + unit))) {
              expect.fail(`${kind} of pair ${pair} at ${positions[row]}: ${got[at]} where ${x} is right`);
            }
          });
        }
      }));
  });
});
