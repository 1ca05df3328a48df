import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ARMS, exposure } from '../background-rl/exposure.js';
import { biasArms } from '../pipelines/bias.js';
import { overRuns } from '../pipelines/over-optimisation.js';
import { r1Arms } from '../pipelines/r1.js';
import { cell } from '../policy-objectives/cells.js';
import { clickArms } from './clicks.js';
import { areaBelow, constitutionArms } from './feedback.js';

it('the area below a front is that of its steps, whatever order the points are in', () => {
  expect(areaBelow([[1, 0]])).toBe(0);
  expect(areaBelow([[0.5, 1]])).toBe(0.5);
  const points = [
    [1, 0.25],
    [0.5, 1],
    [0.25, 0.5],
  ] as const;
  expect(areaBelow(points)).toBe(0.5 * 0.25 + 0.5);
  expect(areaBelow(points.toReversed())).toBe(areaBelow(points));
});

it('a policy that has learnt revised answers is more harmless than one that has learnt its own', async () => {
  const arms = await constitutionArms(1, { steps: 1, samples: 96 });
  expect(arms.revisions.harmless).toBeGreaterThan(arms['control: its own answers'].harmless + 0.1);
});

it('every arm of the clicks orders some pairs rightly', async () => {
  const arms = await clickArms(1, { sessions: 24, swaps: 400 });
  for (const { ordered } of Object.values(arms)) expect(ordered > 0 && ordered <= 1).toBe(true);
});

it('the study of policy objectives gives its committed cells again, online and offline', async () => {
  const file = join(import.meta.dirname, '../policy-objectives/results.json');
  const results = JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>;
  for (const arm of ['grpo', 'ilql']) {
    expect(Math.abs((await cell(arm, 'right', 1)) - results[`${arm} right 1`]!), arm).toBeLessThan(0.05);
  }
});

it('a policy that has seen its own prefixes goes wrong less far behind them (examples/background-rl)', async () => {
  const gaps: number[] = [];
  for (const arm of ARMS) {
    const { forced, free } = await exposure(arm, 4);
    gaps.push(free.at(-1)! - forced);
  }
  const [taught, scheduled, reinforced] = gaps as [number, number, number];
  expect(taught).toBeGreaterThan(scheduled + 0.01);
  expect(scheduled).toBeGreaterThan(reinforced + 0.01);
});

it('R1 in small: a cold start has the form before RL begins, language consistency takes the other script away, a second RL is liked more', async () => {
  const arms = await r1Arms(21, { steps: 20, samples: 6 });
  expect(arms['cold start'].format).toBeGreaterThan(arms.base.format + 0.3);
  expect(arms['cold start, reasoning RL'].mixed).toBeLessThan(arms['the same without language'].mixed - 0.2);
  expect(arms['second RL'].helpful).toBeGreaterThan(arms['rejection sampling, SFT of the base'].helpful + 0.2);
  expect(arms['smaller, distilled'].right).toBeGreaterThan(arms['smaller, RL'].right);
}, 600_000);

it('a learned reward model is optimised until what is meant falls, which a KL budget holds up (examples/pipelines)', async () => {
  const runs = await overRuns(21, { steps: 30, every: 6, samples: 4 });
  const { moments } = runs['one reward model'];
  const best = Math.max(...moments.map(({ gold }) => gold));
  expect(moments.at(-1)!.gold).toBeLessThan(best - 0.5);
  expect(moments.at(-1)!.proxy).toBeGreaterThan(moments[0]!.proxy + 0.5);
  expect(runs['β 0.5'].moments.at(-1)!.gold).toBeGreaterThan(moments.at(-1)!.gold + 0.5);
}, 600_000);

it('a gap between dialects that a reward model was taught is not learnt where it is taken off (examples/pipelines)', async () => {
  const arms = await biasArms(21, { steps: 15, samples: 12 });
  expect(Math.abs(arms['the gap taken off'].gap)).toBeLessThan(Math.abs(arms['biased reward model'].gap));
}, 600_000);
