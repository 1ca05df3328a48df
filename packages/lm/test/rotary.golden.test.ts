import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tensor } from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { onEngine } from '@posttrain/core-tensor/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rotaryWidth } from '../src/config/index.js';
import { type Phi3Config, parseModelConfig, type RotaryModelConfig } from '../src/index.js';
import { rotaryAngles, rotationOf } from '../src/model/rotary-angles.js';
import { goldenFolder } from './support.js';

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
