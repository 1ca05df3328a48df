/**
 * Completions shared out by difficulty: `npx tsx examples/test-time/formats/run-allocation.ts [--seeds 1,2,3] [--problems 64] [--models FOLDER]
 * [--out FILE]`. See README.md.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import type { MeanEstimate } from '@posttrain/eval';
import { ALLOCATION_SETTINGS, runAllocationStudy } from './allocation.js';
import { FORMAT_SETTINGS } from './study.js';

const { values: flags } = parseArgs({
  options: {
    seeds: { type: 'string', default: FORMAT_SETTINGS.seeds.join() },
    problems: { type: 'string', default: String(ALLOCATION_SETTINGS.problems) },
    models: { type: 'string', default: 'runs/test-time/models' },
    out: { type: 'string', default: 'runs/test-time/allocation.json' },
  },
});
const rows = await runAllocationStudy({
  ...{ ...FORMAT_SETTINGS, ...ALLOCATION_SETTINGS, folder: flags.models },
  ...{ seeds: flags.seeds.split(',').map(Number), problems: Number(flags.problems) },
  onProgress: (what) => console.error(what),
});
const percent = ({ value, standardError }: MeanEstimate) =>
  `${(100 * value!).toFixed(1)} ± ${(100 * (standardError ?? 0)).toFixed(1)} %`.padStart(15);
console.log(
  'Completions a problem, how they are shared out, problems solved, over an even share; ± one standard error over seeds',
);
for (const { budget, arm, solved, overEven } of rows)
  console.log(`${budget}  ${arm.padEnd(44)} ${percent(solved)} ${percent(overEven)}`);
const rounded = JSON.stringify(
  { seeds: flags.seeds, rows },
  (_, x) => (typeof x === 'number' ? Number(x.toPrecision(4)) : x),
  1,
);
mkdirSync(dirname(flags.out), { recursive: true });
writeFileSync(flags.out, `${rounded}\n`);
console.log(`Wrote ${flags.out}.`);
