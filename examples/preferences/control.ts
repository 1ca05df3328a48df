/**
 * Preference losses beside a control arm, whose pairs are chosen by a coin: `npx tsx examples/preferences/control.ts [loss …]`. See
 * README.md.
 */
import { interval } from '../background-rl/tables.js';
import { byChance, drawPairs, judge, type LossName, loadModel, sums, trainWith } from './preferences.js';

const SEEDS = [1, 2, 3];

const model = await loadModel();
const named = process.argv.slice(2) as LossName[];
for (const name of named.length > 0 ? named : (['sigmoid', 'tdpo', 'wpo', 'tr_dpo'] as const)) {
  const gains: number[] = [];
  const arms: string[] = [];
  for (const seed of SEEDS) {
    const [rows, heldOut] = [sums(64, seed), sums(64, seed + 100)];
    const pairs = await drawPairs(model, rows);
    const shared = { model, heldOut, seed, before: await judge(model, heldOut) };
    const { gain: trained } = await trainWith(name, { ...shared, pairs });
    const { gain: control } = await trainWith(name, { ...shared, pairs: byChance(pairs, seed) });
    arms.push(`${trained.difference.toFixed(2)} (${control.difference.toFixed(2)})`);
    gains.push(trained.difference - control.difference);
  }
  console.log(`${name.padEnd(9)} margin by seed (by chance): ${arms.join(', ')}; apart ${interval(gains)}`);
}
