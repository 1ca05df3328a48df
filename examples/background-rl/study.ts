// The tables of the README: all, or those that are named. Cells that a file of `results` has are not run again.
import { join } from 'node:path';
import { cellsOf } from './cells.js';
import { credit } from './credit.js';
import { debates, GROUNDINGS } from './debates.js';
import { ARMS, exposure } from './exposure.js';
import { LEARNERS, learnt } from './learners.js';
import { malt } from './malt.js';
import { SEQGAN_ARMS, seqgan } from './seqgan.js';
import { interval, table } from './tables.js';
import { REWARDS, variance } from './variance.js';

const { cell, ofSeeds } = cellsOf(join(import.meta.dirname, 'results'));

const meanOf = (values: readonly number[]) => (values.reduce((a, b) => a + b, 0) / values.length).toFixed(2);

const PARTS: Readonly<Record<string, () => Promise<void>>> = {
  async variance() {
    const graded = await cell('variance', 'graded', () => variance(REWARDS.graded));
    const sparse = await cell('variance', 'sparse', () => variance(REWARDS.sparse));
    table(
      ['estimator', 'cosine to the exact gradient', 'noise, graded reward', 'noise, one of nine is right'],
      Object.entries(graded).map(([name, { cosine, noise }]) => {
        const other = sparse[name]!;
        return [name, `${cosine.toFixed(3)}, ${other.cosine.toFixed(3)}`, noise.toFixed(1), other.noise.toFixed(1)];
      }),
    );
  },
  async credit() {
    const cells = await ofSeeds('credit', 'seed', credit);
    table(
      ['credit by', 'share at the deciding token', 'found'],
      Object.keys(cells[0]!).map((name) => {
        return [name, interval(cells.map((one) => one[name]!.share)), interval(cells.map((one) => one[name]!.found))];
      }),
    );
  },
  async exposure() {
    const rows: string[][] = [];
    for (const arm of ARMS) {
      const cells = await ofSeeds('exposure', arm, (seed) => exposure(arm, seed));
      const of = (what: (one: (typeof cells)[number]) => number) => interval(cells.map(what), 3);
      const [forced, fourth, last] = [of((one) => one.forced), of(({ free }) => free[3]!), of(({ free }) => free[15]!)];
      rows.push([arm, forced, fourth, last, of((one) => one.free[15]! - one.forced)]);
    }
    table(['trained by', 'wrong behind right ones', 'wrong at place 4', 'at place 16', 'gap'], rows);
  },
  async learners() {
    const rows: string[][] = [];
    for (const learner of Object.keys(LEARNERS) as (keyof typeof LEARNERS)[]) {
      const arm = (name: string) =>
        ofSeeds('learners', `${learner} ${name}`, (seed) => learnt(learner, name === 'control', seed));
      const [own, control] = [await arm('right'), await arm('control')];
      rows.push([`\`${learner}\``, interval(own), interval(control), interval(own.map((x, i) => x - control[i]!))]);
    }
    table(['learner', 'learnt', 'control', 'difference'], rows);
  },
  async seqgan() {
    const rows: string[][] = [];
    for (const arm of SEQGAN_ARMS) {
      const cells = await ofSeeds('seqgan', arm, (seed) => seqgan(arm, seed));
      const mean = (i: 0 | 1) => meanOf(cells.map(({ oracle }) => oracle[i]));
      const change = (of: 'oracle' | 'generator') => interval(cells.map((one) => one[of][1] - one[of][0]));
      rows.push([arm, `${mean(0)}, ${mean(1)}`, change('oracle'), change('generator')]);
    }
    table(
      [
        'after maximum likelihood',
        'NLL under the oracle: before, after',
        'change',
        'change of the NLL of the oracle’s',
      ],
      rows,
    );
  },
  async malt() {
    const rows: string[][] = [];
    for (const name of ['true rewards', 'drawn rewards']) {
      const cells = await ofSeeds('malt', name, (seed) => malt(name !== 'true rewards', seed));
      const mean = (i: 0 | 1) => meanOf(cells.map((one) => one[i]));
      rows.push([name, `${mean(0)}, ${mean(1)}`, interval(cells.map(([before, after]) => after - before))]);
    }
    table(['MALT', 'right before, after', 'gained'], rows);
  },
  async debates() {
    const rows: string[][] = [];
    for (const grounding of GROUNDINGS) {
      const what = { 0: 'agreement', 0.5: 'both', 1: 'being right' }[grounding];
      const cells = await ofSeeds('debates', what, (seed) => debates(grounding, seed));
      const gained = (of: 'agreed' | 'right' | 'prejudiced') => interval(cells.map((one) => one[of][1] - one[of][0]));
      rows.push([what, gained('agreed'), gained('right'), gained('prejudiced')]);
    }
    table(['debate paid for', 'agreement gained', 'right gained', 'prejudice gained'], rows);
  },
};

const asked = process.argv.slice(2);
const unknown = asked.find((name) => !(name in PARTS));
if (unknown !== undefined) throw new Error(`there is no part ${unknown}; there are ${Object.keys(PARTS).join(', ')}`);
for (const name of asked.length > 0 ? asked : Object.keys(PARTS)) await PARTS[name]!();
