// Every preset on one small verifiable task beside the same run on a reward that says nothing, with three seeds. Cells that
// `results.json` has are not run again; with names as arguments only these presets are run.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { interval } from '../background-rl/tables.js';
import { ARMS, cell, REWARDS } from './cells.js';

const SEEDS = [1, 2, 3];
const FILE = join(import.meta.dirname, 'results.json');

const results: Record<string, number> = existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : {};
const wanted = process.argv.slice(2);
for (const seed of SEEDS) {
  for (const arm of wanted.length > 0 ? wanted : ARMS) {
    for (const reward of REWARDS) {
      const name = `${arm} ${reward} ${seed}`;
      if (name in results) continue;
      results[name] = Number((await cell(arm, reward, seed)).toFixed(4));
      writeFileSync(FILE, `${JSON.stringify(results, undefined, 2)}\n`);
    }
  }
}

console.log('| preset | learnt | with a random reward | difference |\n| --- | --- | --- | --- |');
for (const arm of ARMS) {
  const of = (reward: string) => SEEDS.map((seed) => results[`${arm} ${reward} ${seed}`]!);
  if (SEEDS.some((seed) => REWARDS.some((reward) => !(`${arm} ${reward} ${seed}` in results)))) continue;
  const [own, control] = [of('right'), of('random')];
  const difference = own.map((x, i) => x - control[i]!);
  console.log(`| \`${arm}\` | ${interval(own)} | ${interval(control)} | ${interval(difference)} |`);
}
