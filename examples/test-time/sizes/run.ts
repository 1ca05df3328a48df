/**
 * A larger model against search with a smaller one at the same FLOPs: `npx tsx examples/test-time/sizes/run.ts [--seeds 1,2,3] [--problems 120]
 * [--models FOLDER] [--out FILE]`. See README.md.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import type { MeanEstimate } from '@posttrain/eval';
import { runSizesStudy, SIZES_SETTINGS } from './study.js';

const { values: flags } = parseArgs({
  options: {
    seeds: { type: 'string', default: SIZES_SETTINGS.seeds.join() },
    problems: { type: 'string', default: String(SIZES_SETTINGS.problems) },
    models: { type: 'string', default: 'runs/test-time/models' },
    out: { type: 'string', default: 'runs/test-time/sizes.json' },
  },
});
const started = Date.now();
const seconds = () => `${((Date.now() - started) / 1000).toFixed(0).padStart(5)} s`;
const study = await runSizesStudy({
  ...{ ...SIZES_SETTINGS, folder: flags.models },
  ...{ seeds: flags.seeds.split(',').map(Number), problems: Number(flags.problems) },
  onProgress: (what) => console.error(`${seconds()}  ${what}`),
});
const percent = (it: MeanEstimate | null) =>
  it === null ? 'not drawn' : `${(100 * it.value!).toFixed(1)} ± ${(100 * (it.standardError ?? 0)).toFixed(1)} %`;
console.log(
  `${study.flops.smaller.parameters} and ${study.flops.larger.parameters} parameters; ± one standard error over seeds.`,
);
for (const { set, ...of } of study.accuracies)
  console.log(
    `${set.padEnd(6)} ${Object.entries(of)
      .map(([name, it]) => `${name} ${percent(it)}`)
      .join(', ')}`,
  );
for (const { set, search, points } of study.curves)
  console.log(
    `${set}, ${search}: ${points.map(({ samples, accuracy }) => `${samples}: ${percent(accuracy)}`).join(', ')}`,
  );
for (const { set, search, against, ratio, multiplier, smaller, larger, difference } of study.matched)
  console.log(
    `${set}, R = ${ratio}, ${multiplier.toFixed(1)} answers: ${search} ${percent(smaller)}, larger ${against} ${percent(larger)}, difference ${percent(difference)}`,
  );
mkdirSync(dirname(flags.out), { recursive: true });
/** Estimates as value and standard error, with four digits. */
const short = (_: string, x: unknown) => {
  if (typeof x === 'number') return Number(x.toPrecision(4));
  const { value, standardError, count } = (x ?? {}) as Partial<MeanEstimate>;
  return count === undefined ? x : { value, standardError };
};
// The larger model's accuracy is in `accuracies`, the thirds' curves in what is matched.
const written = {
  ...study,
  curves: study.curves.filter(({ set }) => set === 'all'),
  matched: study.matched.map(({ larger: _, ...row }) => row),
};
writeFileSync(flags.out, `${JSON.stringify(written, short)}\n`);
console.log(`Wrote ${flags.out} in ${seconds().trim()}.`);
