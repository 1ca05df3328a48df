import { type ExamplesBlock, formatSeconds, type Report, type ReportBlock, type ReportSection } from '@posttrain/eval';
import { isRecord, kebabCase } from '../options/names.js';
import { comparisonSection, endOf } from './comparison.js';
import { curveSections } from './curves.js';
import type { RunOnDisk, SampledCompletion } from './read-run.js';

/** Figures at the head of the page, where they were logged. */
const HEADLINES = {
  loss: 'Loss',
  eval_loss: 'Loss, held out',
  reward: 'Reward',
  'rewards/accuracies': 'Pairs in the right order',
  accuracy: 'Accuracy',
} as const;

/** Problems of completions.jsonl that are shown, and completions of each at a step. */
const PROBLEMS = 4;
const COMPLETIONS = 2;

/** The page of a run; the others are compared with it. */
export function runReport(run: RunOnDisk, others: readonly RunOnDisk[] = []): Report {
  const { record, name } = run;
  return {
    title: record ? `posttrain ${record.command}: ${name}` : `A training: ${name}`,
    subtitle: `${progressOf(run)} ${exitOf(run)}`,
    sections: [
      { title: 'At a glance', blocks: [glance(run)] },
      ...(others.length > 0 ? [comparisonSection([run, ...others])] : []),
      ...curveSections(run),
      ...samplesSection(run),
      ...completionsSection(run),
      settingsSection(run),
    ],
  };
}

const doneOf = ({ log }: RunOnDisk): number => (log.at(-1)?.step ?? -1) + 1;

function progressOf(run: RunOnDisk): string {
  const total = run.record?.steps;
  if (run.log.length === 0) return 'Nothing is logged yet.';
  return total === undefined ? `${doneOf(run)} steps are logged.` : `${doneOf(run)} of ${total} steps are logged.`;
}

/** How the last attempt ended, in words. */
function exitOf({ record }: RunOnDisk): string {
  if (!record) return 'It was started by a program, which keeps no record of settings and ends.';
  const last = record.attempts.at(-1);
  if (!last?.exit) return 'It is running, or was ended without a word: killed, or the machine went off.';
  return last.exit.reason;
}

/** Seconds of all attempts; of one without an end, to its last entry. */
export function durationOf({ record, times }: Pick<RunOnDisk, 'record' | 'times'>): number | undefined {
  if (!record) return undefined;
  return record.attempts
    .map(({ seconds }, i) => seconds ?? times.filter(({ attempt }) => attempt === i).at(-1)?.seconds ?? 0)
    .reduce((a, b) => a + b, 0);
}

function glance(run: RunOnDisk): ReportBlock {
  const duration = durationOf(run);
  const tokens = endOf(
    { ...run, log: run.log.filter(({ metrics }) => 'num_tokens' in metrics).slice(-1) },
    'num_tokens',
  );
  const figures = Object.entries(HEADLINES).flatMap(([key, label]) => {
    const logged = run.log.flatMap(({ metrics }) => (typeof metrics[key] === 'number' ? [metrics[key]] : []));
    const value = endOf(run, key);
    if (value === undefined) return [];
    const note = `${Number(logged[0]!.toPrecision(4))} at first; now ${key.startsWith('eval_') ? 'the last' : 'the mean of the last tenth'}`;
    return [{ label, value, note: logged.length > 1 ? note : 'logged once' }];
  });
  return {
    type: 'figures',
    figures: [
      { label: 'Steps', value: doneOf(run), ...(run.record?.steps && { note: `of ${run.record.steps}` }) },
      ...figures,
      ...(tokens === undefined ? [] : [{ label: 'Tokens', value: tokens }]),
      ...(duration === undefined ? [] : [durationFigure(duration, run.record!.attempts.length)]),
    ],
  };
}

const durationFigure = (seconds: number, attempts: number) => ({
  ...{ label: 'Time', value: formatSeconds(seconds) },
  ...(attempts > 1 && { note: `in ${attempts} attempts` }),
});

