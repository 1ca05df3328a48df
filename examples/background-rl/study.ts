// All tables of the README. Cells that `results.json` has are not run again.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { credit } from './credit.js';
import { debates, GROUNDINGS } from './debates.js';
import { ARMS, exposure } from './exposure.js';
import { LEARNERS, learnt } from './learners.js';
import { malt } from './malt.js';
import { SEQGAN_ARMS, seqgan } from './seqgan.js';
import { REWARDS, variance } from './variance.js';

const SEEDS = [1, 2, 3];
const FILE = join(import.meta.dirname, 'results.json');
const results: Record<string, unknown> = existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : {};

async function cell<T>(name: string, make: () => T | Promise<T>): Promise<T> {
  if (!(name in results)) {
    results[name] = JSON.parse(
      JSON.stringify(await make(), (_, x) => (typeof x === 'number' ? Number(x.toFixed(5)) : x)),
    );
    writeFileSync(FILE, `${JSON.stringify(results)}\n`.replaceAll(',"', ',\n "'));
  }
  return results[name] as T;
}

/** Mean and 95 % interval over three seeds (Student's t). */
function interval(values: readonly number[], digits = 2): string {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const std = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1));
  const half = (4.303 * std) / Math.sqrt(values.length);
  return `${mean.toFixed(digits)} [${(mean - half).toFixed(digits)}, ${(mean + half).toFixed(digits)}]`;
}
const ofSeeds = <T>(make: (seed: number) => Promise<T>): Promise<T[]> =>
  SEEDS.reduce(async (before, seed) => [...(await before), await make(seed)], Promise.resolve([] as T[]));

console.log(
  '| estimator | cosine to the exact gradient | noise, graded reward | noise, one of nine is right |\n| --- | --- | --- | --- |',
);
const [graded, sparse] = [
  await cell('variance graded', () => variance(REWARDS.graded)),
  await cell('variance sparse', () => variance(REWARDS.sparse)),
];
for (const [name, { cosine, noise }] of Object.entries(graded)) {
  console.log(
    `| ${name} | ${cosine.toFixed(3)}, ${sparse[name]!.cosine.toFixed(3)} | ${noise.toFixed(1)} | ${sparse[name]!.noise.toFixed(1)} |`,
  );
}

console.log('\n| credit by | share at the deciding token | found |\n| --- | --- | --- |');
const credits = await ofSeeds((seed) => cell(`credit ${seed}`, () => credit(seed)));
for (const name of Object.keys(credits[0]!)) {
  const of = (what: 'share' | 'found') => interval(credits.map((one) => one[name]![what]));
  console.log(`| ${name} | ${of('share')} | ${of('found')} |`);
}

console.log(
  '\n| trained by | wrong behind right ones | wrong at place 4 | at place 16 | gap |\n| --- | --- | --- | --- | --- |',
);
for (const arm of ARMS) {
  const cells = await ofSeeds((seed) => cell(`exposure ${arm} ${seed}`, () => exposure(arm, seed)));
  const of = (what: (one: (typeof cells)[number]) => number) => interval(cells.map(what), 3);
  const row = [of(({ forced }) => forced), of(({ free }) => free[3]!), of(({ free }) => free[15]!)];
  console.log(`| ${arm} | ${row.join(' | ')} | ${of(({ forced, free }) => free[15]! - forced)} |`);
}

console.log('\n| learner | learnt | control | difference |\n| --- | --- | --- | --- |');
for (const learner of Object.keys(LEARNERS) as (keyof typeof LEARNERS)[]) {
  const arm = (isControl: boolean) =>
    ofSeeds((seed) =>
      cell(`${learner} ${isControl ? 'control' : 'right'} ${seed}`, () => learnt(learner, isControl, seed)),
    );
  const [own, control] = [await arm(false), await arm(true)];
  console.log(
    `| \`${learner}\` | ${interval(own)} | ${interval(control)} | ${interval(own.map((x, i) => x - control[i]!))} |`,
  );
}

console.log(
  '\n| after maximum likelihood | NLL under the oracle: before, after | change | NLL of the oracle’s: change |\n| --- | --- | --- | --- |',
);
for (const arm of SEQGAN_ARMS) {
  const cells = await ofSeeds((seed) => cell(`seqgan ${arm} ${seed}`, () => seqgan(arm, seed)));
  const mean = (i: 0 | 1) => (cells.reduce((sum, { oracle }) => sum + oracle[i], 0) / 3).toFixed(2);
  const change = (of: 'oracle' | 'generator') => interval(cells.map((one) => one[of][1] - one[of][0]));
  console.log(`| ${arm} | ${mean(0)}, ${mean(1)} | ${change('oracle')} | ${change('generator')} |`);
}

console.log('\n| MALT | right before, after | gained |\n| --- | --- | --- |');
for (const isControl of [false, true]) {
  const cells = await ofSeeds((seed) =>
    cell(`malt ${isControl ? 'control' : 'right'} ${seed}`, () => malt(isControl, seed)),
  );
  const mean = (i: 0 | 1) => (cells.reduce((sum, one) => sum + one[i], 0) / 3).toFixed(2);
  console.log(
    `| ${isControl ? 'drawn rewards' : 'true rewards'} | ${mean(0)}, ${mean(1)} | ${interval(cells.map(([a, b]) => b - a))} |`,
  );
}

console.log('\n| debate paid for | agreement gained | right gained | prejudice gained |\n| --- | --- | --- | --- |');
for (const grounding of GROUNDINGS) {
  const cells = await ofSeeds((seed) => cell(`debate ${grounding} ${seed}`, () => debates(grounding, seed)));
  const gained = (of: 'agreed' | 'right' | 'prejudiced') => interval(cells.map((one) => one[of][1] - one[of][0]));
  const what = { 0: 'agreement', 0.5: 'both', 1: 'being right' }[grounding];
  console.log(`| ${what} | ${gained('agreed')} | ${gained('right')} | ${gained('prejudiced')} |`);
}
