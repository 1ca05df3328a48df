import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { peftMethods } from '@posttrain/peft';
import { beforeAll, describe, expect, it } from 'vitest';
import { METHODS } from './arms.js';
import { runMerged } from './merged.js';
import { BUDGETS, type PrivateRun, runPersonal, runPrivate, tableOfBudgets } from './personal.js';
import { type PretrainingRun, runPretraining, tableOfPretraining } from './pretraining.js';
import { type Times, withTables } from './report.js';
import { type Cell, RATES, runCell, SEEDS, SWEEP_SEED } from './study.js';
import { splitOf } from './tasks.js';

const read = (name: string) => readFileSync(join(import.meta.dirname, name), 'utf8');
const cells = JSON.parse(read('results/cells.json')) as Cell[];
const times = JSON.parse(read('results/times.json')) as Times;

beforeAll(() => setEngine(onnxruntimeEngine({ threads: 1 })));

describe('every PEFT method on one task', () => {
  it('has an arm for every method, and rows in one list only', () => {
    expect(METHODS).toEqual(expect.arrayContaining(Object.keys(peftMethods)));
    const { train, validation, test } = splitOf('before', 2);
    const prompts = [...train, ...validation, ...test].map(({ prompt }) => prompt);
    expect(new Set(prompts).size).toBe(400);
  });

  it('is in the README as it came out, every arm with the rates of all', () => {
    const readme = read('README.md');
    expect(withTables(readme, cells, times)).toBe(readme);
    for (const { part, arm } of cells.filter(({ seed, rate }) => SEEDS.includes(seed) && rate > 0)) {
      const swept = cells.filter((cell) => cell.part === part && cell.arm === arm && cell.seed === SWEEP_SEED);
      expect(swept.map(({ rate }) => rate)).toEqual(RATES[part]);
    }
  });

  it('runs, in small, and says what an arm lacks', async () => {
    const size = { pretrainSteps: 1, steps: 2, grpoSteps: 1, held: 4 };
    const cell = await runCell({ part: 'before', arm: 'LORA', rate: 1e-2, seed: 1 }, size);
    expect(cell).toMatchObject({ trained: 17_408, known: { after: 0, sums: 0, brackets: 0 } });
    expect(cell.error).toBeUndefined();
  });

  it('merges two specialists by recipe files', async () => {
    const lines = await runMerged(1, { pretrainSteps: 1, steps: 1, held: 2 });
    expect(lines.map(({ model }) => model)).toEqual([
      ...['base', 'before', 'skip', 'both', 'linear', 'task_arithmetic', 'ties', 'dare_ties'],
    ]);
    for (const { before, skip, known } of lines) expect([before, skip, known].every(Number.isFinite)).toBe(true);
  });

  it('keeps users apart: no bit of one is changed by what another is trained on', async () => {
    const run = await runPersonal(1, { pretrainSteps: 1, steps: 2, candidates: 8 });
    expect(run).toMatchObject({ changedBits: 0, changedBitsInOnePass: 0 });
  });

  it('spends what a budget of privacy has and no more, and is in the README as it came out', async () => {
    const { budgets } = JSON.parse(read('results/personal.json')) as { budgets: PrivateRun[] };
    expect(read('README.md')).toContain(tableOfBudgets(budgets));
    expect(budgets).toHaveLength(BUDGETS.length * SEEDS.length);
    const run = await runPrivate(1, 8, { pretrainSteps: 1, steps: 2, batchSize: 4, candidates: 8, held: 64 });
    for (const { budget, spent, stepsLeft } of [run, ...budgets.filter(({ noise }) => noise)]) {
      expect(spent).toBeLessThanOrEqual(budget as number);
      expect(spent).toBeGreaterThan(0.98 * (budget as number));
      expect(stepsLeft).toBe(0);
    }
  });

  it('trains from nothing by projected gradients, and is in the README as it came out', async () => {
    const runs = JSON.parse(read('results/pretraining.json')) as PretrainingRun[];
    expect(read('README.md')).toContain(tableOfPretraining(runs));
    const small = { steps: 2, batchSize: 2, tokens: 16, held: 2 };
    const run = await runPretraining({ arm: 'galore', rate: 1e-2, seed: 1 }, small);
    const { trained, moments } = runs.find(({ arm }) => arm === 'galore')!;
    expect(run).toMatchObject({ trained, moments });
    expect(run.loss).toBeGreaterThan(0);
  });
});