/** The same problems before and after. */
function samplesSection({ record }: RunOnDisk): ReportSection[] {
  if (!record || record.samples.length === 0) return [];
  const examples = record.samples.map(({ prompt, target, before, after }, i) => ({
    ...{ title: `Problem ${i + 1}`, prompt },
    ...(target !== undefined && { target }),
    completions: [
      ...(before === undefined ? [] : [{ label: 'Before the training', text: before }]),
      ...(after === undefined ? [] : [{ label: 'After it', text: after }]),
    ],
  }));
  const of = record.isHeldOut
    ? 'held-out rows, which it is not trained on'
    : 'rows that it is trained on, since none were held out';
  return [
    {
      title: 'Before and after',
      text: `The model's most likely answers (temperature 0) to the first of the ${of}. A few answers show what has changed, not how much better it is.`,
      blocks: [{ type: 'examples', examples: examples as ExamplesBlock['examples'] }],
    },
  ];
}

const keyOf = ({ prompt }: SampledCompletion): string => JSON.stringify(prompt);

/** What a policy sampled: problems that came up more than once, the first time and the last. */
function completionsSection({ completions }: RunOnDisk): ReportSection[] {
  const byPrompt = new Map<string, SampledCompletion[]>();
  for (const one of completions) byPrompt.set(keyOf(one), [...(byPrompt.get(keyOf(one)) ?? []), one]);
  // The longest between its first and its last time first.
  const span = (of: readonly SampledCompletion[]): number => of.at(-1)!.step - of[0]!.step;
  const chosen = [...byPrompt.values()].sort((a, b) => span(b) - span(a)).slice(0, PROBLEMS);
  if (chosen.length === 0) return [];
  const examples = chosen.map((of, i) => {
    const [first, last] = [of[0]!.step, of.at(-1)!.step];
    const at = (step: number) => of.filter((one) => one.step === step).slice(0, COMPLETIONS);
    return {
      ...{ title: `Prompt ${i + 1}`, prompt: of[0]!.prompt },
      ...(of[0]!.answer !== undefined && { target: of[0]!.answer }),
      completions: [...at(first), ...(last > first ? at(last) : [])].map(({ step, completion, reward }) => ({
        ...{ label: `Step ${step + 1}`, text: completion, score: reward },
      })),
    };
  });
  return [
    {
      title: 'What was sampled',
      text: 'Completions that the policy learned from, with their rewards: the same prompt the first time and the last time that it came up.',
      blocks: [{ type: 'examples', examples: examples as ExamplesBlock['examples'] }],
    },
  ];
}

function settingsSection({ record, settings, folder }: RunOnDisk): ReportSection {
  const rows = (of: Readonly<Record<string, unknown>>) =>
    Object.entries(of).map(([setting, value]) => ({ setting, value: shown(value) }));
  const attempts = (record?.attempts ?? []).map(({ from, started, seconds, exit }) => ({
    ...{ started, 'from step': from, time: seconds === undefined ? null : formatSeconds(seconds) },
    end: exit?.reason ?? 'not written down',
  }));
  const surroundings = record && { seed: record.seed, ...record.versions, ...record.hardware };
  const asked = record && Object.entries(record.options).flatMap(([name, value]) => flat(kebabCase(name), value));
  const table = (caption: string, of: ReturnType<typeof rows>): ReportBlock[] =>
    of.length === 0 ? [] : [{ type: 'table', rows: of, caption }];
  return {
    title: 'Settings',
    text: `The output is in ${folder}.`,
    blocks: [
      ...table('What was asked for; everything else had its default.', rows(Object.fromEntries(asked ?? []))),
      ...table('Seed, versions and hardware.', rows(surroundings ?? {})),
      ...(attempts.length === 0 ? [] : [{ type: 'table' as const, rows: attempts, caption: 'Attempts.' }]),
      ...table('Everything that decides the result, as the newest checkpoint has it.', rows(settings)),
    ],
  };
}

/** Options with parts by the names that they are typed under. */
const flat = (name: string, value: unknown): (readonly [string, unknown])[] =>
  isRecord(value)
    ? Object.entries(value).flatMap(([part, one]) => flat(part === 'name' ? name : `${name}.${kebabCase(part)}`, one))
    : [[name, value]];

const shown = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
