/**
 * Every strategy of test-time scaling on one model and its tasks: `npx tsx examples/test-time/run.ts [--seeds 1,2,3] [--problems 48]
 * [--widths 4,16] [--arms bestOfN,mcts] [--into STUDY.json] [--out FOLDER]`. `--into` adds arms to a study that has been run, with its
 * seeds, problems and widths. See README.md.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type MeanEstimate, type Plot, renderTable, tradeOffPlots, writeReport } from '@posttrain/eval';
import { PosttrainError } from '@posttrain/interfaces';
import { ARMS } from './arms.js';
import { added, controlOf, curvesOf } from './merge.js';
import { runStudy, type Study } from './study.js';

const { values: flags } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    problems: { type: 'string', default: '48' },
    widths: { type: 'string', default: '4,16' },
    samples: { type: 'string', default: '64' },
    arms: { type: 'string' },
    into: { type: 'string' },
    out: { type: 'string', default: 'runs/test-time' },
  },
});
const numbers = (name: 'seeds' | 'widths') => flags[name].split(',').map(Number);
const arms = flags.arms?.split(',');
const unknown = arms?.find((name) => !(name in ARMS));
if (unknown !== undefined) {
  throw new PosttrainError(
    'ARM',
    `there is no strategy "${unknown}" here; give some of ${Object.keys(ARMS).join(', ')}`,
  );
}
const started = Date.now();
const before = flags.into === undefined ? undefined : (JSON.parse(readFileSync(flags.into, 'utf8')) as Study);
const seeds = numbers('seeds');
const ran = await runStudy({
  ...{ seeds, widths: numbers('widths'), problems: Number(flags.problems), sftSteps: 32 },
  baselineSamples: Number(flags.samples),
  ...(arms && { arms }),
  ...(before && {
    problems: before.rows[0]!.accuracy.count,
    curves: curvesOf(before, seeds.length),
    arms: [controlOf(before), ...(arms ?? Object.keys(ARMS).filter((name) => !hasRow(before, name)))],
  }),
  onArm: (what) => console.error(`${((Date.now() - started) / 1000).toFixed(0).padStart(5)} s  ${what}`),
});
const study = before ? added(before, rounded(ran)) : ran;
const { count: problems } = study.rows[0]!.accuracy;

const percent = ({ value, standardError }: MeanEstimate) => ({ value: value!, standardError });
const shown = [...study.rows].sort((a, b) => a.n - b.n || b.accuracy.value! - a.accuracy.value!);
console.log(
  renderTable(
    shown.map(({ strategy, n, accuracy, tokens, verifierCalls, megaflops, overBestOfN, overMajority }) => ({
      ...{ strategy, n, accuracy: percent(accuracy), tokens, 'verifier calls': verifierCalls, MFLOP: megaflops },
      ...{ 'over best-of-N': percent(overBestOfN), 'over majority': percent(overMajority) },
    })),
    {
      title: `${problems} held-out problems, seeds ${flags.seeds}; ± one standard error; the last two at equal tokens`,
      columns: [
        ...['strategy', 'n'],
        { key: 'accuracy', format: 'percent' },
        ...['tokens', 'verifier calls', 'MFLOP'],
        { key: 'over best-of-N', format: 'percent' },
        { key: 'over majority', format: 'percent' },
      ],
    },
  ),
);
for (const { budget, policy, single, chosen } of study.choosers) {
  const text = ({ value, standardError }: MeanEstimate) =>
    `${(100 * value!).toFixed(1)} ± ${(100 * (standardError ?? 0)).toFixed(1)} %`;
  console.log(
    `${budget} tokens a question: by difficulty ${text(policy.accuracy)}, one strategy for all ${text(single.accuracy)}`,
  );
  for (const [i, names] of chosen.entries()) console.log(`   bin ${i + 1}: ${[...new Set(names)].join(', ')}`);
}
mkdirSync(flags.out, { recursive: true });
writeFileSync(join(flags.out, 'study.json'), `${JSON.stringify(rounded(study))}\n`);
await writeReport(join(flags.out, 'report.html'), {
  title: 'Test-time scaling',
  subtitle: `Accuracy against cost, ${problems} held-out problems`,
  sections: [
    { title: 'Accuracy against tokens', blocks: plots(study) },
    // 'mcts n=16' is a point of mcts.
    ...(study.tradeOffs
      ? [
          {
            title: 'Accuracy against every cost',
            blocks: tradeOffPlots(study.tradeOffs, (arm) => arm.replace(/ n=\d+$/, '')),
          },
        ]
      : []),
  ],
});
console.log(`Wrote ${flags.out}/study.json and report.html in ${((Date.now() - started) / 1000).toFixed(0)} s.`);

/** Accuracy of every arm against its tokens, with the baselines of the first seed. */
function plots({ rows, baselines }: Study): Plot[] {
  const point = (x: number, y: number, error: number | null) => ({ x, y, standardError: error });
  const families = ['samples', 'trees'] as const;
  return families.map((family) => ({
    type: 'line',
    title: family,
    xLabel: 'completion tokens a question',
    yLabel: 'accuracy',
    xScale: 'log',
    series: [
      ...['best-of-n', 'majority-vote'].map((name) => {
        const seen = baselines.filter((row) => row.strategy === name);
        const ks = [...new Set(seen.map(({ k }) => k))];
        const at = (k: number, of: 'accuracy' | 'meanTokens') => {
          const list = seen.filter((row) => row.k === k).map((row) => row[of]!);
          return list.reduce((a, b) => a + b, 0) / list.length;
        };
        return {
          name: `${name} (baseline)`,
          points: ks.map((k) => point(at(k, 'meanTokens'), at(k, 'accuracy'), null)),
        };
      }),
      ...[...new Set(rows.filter((row) => row.family === family).map(({ strategy }) => strategy))].map((strategy) => ({
        name: strategy,
        points: rows
          .filter((row) => row.strategy === strategy)
          .map(({ tokens, accuracy }) => point(tokens, accuracy.value!, accuracy.standardError)),
      })),
    ],
  }));
}

function hasRow({ rows }: Study, name: string): boolean {
  return rows.some(({ strategy }) => strategy === name);
}

/** Four digits are enough of any of them. */
function rounded<T>(value: T): T {
  return JSON.parse(JSON.stringify(value, (_, x) => (typeof x === 'number' ? Number(x.toPrecision(4)) : x))) as T;
}
