import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RUN_LOCK, RunLockedError } from '@posttrain/training';
import { describe, expect, it } from 'vitest';
import { OutputError, type OutputRequest, openOutput } from './output.js';
import { temporaryFolder } from './test-job.js';

const root = temporaryFolder();
let count = 0;
const newFolder = () => join(root, String(count++));
const settings = { seed: '0', steps: '2' };

/** A run that has written one file, finished or not. */
async function used(folder: string, finished: boolean, more: Partial<OutputRequest> = {}): Promise<void> {
  const output = await openOutput({ folder, settings, mode: 'new', ...more });
  writeFileSync(join(output.folder, 'result'), JSON.stringify(more.settings ?? settings));
  if (finished) await output.finish();
  // As if its process had ended.
  else rmSync(join(output.folder, RUN_LOCK));
}
const resultIn = (folder: string) => readFileSync(join(folder, 'result'), 'utf8');
const other = { ...settings, seed: '1' };

describe('openOutput', () => {
  it.each([
    ['new', false, settings, /holds a run that was interrupted; --resume goes on with it. --replace puts a new run/],
    ['new', true, settings, /holds the results of a run. --replace puts a new run in its place/],
    ['resume', true, settings, /it has ended: there is nothing to go on with/],
    ['resume', false, other, /holds another run: seed was 0 and is 1. Give the same flags/],
    ['resume', false, { seed: '0' }, /holds another run: steps was 2 and is not given/],
  ] as const)('mode %s refuses a used folder (finished: %s)', async (mode, finished, wanted, message) => {
    const folder = newFolder();
    await used(folder, finished);
    await expect(openOutput({ folder, settings: wanted, mode })).rejects.toThrow(message);
    await expect(openOutput({ folder, settings: wanted, mode })).rejects.toBeInstanceOf(OutputError);
    expect(resultIn(folder)).toBe(JSON.stringify(settings));
  });

  it.each(['new', 'resume', 'replace'] as const)('mode %s touches no folder of others', async (mode) => {
    const folder = newFolder();
    mkdirSync(folder);
    writeFileSync(join(folder, 'thesis.txt'), 'mine');
    await expect(openOutput({ folder, settings, mode })).rejects.toThrow(/not the folder of a run of this job/);
    expect(readFileSync(join(folder, 'thesis.txt'), 'utf8')).toBe('mine');
    await expect(openOutput({ folder: join(folder, 'thesis.txt'), settings, mode })).rejects.toThrow(/is a file/);
  });

  it('resumes an unfinished run of the same settings', async () => {
    const folder = newFolder();
    await used(folder, false);
    expect(await openOutput({ folder, settings, mode: 'resume' })).toMatchObject({ folder, resumed: true });
  });

  it('without a word about it, goes on with an unfinished run or takes the next free folder', async () => {
    const folder = newFolder();
    expect(await openOutput({ folder, settings, mode: 'next' })).toMatchObject({ folder, resumed: false });
    await expect(openOutput({ folder, settings, mode: 'next' })).rejects.toBeInstanceOf(RunLockedError);
    rmSync(join(folder, RUN_LOCK));
    const again = await openOutput({ folder, settings, mode: 'next' });
    expect(again).toMatchObject({ folder, resumed: true });
    expect(await openOutput({ folder, settings: other, mode: 'next' })).toMatchObject({ folder: `${folder}-2` });
    await again.finish();
    expect(await openOutput({ folder, settings, mode: 'next' })).toMatchObject({ folder: `${folder}-3` });
  });

  it('replaces a folder when all is there: a kill at any point before leaves the old or the new results whole', async () => {
    const folder = newFolder();
    await used(folder, true);
    const request = { folder, settings: other, mode: 'replace' } as const;
    await used(folder, false, request);
    expect(resultIn(folder)).toBe(JSON.stringify(settings));
    const again = await openOutput(request);
    expect(again).toMatchObject({ folder: `${folder}.new`, resumed: true });
    rmSync(join(`${folder}.new`, RUN_LOCK));
    // Killed between the two renames.
    renameSync(folder, `${folder}.old`);
    const after = await openOutput(request);
    expect(after).toMatchObject({ folder: `${folder}.new`, resumed: true });
    expect(await after.finish()).toBe(folder);
    expect(resultIn(folder)).toBe(JSON.stringify(other));
    for (const leftover of ['.new', '.old']) expect(existsSync(folder + leftover)).toBe(false);
  });

  it('puts old results back that a killed replacement had moved aside, when another one begins', async () => {
    const folder = newFolder();
    await used(folder, true);
    renameSync(folder, `${folder}.old`);
    await openOutput({ folder, settings: other, mode: 'replace' });
    expect(resultIn(folder)).toBe(JSON.stringify(settings));
  });
});
