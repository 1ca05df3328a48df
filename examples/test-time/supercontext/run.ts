/**
 * SuperContext with two models that are trained here: `npx tsx examples/test-time/supercontext/run.ts [--seeds 1,2,3] [--questions 150] [--steps 260]
 * [--cells FOLDER] [--out FILE]`. See README.md.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import type { MeanEstimate } from '@posttrain/eval';
import { runSuperContextStudy, SETTINGS } from './study.js';

const { values: flags } = parseArgs({
  options: {
    seeds: { type: 'string', default: SETTINGS.seeds.join() },
    questions: { type: 'string', default: String(SETTINGS.questions) },
    steps: { type: 'string', default: String(SETTINGS.large.steps) },
    cells: { type: 'string', default: 'runs/test-time/supercontext' },
    out: { type: 'string', default: 'runs/test-time/supercontext.json' },
  },
});
const started = Date.now();
const seconds = () => `${((Date.now() - started) / 1000).toFixed(0).padStart(5)} s`;
const study = await runSuperContextStudy({
  ...{ ...SETTINGS, seeds: flags.seeds.split(',').map(Number), questions: Number(flags.questions) },
  folder: flags.cells,
  large: { ...SETTINGS.large, steps: Number(flags.steps) },
  onProgress: (what) => console.error(`${seconds()}  ${what}`),
});
const percent = ({ value, standardError }: MeanEstimate) =>
  `${(100 * value!).toFixed(1)} ± ${(100 * (standardError ?? 0)).toFixed(1)} %`.padStart(15);
console.log('± one standard error over seeds: right, abstained, right over no receipt, right over the receipt');
for (const { set, confidence } of study.confidences) {
  console.log(`\n${set} (mean confidence of the small model ${confidence.value!.toFixed(2)})`);
  for (const row of study.rows.filter((it) => it.set === set)) {
    const numbers = [row.right, row.abstained, row.overNoReceipt, row.overReceipt].map(percent).join(' ');
    console.log(`  ${row.arm.padEnd(18)} ${numbers}`);
  }
}
const rounded: typeof study = JSON.parse(
  JSON.stringify(study, (_, x) => (typeof x === 'number' ? Number(x.toPrecision(4)) : x)),
);
mkdirSync(dirname(flags.out), { recursive: true });
writeFileSync(flags.out, `${JSON.stringify({ seeds: flags.seeds, ...rounded })}\n`);
console.log(`\nWrote ${flags.out} in ${seconds().trim()}.`);
