import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tensor } from '@posttrain/core-tensor';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  copyState,
  joinState,
  latestCheckpoint,
  loadCheckpoint,
  refuseUsedFolder,
  saveCheckpoint,
  splitState,
} from '../src/index.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'checkpoint-'));
});
afterEach(() => rm(directory, { recursive: true }));

const save = (step: number, value: number, keep?: number) =>
  saveCheckpoint(directory, {
    snapshot: { step, tensors: { w: tensor([value]) } },
    state: { global_step: step },
    ...(keep === undefined ? {} : { keep }),
  });

describe('saveCheckpoint', () => {
  it('keeps the newest of its own run, and never deletes what it has just written', async () => {
    await save(100, 1);
    for (const step of [10, 20, 30]) await save(step, step, 2);
    expect((await readdir(directory)).sort()).toEqual(['checkpoint-100', 'checkpoint-20', 'checkpoint-30']);
  });

  it.each([
    [1, [10, 40]],
    [2, [10, 40]],
    [3, [10, 30, 40]],
  ])('of %i kept, one is the best; the newest and the best are never deleted', async (keep, kept) => {
    const best = join(directory, 'checkpoint-10');
    for (const step of [10, 20, 30, 40]) {
      const snapshot = { step, tensors: { w: tensor([1]) } };
      await saveCheckpoint(directory, { snapshot, state: { global_step: step }, keep, best });
    }
    expect((await readdir(directory)).sort()).toEqual(kept.map((step) => `checkpoint-${step}`));
  });

  it('names an argument that cannot be meant', async () => {
    await expect(saveCheckpoint(undefined as never, undefined as never)).rejects.toThrow(
      /^saveCheckpoint: directory is undefined; it must be/,
    );
    await expect(saveCheckpoint(directory, {} as never)).rejects.toThrow(
      /checkpoint is .*it must be an object with snapshot/,
    );
  });

  it('replaces a checkpoint of the same step and leaves nothing behind', async () => {
    await save(5, 1);
    const folder = await save(5, 2);
    expect(await readdir(directory)).toEqual(['checkpoint-5']);
    expect(await (await loadCheckpoint(folder)).snapshot.tensors.w!.toArray()).toEqual([2]);
  });

  it('leaves the old one when writing fails', async () => {
    await save(5, 1);
    const failing = saveCheckpoint(directory, {
      snapshot: { step: 5, tensors: { w: tensor([2]) } },
      state: { global_step: 5 },
      writeModel: () => Promise.reject(new Error('disk full')),
    });
    await expect(failing).rejects.toThrow('disk full');
    expect(await readdir(directory)).toEqual(['checkpoint-5']);
    expect(await (await loadCheckpoint((await latestCheckpoint(directory))!)).snapshot.tensors.w!.toArray()).toEqual([
      1,
    ]);
  });
});

describe('refuseUsedFolder', () => {
  it('names the checkpoint of the earlier run', async () => {
    await refuseUsedFolder(directory);
    await save(7, 1);
    await expect(refuseUsedFolder(directory)).rejects.toThrow(/checkpoint-7.*earlier run/);
  });
});

describe('a state', () => {
  const numbers = tensor([1, Number.NaN, -3], [3, 1]);
  const state = {
    ...{ cursor: 3, kept: [{ 'a/b~': Float32Array.of(0.1, Number.NEGATIVE_INFINITY) }], none: null, text: 'x' },
    arrays: [Float64Array.of(0.1, Number.NaN, -0), new Float32Array(0), BigInt64Array.of(-5n), Uint16Array.of(65535)],
    masks: [Int32Array.of(-7), Uint8Array.of(1, 0), Int8Array.of(-1), Uint32Array.of(4294967295)],
    average: { weights: numbers },
  };

  it('with arrays and tensors comes back from a checkpoint bit for bit, each of its kind', async () => {
    const { json, tensors } = splitState(await copyState(state, 'it'));
    const global_step = { global_step: 1 };
    const folder = await saveCheckpoint(directory, {
      ...{ snapshot: { step: 1, tensors: {} }, state: { ...global_step, json }, arrays: tensors },
    });
    const loaded = await loadCheckpoint(folder);
    const { average, ...others } = (await joinState({
      json: loaded.state.json,
      tensors: loaded.arrays,
    })) as typeof state;
    const { average: _, ...plain } = state;
    expect(others).toEqual(plain);
    expect([average.weights.shape, await average.weights.toArray()]).toEqual([
      [3, 1],
      [1, Number.NaN, -3],
    ]);
    await rm(join(folder, 'state.safetensors'));
    await expect(loadCheckpoint(folder)).rejects.toThrow(/state.safetensors is missing/);
    await expect(joinState({ json: loaded.state.json, tensors: {} })).rejects.toThrow(
      /no numbers for \/kept\/0\/a~1b~0/,
    );
  });

  it('is copied: what becomes of its arrays and tensors afterwards does not matter', async () => {
    const [own, array] = [tensor([1, 2]), Float32Array.of(1)];
    const copy = (await copyState({ own, array }, 'it')) as { own: typeof own; array: typeof array };
    array[0] = 7;
    expect([copy.array[0], copy.own === own, await copy.own.toArray()]).toEqual([1, false, [1, 2]]);
  });

  it.each<[unknown, RegExp]>([
    [undefined, /^it is undefined; a state is JSON/],
    [{ rates: [1, Number.NaN] }, /^it, at \/rates\/1, is NaN, which JSON cannot hold/],
    [{ seen: new Map() }, /^it, at \/seen, is a Map, of which a checkpoint would hold the class no more/],
    [{ count: 1n }, /at \/count, is 1/],
    [{ list: [undefined] }, /at \/list\/0, is undefined/],
    [{ a: { $stored: 'tensor' } }, /at \/a, is an object with the key "\$stored"/],
  ])('%o is refused, as a checkpoint would give back another', async (wrong, message) => {
    await expect(copyState(wrong, 'it')).rejects.toThrow(message);
  });
});
