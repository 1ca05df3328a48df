import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRandom } from '@posttrain/interfaces/random';
import { expect, it } from 'vitest';
import { SEEDS } from '../background-rl/cells.js';
import { interval } from '../background-rl/tables.js';
import { EVALUATORS, evaluation, prediction } from './parts.js';
import { LENGTH, markov, series } from './series.js';
import { turnedOscillations } from './systems.js';

const read = (name: string) => readFileSync(join(import.meta.dirname, name), 'utf8');
const cellsOf = (part: string) => JSON.parse(read(`results/${part}.json`));

it('series are numbers, the same for a seed; chains go where their matrix says', () => {
  const drawn = (seed: number) => Array.from({ length: 40 }, (_, i) => series(createRandom(seed, i), LENGTH));
  expect(drawn(1).flat().every(Number.isFinite)).toBe(true);
  expect(drawn(1)).toEqual(drawn(1));
  expect(drawn(1)).not.toEqual(drawn(2));

  const { states, matrix } = markov(createRandom(3, 'long'), 40_000);
  for (const [from, row] of matrix.entries()) {
    const next = states.slice(1).filter((_, t) => states[t] === from);
    for (const [to, p] of row.entries()) {
      const share = next.filter((state) => state === to).length / next.length;
      // Four standard errors.
      expect(Math.abs(share - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / next.length) + 1e-9);
    }
  }
});

it('an oscillation that is turned is seen in both features', () => {
  for (const { states } of turnedOscillations(8, 400, 1)) {
    const of = (what: (row: number[]) => number) => states.reduce((sum, row) => sum + what(row), 0) / states.length;
    const mean = [0, 1].map((j) => of((row) => row[j]!));
    const covariance = of((row) => (row[0]! - mean[0]!) * (row[1]! - mean[1]!));
    // cos φ sin φ (1² - 0.6²) / 2, with φ from 0.6 to 1.
    expect(covariance).toBeGreaterThan(0.1);
  }
});

it('what needs no model comes out again as the study has it', async () => {
  const [seed] = SEEDS as [number];
  for (const system of ['turned', 'pendulum'] as const) {
    const found = await prediction(system, 'persistence', seed);
    const kept = cellsOf('prediction')[`${system}, persistence ${seed}`];
    for (const [name, value] of Object.entries(found)) expect(value).toBeCloseTo(kept[name], 4);
  }
  for (const name of ['seen only', 'persistence'] as const)
    expect(await evaluation(name, seed)).toBeCloseTo(cellsOf('evaluation')[`${name} ${seed}`], 4);
});

it('the README says what the cells say', () => {
  const evaluations = cellsOf('evaluation');
  for (const name of EVALUATORS) {
    const said = interval(
      SEEDS.map((seed) => evaluations[`${name} ${seed}`]),
      3,
    );
    expect(read('README.md')).toContain(`| ${name} | ${said} |`);
  }
});
