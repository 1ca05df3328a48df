// The tables of the README: all, or those that are named. Cells that a file of `results` has are not run again.
import { join } from 'node:path';
import { cellsOf, SEEDS } from '../background-rl/cells.js';
import { interval as shownInterval, table } from '../background-rl/tables.js';
import { bounds, CONTEXTS, chains, EVALUATORS, evaluation, LEARNERS, learnt, PREDICTORS, prediction } from './parts.js';

const { ofSeeds } = cellsOf(join(import.meta.dirname, 'results'));

/** To three digits. */
const interval = (values: readonly number[], digits = 3): string => shownInterval(values, digits);

const PARTS: Readonly<Record<string, () => Promise<void>>> = {
  async chains() {
    const of = (arm: string) => ofSeeds('chains', arm, (seed) => chains(arm === 'shuffled', seed));
    const [ordered, shuffled] = [await of('in order'), await of('shuffled')];
    const row = (name: string, value: (seed: number, i: number) => number) => [
      name,
      ...CONTEXTS.map((_, i) =>
        interval(
          SEEDS.map((__, seed) => value(seed, i)),
          2,
        ),
      ),
    ];
    table(
      ['context', ...CONTEXTS.map((length) => `after ${length}`)],
      [
        row('in order', (seed, i) => ordered[seed]![i]!),
        row('shuffled', (seed, i) => shuffled[seed]![i]!),
        row('difference', (seed, i) => ordered[seed]![i]! - shuffled[seed]![i]!),
      ],
    );
  },
  async bounds() {
    const rows: string[][] = [];
    for (const context of CONTEXTS) {
      const cells = await ofSeeds('bounds', `after ${context}`, (seed) => bounds(context, seed));
      const of = (what: 'error' | 'gap' | 'bound') =>
        interval(
          cells.map((one) => one[what]),
          2,
        );
      const violations = cells.reduce((sum, one) => sum + one.violations, 0);
      rows.push([`${context}`, of('error'), of('gap'), of('bound'), `${violations}`]);
    }
    table(['context', 'ε', 'gap of the return', 'its bound', 'beyond it'], rows);
  },
  async prediction() {
    for (const system of ['turned', 'pendulum'] as const) {
      const rows: string[][] = [];
      const first = await ofSeeds('prediction', `${system}, vICL`, (seed) => prediction(system, 'vICL', seed));
      for (const name of PREDICTORS) {
        if (system === 'turned' && name === 'DICL-(s, a)') continue;
        const cells = await ofSeeds('prediction', `${system}, ${name}`, (seed) => prediction(system, name, seed));
        const of = (what: 'error' | 'ahead' | 'ks') => interval(cells.map((one) => one[what]));
        const difference = interval(cells.map(({ error }, i) => error - first[i]!.error));
        rows.push([name, of('error'), name === 'vICL' ? '' : difference, of('ahead'), of('ks')]);
      }
      table([system, 'error, a step ahead', 'less that of vICL', 'five steps ahead', 'KS'], rows);
    }
  },
  async evaluation() {
    const rows: string[][] = [];
    for (const name of EVALUATORS)
      rows.push([name, interval(await ofSeeds('evaluation', name, (seed) => evaluation(name, seed)))]);
    table(['30 steps seen, 10 predicted by', 'relative error of the value'], rows);
  },
  async learnt() {
    const rows: string[][] = [];
    const plain = await ofSeeds('learnt', 'SAC', (seed) => learnt('SAC', seed));
    for (const learner of LEARNERS) {
      const cells = await ofSeeds('learnt', learner, (seed) => learnt(learner, seed));
      const of = (what: 'early' | 'late' | 'final') =>
        interval(
          cells.map((one) => one[what]),
          0,
        );
      const gain =
        learner === 'SAC'
          ? ''
          : interval(
              cells.map(({ early }, i) => early - plain[i]!.early),
              0,
            );
      rows.push([learner, of('early'), gain, of('late'), of('final')]);
    }
    table(['learner', 'return, first half', 'less that of SAC', 'second half', 'policy at the end'], rows);
  },
};

const named = process.argv.slice(2);
for (const part of named.length > 0 ? named : Object.keys(PARTS)) {
  if (!PARTS[part]) throw new Error(`there is no part ${part}; there are ${Object.keys(PARTS).join(', ')}`);
  await PARTS[part]();
}
