import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plot, Report, ReportSection } from '@posttrain/eval';
import type { StudyRow } from '../reward-models/harness.js';

const PLOTTED = 'curve: ';
/** Measures that are plotted, of each study. */
const BARS = 2;
/** The run whose curve is plotted. */
const CURVE = 'one reward model';

/** `results/NAME.json`. */
interface Written {
  readonly title: string;
  readonly rows: readonly StudyRow[];
}

/** What is in the folder of results, as a page: a table of every stage and measure, and plots of the first measures, or of the curves where there are some. */
export function reportOf(folder: string, names: readonly string[]): Report {
  return {
    title: 'Pipelines of several stages',
    subtitle:
      'npx tsx examples/pipelines/run.ts: every stage beside the pipeline without it; three seeds, 95 % intervals over seeds',
    sections: names.map((name) => {
      return sectionOf(JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as Written);
    }),
  };
}

function sectionOf({ title, rows }: Written): ReportSection {
  const own = rows.filter(({ measure }) => !measure.startsWith(PLOTTED));
  const measures = [...new Set(own.map(({ measure }) => measure))].slice(0, BARS);
  const curves = curvesOf(rows.filter(({ measure }) => measure.startsWith(PLOTTED)));
  const table = own.map(({ measure, arm, values, mean, than, apart }) => ({
    ...{ measure, arm, seeds: values.map((value) => value.toFixed(2)).join(', '), mean: mean.mean.toFixed(2) },
    ...{ 'more than': than ?? '', by: apart ? intervalText(apart) : '' },
  }));
  const plots = curves.length > 0 ? curves : measures.map((measure) => barsOf(measure, own));
  return { title, blocks: [{ type: 'table', rows: table }, ...plots] };
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
  const names = rows.length > 0 ? [CURVE] : [];
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
