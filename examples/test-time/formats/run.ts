/**
 * The prompted strategies on a model that was trained on their formats: `npx tsx examples/test-time/formats/run.ts [--seeds 1,2,3] [--problems 32]
 * [--models FOLDER] [--out FILE]`. See README.md.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { type MeanEstimate, renderTable } from '@posttrain/eval';
import { FORMAT_SETTINGS, runFormatStudy } from './study.js';

const { values: flags } = parseArgs({
  options: {
    seeds: { type: 'string', default: FORMAT_SETTINGS.seeds.join() },
    problems: { type: 'string', default: String(FORMAT_SETTINGS.problems) },
    steps: { type: 'string', default: FORMAT_SETTINGS.steps.join() },
    arms: { type: 'string' },
    models: { type: 'string', default: 'runs/test-time/models' },
    out: { type: 'string', default: 'runs/test-time/formats.json' },
  },
});
const started = Date.now();
const seconds = () => `${((Date.now() - started) / 1000).toFixed(0).padStart(5)} s`;
const study = await runFormatStudy({
  ...{ ...FORMAT_SETTINGS, folder: flags.models, seeds: flags.seeds.split(',').map(Number) },
  problems: Number(flags.problems),
  steps: flags.steps.split(',').map(Number) as [number, number],
  ...(flags.arms && { arms: flags.arms.split(',') }),
  onProgress: (what) => console.error(`${seconds()}  ${what}`),
});
const percent = ({ value, standardError }: MeanEstimate) => ({ value: value!, standardError });
console.log(
  renderTable(
    study.rows.map(({ strategy, accuracy, borrowing, tokens, megaflops, overMajority, overGreedy }) => ({
      ...{
        strategy,
        accuracy: percent(accuracy),
        borrowing: { value: borrowing, standardError: null },
        tokens,
        MFLOP: megaflops,
      },
      ...{ 'over majority': percent(overMajority), 'over greedy': percent(overGreedy) },
    })),
    {
      title: `${study.problems} held-out problems (${study.borrowing} borrow), seeds ${flags.seeds}; ± one standard error`,
      columns: [
        ...['strategy', ...['accuracy', 'borrowing'].map((key) => ({ key, format: 'percent' as const }))],
        ...['tokens', 'MFLOP'],
        ...['over majority', 'over greedy'].map((key) => ({ key, format: 'percent' as const })),
      ],
    },
  ),
);
for (const { strategy, measures } of study.rows)
  if (Object.keys(measures).length > 0) console.log(`${strategy}: ${JSON.stringify(measures)}`);
const text = ({ value, standardError }: MeanEstimate) =>
  `${(100 * value!).toFixed(1)} ± ${(100 * (standardError ?? 0)).toFixed(1)} %`;
for (const { difficulty, curve, bins } of study.choosers) {
  for (const { budget, policy, single } of curve)
    console.log(
      `${difficulty} difficulty, ${budget} tokens: by difficulty ${text(policy)}, one strategy for all ${text(single)}`,
    );
  for (const { bin, chosen } of bins) console.log(`   bin ${bin}: ${[...new Set(chosen)].join(', ')}`);
}
for (const strategy of ['majority-vote', 'best-of-n', 'weighted-best-of-n', 'pass@k']) {
  const seen = study.baselines.filter((row) => row.strategy === strategy);
  const points = [...new Set(seen.map(({ k }) => k))].map((k) => {
    const list = seen.filter((row) => row.k === k).map(({ accuracy }) => accuracy!);
    return `${k}: ${((100 * list.reduce((a, b) => a + b, 0)) / list.length).toFixed(1)} %`;
  });
  console.log(`bare answers, ${strategy}: ${points.join(', ')}`);
}
const rounded: typeof study = JSON.parse(
  JSON.stringify(study, (_, x) => (typeof x === 'number' ? Number(x.toPrecision(4)) : x)),
);
mkdirSync(dirname(flags.out), { recursive: true });
writeFileSync(flags.out, `${JSON.stringify({ seeds: flags.seeds, ...rounded })}\n`);
console.log(`Wrote ${flags.out} in ${seconds().trim()}.`);
