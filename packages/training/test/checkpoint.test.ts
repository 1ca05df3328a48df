import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tensor } from '@posttrain/core-tensor';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { latestCheckpoint, loadCheckpoint, refuseUsedFolder, saveCheckpoint } from '../src/index.js';

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
