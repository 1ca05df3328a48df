/**
 * Training on the traces of searches: `npx tsx examples/test-time/formats/run-traces.ts [--seeds 1,2,3] [--problems 32] [--models FOLDER]
 * [--cells FOLDER] [--out FILE]`.
 * See README.md.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import type { MeanEstimate } from '@posttrain/eval';
import { FORMAT_SETTINGS } from './study.js';
import { runTraceStudy, TRACE_SETTINGS, type TraceArm } from './traces.js';

const { values: flags } = parseArgs({
  options: {
    seeds: { type: 'string', default: FORMAT_SETTINGS.seeds.join() },
    problems: { type: 'string', default: String(TRACE_SETTINGS.problems) },
    models: { type: 'string', default: 'runs/test-time/models' },
    cells: { type: 'string', default: 'runs/test-time/traces' },
    out: { type: 'string', default: 'runs/test-time/traces.json' },
  },
});
const started = Date.now();
const seconds = () => `${((Date.now() - started) / 1000).toFixed(0).padStart(5)} s`;
const study = await runTraceStudy({
  ...{ ...FORMAT_SETTINGS, ...TRACE_SETTINGS, folder: flags.models, cells: flags.cells },
  ...{ seeds: flags.seeds.split(',').map(Number), problems: Number(flags.problems) },
  onProgress: (what) => console.error(`${seconds()}  ${what}`),
});
const percent = ({ value, standardError }: MeanEstimate) =>
  `${(100 * value!).toFixed(1)} ± ${(100 * (standardError ?? 0)).toFixed(1)} %`;
const show = (title: string, arms: Readonly<Record<string, TraceArm>>) => {
  console.log(`\n${title}`);
  for (const [name, { accuracy, over }] of Object.entries(arms))
    console.log(`  ${name.padEnd(40)} ${percent(accuracy).padStart(15)}   ${percent(over)}`);
};
console.log(`Rows of each arm: ${study.rows.join(', ')}; ± one standard error over seeds.`);
show('Fine-tuned, sampled (and over SFT on best-of-N)', study.sampled);
show('Fine-tuned, greedy (and over SFT on best-of-N)', study.greedy);
show('restMcts (and over the one led by the model as it was)', study.guided);
mkdirSync(dirname(flags.out), { recursive: true });
const rounded = JSON.stringify(study, (_, x) => (typeof x === 'number' ? Number(x.toPrecision(4)) : x));
writeFileSync(flags.out, `${rounded}\n`);
console.log(`\nWrote ${flags.out} in ${seconds().trim()}.`);
