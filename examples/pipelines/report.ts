import type { Plot, Report } from '@posttrain/eval';
import type { Found, StudyRow } from '../reward-models/harness.js';

const PLOTTED = 'curve: ';

/** A study as a page: a table of every stage and measure, and a plot of each measure, or of the curves where there are some. */
export function reportOf({ name, study, rows }: Found): Report {
  const own = rows.filter(({ measure }) => !measure.startsWith(PLOTTED));
  const measures = [...new Set(own.map(({ measure }) => measure))];
  const curves = curvesOf(rows.filter(({ measure }) => measure.startsWith(PLOTTED)));
  return {
    title: study.title,
    subtitle: `npx tsx examples/pipelines/run.ts ${name}: seeds ${(study.seeds ?? [1, 2, 3]).join(', ')}; 95 % intervals over seeds`,
    sections: [
      {
        title: 'Every stage beside the pipeline without it',
        blocks: [
          {
            type: 'table',
            rows: own.map(({ measure, arm, values, mean, than, apart }) => ({
              ...{ measure, arm, seeds: values.map((value) => value.toFixed(2)).join(', ') },
              mean: intervalText(mean),
              'more than': than ?? '',
              by: apart ? intervalText(apart) : '',
            })),
          },
        ],
      },
      { title: 'Plots', blocks: curves.length > 0 ? curves : measures.map((measure) => barsOf(measure, own)) },
    ],
  };
}

const intervalText = ({ mean, low, high }: StudyRow['mean']) =>
  `${mean.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]`;

function barsOf(measure: string, rows: readonly StudyRow[]): Plot {
  const own = rows.filter((row) => row.measure === measure);
  return {
    ...{ type: 'bar', title: measure, caption: 'Means over seeds.', yLabel: measure, yFormat: 'number' },
    groups: own.map(({ arm }) => arm),
    series: [{ name: 'mean over seeds', values: own.map(({ mean }) => ({ value: mean.mean })) }],
  };
}

/** The rewards of each curve against the KL from the first policy, a line a seed. */
function curvesOf(rows: readonly StudyRow[]): Plot[] {
  const names = [...new Set(rows.map(({ arm }) => arm.split(', step ')[0]!))];
  const of = (name: string, measure: string) =>
    rows.filter((row) => row.arm.startsWith(`${name}, step `) && row.measure === PLOTTED + measure);
  return names.map((name) => ({
    ...{ type: 'line', title: `Optimised: ${name}`, xLabel: '√KL, √nats', yLabel: 'reward', yFormat: 'number' },
    caption: 'Gold and proxy reward of one run a seed, against the distance from the first policy.',
    series: ['gold', 'proxy'].flatMap((measure) =>
      of(name, 'kl')[0]!.values.map((_, seed) => ({
        name: `${measure}, seed ${seed + 1}`,
        points: of(name, measure).map((row, i) => ({
          x: Math.sqrt(of(name, 'kl')[i]!.values[seed]!),
          y: row.values[seed]!,
        })),
      })),
    ),
  }));
}
