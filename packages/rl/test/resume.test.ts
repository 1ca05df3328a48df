import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { policyObjectives, trainPolicy } from '../src/index.js';
import { resumableRun } from './resumable-run.js';
import { prompts, toyModel } from './toy.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'posttrain-resume-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const logOf = async (name: string, file: string) => {
  const lines = (await readFile(join(folder, name, file), 'utf8')).trim().split('\n');
  return lines.map((line) => {
    const record = JSON.parse(line) as { step: number; metrics?: Record<string, number> };
    delete record.metrics?.step_time;
    return record;
  });
};

it('a killed run, resumed, ends with the same weights and logs, bit for bit', async () => {
  const straight = await resumableRun(join(folder, 'straight'));
  // Killed at a random step, which may be before the first checkpoint.
  const killAt = Math.floor(Math.random() * 5);
  const script = join(import.meta.dirname, 'resumable-run.ts');
  const arguments_ = ['--import', 'tsx', script, join(folder, 'killed'), String(killAt)];
  const child = spawn(process.execPath, arguments_, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
  expect((await logOf('killed', 'metrics.jsonl')).length).toBe(killAt + 1);
  expect(await resumableRun(join(folder, 'killed')), `killed at step ${killAt}`).toBe(straight);
  for (const file of ['metrics.jsonl', 'completions.jsonl']) {
    expect(await logOf('killed', file), `killed at step ${killAt}`).toEqual(await logOf('straight', file));
  }
  // Six steps of two updates; every second step is saved, for this package and for others.
  const saved = await readdir(join(folder, 'straight'));
  expect(saved.sort()).toEqual(['checkpoint-12', 'checkpoint-4', 'checkpoint-8', 'completions.jsonl', 'metrics.jsonl']);
  expect(await readdir(join(folder, 'straight/checkpoint-12'))).toContain('model.safetensors');
  const different = trainPolicy({
    model: await toyModel(1),
    rows: prompts,
    objective: policyObjectives.grpo(),
    rewards: { zero: () => 0 },
    steps: 6,
    seed: 10,
    outputFolder: join(folder, 'straight'),
    resume: true,
  });
  await expect(different).rejects.toThrow(/belongs to another run: .*seed was 9 and is 10/);
});
