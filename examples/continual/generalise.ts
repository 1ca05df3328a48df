/** `npx tsx examples/continual/generalise.ts [letters | turned] [--write]`: the arms of `generalisation.ts` with three seeds, and the table. See README.md. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GAP_ARMS, GAP_SIZE, GAP_TASKS, type GapArm, type GapRun, gapTable, runGaps } from './generalisation.js';
import { SEEDS } from './study.js';

const task = GAP_TASKS.find((name) => process.argv.includes(name)) ?? 'letters';
const results: Record<GapArm | 'base', GapRun>[] = [];
for (const seed of SEEDS) {
  const runs = await runGaps(seed, GAP_SIZE, GAP_ARMS, task);
  for (const [arm, { train, heldOut, outside }] of Object.entries(runs)) {
    const shown = [train, heldOut, outside].map((x) => x.toFixed(2)).join(', ');
    console.log(`seed ${seed} ${arm.padEnd(10)} train, held out, outside: ${shown}`);
  }
  results.push(runs);
}
console.log(`\n${gapTable(results)}`);
if (process.argv.includes('--write')) {
  const folder = join(import.meta.dirname, 'results');
  mkdirSync(folder, { recursive: true });
  const round = (_: string, value: unknown) => (typeof value === 'number' ? Math.round(value * 1e4) / 1e4 : value);
  const lines = results.map((runs) => `  ${JSON.stringify(runs, round)}`);
  writeFileSync(
    join(folder, task === 'letters' ? 'generalisation.json' : `generalisation-${task}.json`),
    `[\n${lines.join(',\n')}\n]\n`,
  );
}
