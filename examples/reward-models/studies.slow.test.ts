import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ARMS, exposure } from '../background-rl/exposure.js';
import { STUDIES as CURATION, type StudyName as CurationStudy } from '../data-curation/studies.js';
import { biasArms } from '../pipelines/bias.js';
import { OVER_SIZES, overRuns } from '../pipelines/over-optimisation.js';
import { R1_SIZES, r1Arms } from '../pipelines/r1.js';
import { rlhfArms } from '../pipelines/rlhf.js';
import { satoriArms } from '../pipelines/satori.js';
import { searchArms } from '../pipelines/search-distillation.js';
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

// The pipelines of examples/pipelines: what held there with each of three seeds, of one.

it('R1 in small: rules teach the answer, a cold start the form, each reward what it is of, a second RL general answers, samples a smaller model', async () => {
  const arms = await r1Arms(21, { ...R1_SIZES, samples: 6 });
  expect(arms.zero.right).toBeGreaterThan(arms['zero, a random reward'].right + 0.3);
  expect(arms['cold start'].format).toBeGreaterThan(arms.base.format + 0.3);
  const all = arms['cold start, reasoning RL'];
  expect(all.format).toBeGreaterThan(arms['reasoning RL without the cold start'].format + 0.5);
  expect(all.right).toBeGreaterThan(arms['the same without right'].right + 0.4);
  expect(all.mixed).toBeLessThan(arms['the same without language'].mixed - 0.1);
  const mixed = arms['rejection sampling, SFT of the base'];
  expect(mixed.right).toBeGreaterThan(arms['the same without rejection'].right + 0.15);
  expect(arms['second RL'].helpful).toBeGreaterThan(mixed.helpful + 0.5);
  expect(arms['second RL'].right).toBeGreaterThan(mixed.right - 0.15);
  expect(arms['smaller, distilled'].right).toBeGreaterThan(arms['smaller, RL'].right + 0.3);
});

it('RLHF in small: people like what PPO makes of a reward model, at a KL that β holds down; a pretraining mix holds what it has read', async () => {
  const arms = await rlhfArms(21);
  const learnt = arms['SFT, RM, PPO'];
  expect(arms.SFT.worth).toBeGreaterThan(arms.base.worth + 0.1);
  expect(learnt['win rate']).toBeGreaterThan(arms.SFT['win rate'] + 0.3);
  expect(learnt.worth).toBeGreaterThan(arms['SFT, RM of a coin, PPO'].worth + 0.2);
  expect(arms['SFT, RM, PPO with β 0.3'].kl).toBeLessThan(learnt.kl - 0.5);
  const mixed = arms['SFT, RM, PPO with a pretraining mix'];
  expect(mixed.corpus).toBeLessThan(learnt.corpus - 0.3);
  expect(mixed['win rate']).toBeGreaterThan(arms.SFT['win rate'] + 0.3);
});

it('a learned reward model is optimised until what is meant falls, which a KL budget holds up', async () => {
  const runs = await overRuns(21, { ...OVER_SIZES, every: 6, samples: 4 });
  const { moments } = runs['one reward model'];
  const best = Math.max(...moments.map(({ gold }) => gold));
  expect(moments.at(-1)!.gold).toBeLessThan(best - 1);
  expect(moments.at(-1)!.proxy).toBeGreaterThan(moments[0]!.proxy + 0.5);
  expect(runs['β 0.5'].moments.at(-1)!.gold).toBeGreaterThan(moments.at(-1)!.gold + 1);
});

it('a policy takes over the dialect that its reward model was taught to like', async () => {
  const arms = await biasArms(21);
  const before = arms['the policy before'];
  expect(arms['biased reward model'].gap).toBeGreaterThan(before.gap + 0.4);
  expect(arms['biased reward model'].worth).toBeGreaterThan(before.worth + 0.4);
});

it('Satori in small: PPO makes a model that knows the actions right, and it thinks over no more', async () => {
  const arms = await satoriArms(21);
  expect(arms.RL.right).toBeGreaterThan(arms['format tuning'].right + 0.4);
  expect(arms.RL.right).toBeGreaterThan(arms['RL by a coin'].right + 0.4);
  expect(arms.RL['thought over']).toBeLessThan(arms['format tuning']['thought over'] - 0.15);
});

it('search that teaches: with as many tokens GRPO is right more often than the distilled winners of a search, and more fluent', async () => {
  const arms = await searchArms(21);
  expect(arms['GRPO, flat'].right).toBeGreaterThan(arms.base.right + 0.15);
  expect(arms['GRPO, flat'].right).toBeGreaterThan(arms['search and distillation'].right + 0.2);
  expect(arms['GRPO, flat'].perplexity).toBeLessThan(arms['search and distillation'].perplexity - 0.2);
});

// The studies of data-curation at a fiftieth of their length; the committed results are of the same arms.
const committed = (name: CurationStudy): Record<string, Record<string, number>>[] =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../data-curation/results', `${name}.json`), 'utf8'));
// These need a model that answers, and is right now and then.
const trained: readonly CurationStudy[] = ['rejection', 'boosting', 'distillation'];
const names = (Object.keys(CURATION) as CurationStudy[]).filter((name) => !trained.includes(name));

it.each(names)('%s measures all of its arms', async (name) => {
  const { run, control } = CURATION[name];
  const arms = await run(1, (steps) => Math.max(2, Math.round(steps / 50)));
  for (const numbers of Object.values(arms)) {
    expect(Object.keys(numbers)).toEqual(Object.keys(arms[control]!));
    expect(Object.values(numbers).every(Number.isFinite)).toBe(true);
  }
  const [first, ...others] = committed(name);
  expect(Object.keys(first!).sort()).toEqual(Object.keys(arms).sort());
  expect(others).toHaveLength(2);
});

it('secrets that were scrubbed are not given away, with the numbers that are committed', async () => {
  const [first] = committed('canaries');
  const arms = await CURATION.canaries.run(1, (steps) => steps);
  for (const [arm, numbers] of Object.entries(arms))
    expect(numbers['exposure in bits']).toBeCloseTo(first![arm]!['exposure in bits']!, 1);
});
