import { formatNumber, meanDifference, type ReportSection, welchDifference } from '@posttrain/eval';
import { sortedKeys } from '../options/names.js';
import type { RunOnDisk } from './read-run.js';

/** The share of a run's steps, the last, that its training metrics are means over. */
const END = 0.1;
/** Options that do not tell arms apart. */
const NOT_OF_ARM = [
  'seed',
  'resume',
  'page',
  'samples',
  'config',
  'progress',
  'saveSteps',
  'saveTotalLimit',
  'trackers',
];
/** Metrics that are compared, where they are logged. */
const COMPARED = /^(?:eval_|loss$|reward$|rewards\/|accuracy$|kl$|entropy$|completions\/mean_length$)/;

/** Runs that differ in their seeds only. */
interface Arm {
  readonly name: string;
  readonly runs: readonly RunOnDisk[];
}

/** What a run ended with: the last evaluation, and of training metrics the mean over the last tenth of the steps. */
export function endOf(run: RunOnDisk, key: string): number | undefined {
  const all = run.log.flatMap(({ metrics }) => (typeof metrics[key] === 'number' ? [metrics[key] as number] : []));
  if (all.length === 0) return undefined;
  const last = key.startsWith('eval_') ? all.slice(-1) : all.slice(-Math.max(1, Math.round(all.length * END)));
  return last.reduce((a, b) => a + b, 0) / last.length;
}

/** Runs side by side, and what their differences do and do not show. */
export function comparisonSection(runs: readonly RunOnDisk[]): ReportSection {
  const arms = armsOf(runs);
  const keys = [...new Set(runs.flatMap(({ log }) => log.flatMap(({ metrics }) => Object.keys(metrics))))].filter(
    (key) => COMPARED.test(key),
  );
  const rows = arms.map(({ name, runs: of }) => ({
    ...{ arm: name, runs: of.length },
    ...Object.fromEntries(
      keys.map((key) => {
        const values = valuesOf(of, key);
        const { value, standardError } = meanDifference(values);
        return [key, values.length === 0 ? null : { value, standardError }];
      }),
    ),
  }));
  const sentences = arms.slice(1).flatMap((arm) => keys.map((key) => inWords(key, arms[0]!, arm)));
  return {
    title: 'Comparison',
    text: `What the runs ended with: the last evaluation, and of training metrics the mean over the last tenth of the steps. Runs whose options differ in the seed only are one arm; ± is the standard error over its seeds.`,
    blocks: [
      { type: 'table', rows, columns: ['arm', 'runs', ...keys] },
      ...(arms.length > 1 ? [{ type: 'text' as const, text: sentences.join('\n\n') }] : []),
      { type: 'text', text: HOW_TO_READ },
      ...(runs.some(({ record }) => record === undefined)
        ? [
            {
              type: 'text' as const,
              tone: 'warning' as const,
              text: 'A run without run.json does not say its options, and is an arm of its own.',
            },
          ]
        : []),
    ],
  };
}

const HOW_TO_READ =
  'How to read an interval: if both trainings were repeated with ever new seeds, 95 of 100 such intervals would hold the difference that all repetitions together would show. One that holds 0 does not show that the arms differ, nor that they are alike. Many metrics are compared here: of twenty, one can be without 0 by chance.';

/** A difference of two arms in a sentence. */
function inWords(key: string, first: Arm, second: Arm): string {
  const [a, b] = [valuesOf(first.runs, key), valuesOf(second.runs, key)];
  if (a.length === 0 || b.length === 0) return `${key}: ${(a.length === 0 ? first : second).name} did not log it.`;
  if (a.length < 2 || b.length < 2) {
    const [x, y] = [a, b].map((values) => formatNumber(values.reduce((sum, one) => sum + one, 0) / values.length));
    return `${key}: ${y} of ${second.name} and ${x} of ${first.name}. With one run of an arm there is no interval: the seed alone can make such a difference. Train each with three seeds or more.`;
  }
  const { value, interval } = welchDifference(a, b);
  const [low, high] = interval;
  const verdict =
    low <= 0 && high >= 0
      ? 'It holds 0: these runs do not show which is larger.'
      : `It does not hold 0: ${value > 0 ? second.name : first.name} is larger by more than seeds explain.`;
  return `${key}: ${second.name} less ${first.name} is ${formatNumber(value)}, with a 95 % interval from ${formatNumber(low)} to ${formatNumber(high)} over ${b.length} and ${a.length} seeds. ${verdict}`;
}

const valuesOf = (runs: readonly RunOnDisk[], key: string): number[] => runs.flatMap((run) => endOf(run, key) ?? []);

/** Arms in the order of their first runs, each named by that run. */
function armsOf(runs: readonly RunOnDisk[]): Arm[] {
  const arms = new Map<string, RunOnDisk[]>();
  for (const run of runs) {
    const { record, folder } = run;
    const options = Object.entries(record?.options ?? {}).filter(([name]) => !NOT_OF_ARM.includes(name));
    const key = record ? JSON.stringify([record.command, sortedKeys(Object.fromEntries(options))]) : folder;
    arms.set(key, [...(arms.get(key) ?? []), run]);
  }
  return [...arms.values()].map((of) => ({ name: of[0]!.name, runs: of }));
}
