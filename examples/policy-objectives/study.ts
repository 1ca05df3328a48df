// Every preset on one small verifiable task beside the same run on a reward that says nothing, with three seeds. Cells that
// `results.json` has are not run again; with names as arguments only these presets are run.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { interval } from '../background-rl/tables.js';
import { ARMS, cell, REWARDS } from './cells.js';

const SEEDS = [1, 2, 3];
/** Arms that were given more seeds when three had left them open; both numbers of seeds are told. */
const MORE_SEEDS: Readonly<Record<string, readonly number[]>> = { reinforce_plus_plus: [4, 5] };
const FILE = join(import.meta.dirname, 'results.json');

const results: Record<string, number> = existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : {};
const wanted = process.argv.slice(2);
const add = async (arm: string, seed: number): Promise<void> => {
  for (const reward of REWARDS) {
    const name = `${arm} ${reward} ${seed}`;
    if (name in results) continue;
    results[name] = Number((await cell(arm, reward, seed)).toFixed(4));
    writeFileSync(FILE, `${JSON.stringify(results, undefined, 2)}\n`);
  }
};
const arms = wanted.length > 0 ? wanted : ARMS;
for (const seed of SEEDS) for (const arm of arms) await add(arm, seed);
for (const arm of arms) for (const seed of MORE_SEEDS[arm] ?? []) await add(arm, seed);

console.log('| preset | learnt | with a random reward | difference |\n| --- | --- | --- | --- |');
function line(arm: string, seeds: readonly number[], name: string): void {
  if (seeds.some((seed) => REWARDS.some((reward) => !(`${arm} ${reward} ${seed}` in results)))) return;
  const [own, control] = REWARDS.map((reward) => seeds.map((seed) => results[`${arm} ${reward} ${seed}`]!));
  const difference = own!.map((x, i) => x - control![i]!);
  console.log(`| ${name} | ${interval(own!)} | ${interval(control!)} | ${interval(difference)} |`);
}
for (const arm of ARMS) line(arm, SEEDS, `\`${arm}\``);
for (const [arm, more] of Object.entries(MORE_SEEDS)) {
  line(arm, [...SEEDS, ...more], `\`${arm}\` (${SEEDS.length + more.length} seeds)`);
}
