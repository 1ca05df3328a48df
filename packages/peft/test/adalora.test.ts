import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  compile,
  iota,
  Key,
  referenceEngine,
  scalar,
  setEngine,
  tensor,
  tokenLogProbs,
  valueAndGrad,
  zeros,
} from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { adamW, type Named } from '@posttrain/core-tensor/optim';
import { loadWeights } from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadAdapter, rankAllocator } from '../src/index.js';
import { modelOf } from './model.js';

beforeAll(() => setEngine(referenceEngine()));

const farthest = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0);

describe('AdaLoRA over a schedule', () => {
  const folder = join(import.meta.dirname, '../../../goldens/peft-methods/adalora-llama');

  it('masks what PEFT masks, step by step', async () => {
    const base = modelOf(await loadWeights(join(folder, '../../models/llama')), 'models/llama');
    const adapter = await loadAdapter(base, folder);
    const file = await openSafetensors(join(folder, 'schedule.safetensors'));
    const inputs = await openSafetensors(join(folder, '../../models/llama/expected.safetensors'));
    const read = async (from: typeof file, name: string) => Array.from((await from.read(name)).data as Float32Array);
    const [ids, labels] = [await read(inputs, 'batch.input_ids'), await read(inputs, 'batch.labels')];
    const shape = [2, 10] as const;
    const [b, s] = shape;
    const input = {
      tokens: tensor(Int32Array.from(ids), [...shape], 'int32'),
      positions: iota([...shape], 1),
      segments: zeros([...shape], 'int32'),
    };
    const shifted = labels.filter((_, i) => i % s !== 0);
    const targets = tensor(
      Int32Array.from(shifted, (label) => Math.max(label, 0)),
      [shifted.length],
      'int32',
    );
    const counted = tensor(Float32Array.from(shifted, (label) => (label === -100 ? 0 : 1)));
    const lossOf = (parameters: Named) => {
      const hooks = adapter.hooks(parameters);
      const hidden = base.network.hidden(base.weights, input, hooks).slice(1, 0, s - 1);
      const states = hidden.reshape([b * (s - 1), hidden.shape[2]!]);
      const { logProbs } = tokenLogProbs(states, base.network.head(base.weights, hooks), targets);
      return logProbs.mul(counted).sum().neg().div(counted.sum()).add(adapter.penalty!(parameters));
    };
    const optimizer = adapter.optimizer!(adamW());
    let [parameters, state] = [adapter.parameters, optimizer.init(adapter.parameters)];
    for (let step = 0; step < 5; step++) {
      const { value, gradient } = valueAndGrad(lossOf)(parameters);
      const [expected] = await read(file, `step${step}.loss`);
      expect(Math.abs((await value.item()) - expected!)).toBeLessThan(1e-4);
      const updated = optimizer.update(parameters, gradient as Named, state, scalar(0.05));
      // Values only: the graph of a step is not to hang on all before it.
      const settled: Record<string, ReturnType<typeof tensor>> = {};
      for (const [name, x] of Object.entries(updated.parameters)) settled[name] = tensor(await x.toArray(), x.shape);
      [parameters, state] = [settled, updated.state];
      for (const key of [...file.tensors.keys()].filter(
        (key) => key.startsWith(`step${step}.`) && key.includes('lora_E'),
      )) {
        const own = await parameters[key.replace(`step${step}.base_model.model.`, '')]!.toArray();
        const theirs = await read(file, key);
        expect(farthest(own, theirs)).toBeLessThan(1e-4);
        expect(own.map((x) => x === 0)).toEqual(theirs.map((x) => x === 0));
      }
    }
    const { rank_pattern: pattern } = JSON.parse(await readFile(join(folder, 'schedule.json'), 'utf8'));
    const kept = Object.values(pattern as Record<string, boolean[]>)
      .flat()
      .filter(Boolean).length;
    expect(kept).toBe(8);
    await file.close();
    await inputs.close();
  });
});

describe('AdaLoRA', () => {
  it('leaves more rank where the change that is learnt has more', async () => {
    // W of two modules is to become W + D: of rank 4 for one, of rank 1 for the other, of the same size.
    const random = (seed: number, shape: [number, number]) =>
      tensor(Key.fromSeed(seed).normalHost(shape[0] * shape[1]), shape);
    const planted = (rank: number, seed: number) =>
      random(seed, [8, rank])
        .matmul(random(seed + 1, [rank, 8]))
        .mul(2 / Math.sqrt(rank));
    const wanted = { rich: planted(4, 1), poor: planted(1, 3) };
    const schedule = {
      initR: 5,
      targetR: 3,
      tinit: 40,
      tfinal: 30,
      deltaT: 2,
      beta1: 0.85,
      beta2: 0.85,
      totalStep: 120,
    };
    const optimizer = rankAllocator(adamW(), schedule);
    let parameters: Named = Object.fromEntries(
      Object.keys(wanted).flatMap((name, i) => [
        [`${name}.lora_A`, random(10 + i, [5, 8]).mul(0.3)],
        [`${name}.lora_E`, random(20 + i, [5, 1]).mul(0.3)],
        [`${name}.lora_B`, random(30 + i, [8, 5]).mul(0.3)],
      ]),
    );
    const lossOf = (p: Named) =>
      Object.entries(wanted)
        .map(([name, d]) =>
          p[`${name}.lora_B`]!.matmul(p[`${name}.lora_A`]!.mul(p[`${name}.lora_E`]!))
            .sub(d)
            .square()
            .mean(),
        )
        .reduce((a, b) => a.add(b));
    const step = compile((p: Named, state: object) => {
      const { gradient } = valueAndGrad(lossOf)(p);
      return optimizer.update(p, gradient as Named, state, scalar(0.05));
    });
    let state = optimizer.init(parameters);
    for (let i = 0; i < schedule.totalStep; i++) ({ parameters, state } = await step(parameters, state));
    const rankOf = async (name: string) =>
      (await parameters[`${name}.lora_E`]!.toArray()).filter((value) => value !== 0).length;
    const [rich, poor] = [await rankOf('rich'), await rankOf('poor')];
    expect(rich + poor).toBe(6);
    expect(rich).toBeGreaterThanOrEqual(4);
  });
});
