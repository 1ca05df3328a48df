import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Arms, STUDIES, type StudyName } from '../sft/studies.js';
import { SEEDS as SFT_SEEDS, table as sftTable } from '../sft/table.js';
import { ADAPTER_ARMS, adapterTable } from './adapters.js';
import { type GapArm, type GapRun, gapTable, runGaps, splits } from './generalisation.js';
import { ARMS, type ArmRun, FURTHER_ARMS, JOINT, runArm, SEEDS, summary, table } from './study.js';
import { taskStream } from './tasks.js';

const read = (name: string) => readFileSync(join(import.meta.dirname, name), 'utf8');
const results = JSON.parse(read('results/stream.json')) as Record<string, ArmRun[]>;
const merged = JSON.parse(read('results/adapters.json')) as Record<string, ArmRun[]>;
const gapsOf = (file: string) => JSON.parse(read(`results/${file}.json`)) as Record<GapArm | 'base', GapRun>[];
const gaps = gapsOf('generalisation');

describe('the stream', () => {
  it('has tasks of other letters, and measures what is not trained', () => {
    const tasks = taskStream({ seed: 2, train: 96, heldOut: 32 });
    expect(tasks).toHaveLength(4);
    const completions = tasks.map(({ rows }) => new Set(rows.flatMap(({ completion }) => [...(completion as string)])));
    for (const [i, letters] of completions.entries())
      for (const other of completions.slice(0, i)) expect([...letters].filter((one) => other.has(one))).toEqual([]);
    for (const { rows, evaluationRows } of tasks) {
      const trained = new Set(rows.map(({ prompt }) => prompt));
      expect(evaluationRows!.length).toBeGreaterThan(10);
      expect(evaluationRows!.filter(({ prompt }) => trained.has(prompt))).toEqual([]);
    }
    expect(taskStream({ seed: 2, train: 96, heldOut: 32 })).toEqual(tasks);
    expect(taskStream({ seed: 3, train: 96, heldOut: 32 })).not.toEqual(tasks);
  });

  it('is forgotten by the control, and less by at least two methods, over three seeds', () => {
    expect(Object.keys(results)).toEqual([...Object.keys(ARMS), ...Object.keys(FURTHER_ARMS), JOINT]);
    for (const runs of Object.values(results)) expect(runs.map(({ seed }) => seed)).toEqual(SEEDS);
    const control = summary(results.naive!, results.naive!);
    expect(control.forgetting!.interval[0]).toBeGreaterThan(0.3);
    const better = Object.keys(ARMS).filter((arm) => summary(results[arm]!, results.naive!).apart.interval[0] > 0);
    expect(better.length, String(better)).toBeGreaterThanOrEqual(2);
  });

  it('is in the README as it came out', () => {
    expect(read('README.md')).toContain(table(results));
    expect(read('README.md')).toContain(gapTable(gaps));
    expect(read('README.md')).toContain(gapTable(gapsOf('generalisation-turned')));
  });

  it('is not kept by merging after every task: the null results of the README, over three seeds', () => {
    expect(read('README.md')).toContain(adapterTable(merged));
    expect(Object.keys(merged)).toEqual(Object.keys(ADAPTER_ARMS));
    for (const runs of Object.values(merged)) expect(runs.map(({ seed }) => seed)).toEqual(SEEDS);
    // What both studies have is the same run.
    expect(merged.naive).toEqual(results.naive);
    for (const [arm, { control }] of Object.entries(ADAPTER_ARMS)) {
      if (arm === control) continue;
      const [low, high] = summary(merged[arm]!, merged[control]!).apart.interval;
      expect(low, arm).toBeLessThan(0);
      expect(high, arm).toBeGreaterThan(0);
    }
  });

  it('runs, in small, with a method and with all tasks at once', async () => {
    const size = { steps: 2, batchSize: 4, train: 8, heldOut: 4 };
    const { matrix, baseline } = await runArm('generative_replay', 2, size);
    expect(matrix.map((row) => row.length)).toEqual([4, 4, 4, 4]);
    expect(baseline).toHaveLength(4);
    expect((await runArm(JOINT, 2, size)).matrix).toHaveLength(1);
  });
});

describe('the gap to what is outside', () => {
  it('splits a task by its first letter, and trains on a part', () => {
    const { all, train, heldOut, outside } = splits(2, 24);
    expect([train, heldOut, outside].map(({ length }) => length)).toEqual([24, 48, 72]);
    expect(new Set([...train, ...heldOut, ...outside]).size).toBe(all.length);
    expect([...train, ...heldOut].every(({ prompt }) => prompt[6]! < 'g')).toBe(true);
  });

  it('runs, in small, by labels and by reward', async () => {
    const runs = await runGaps(2, { pretrainSteps: 1, steps: 1, trained: 16 }, ['sft_lora', 'grpo']);
    expect(Object.keys(runs)).toEqual(['base', 'sft_lora', 'grpo']);
    for (const run of Object.values(runs)) for (const x of Object.values(run)) expect(x).toBeGreaterThan(0);
  });
});

describe('the studies of fine-tuning (examples/sft)', () => {
  const folder = join(import.meta.dirname, '../sft');
  const readme = readFileSync(join(folder, 'README.md'), 'utf8');
  const found = readdirSync(join(folder, 'results')).map((file) => {
    const runs = JSON.parse(readFileSync(join(folder, 'results', file), 'utf8')) as Arms[];
    return [file.replace('.json', '') as StudyName, runs] as const;
  });

  it('are in the README as they came out, over three seeds', () => {
    expect(found.length).toBeGreaterThan(0);
    for (const [name, runs] of found) {
      expect(runs).toHaveLength(SFT_SEEDS.length);
      expect(readme).toContain(sftTable(runs, STUDIES[name].control));
    }
  });

  it('run, in small, with the arms that the tables have', async () => {
    const arms = await STUDIES['chosen-only'].run(2, () => 2);
    expect(Object.keys(arms)).toEqual(Object.keys(found.find(([name]) => name === 'chosen-only')![1][0]!));
    for (const arm of Object.values(arms)) for (const x of Object.values(arm)) expect(x).toBeGreaterThanOrEqual(0);
  });
});
