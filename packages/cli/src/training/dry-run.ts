import { totalmem } from 'node:os';
import type { ProgressEvent } from '@posttrain/interfaces';
import type { CommandContext } from '../command.js';
import type { RunSample } from '../page/run-record.js';
import { sampled } from '../page/samples.js';
import type { TrainerOptionsRecord, TrainingKind } from './kind.js';

/** Steps of the calibration. The first compiles most; the others are timed, without what they compile. */
const STEPS = 4;

/** What a dry run finds out. */
export interface DryRun {
  readonly rows: number;
  readonly steps: number;
  /** Estimated from those of the steps that were run; undefined where the trainer counts none. */
  readonly tokens: number | undefined;
  /** The most that the process held while it ran them, in bytes. */
  readonly memory: number;
  /** Estimated, of the whole run without its evaluations. */
  readonly seconds: number;
}

/**
 * Runs the first steps of a training, keeps nothing of them, and says what the whole will take. Memory is the peak of
 * this process: the steps are those that the run begins with, in the passes that it has.
 *
 * @param problems those that the run asks before and after
 */
export async function calibrate(
  kind: TrainingKind,
  settings: TrainerOptionsRecord,
  problems: readonly RunSample[] = [],
): Promise<DryRun> {
  const asked = performance.now();
  // A run warns of samples that cannot be had, and goes on.
  await sampled(settings.model, settings.adapter, problems).catch(() => []);
  const sampling = (performance.now() - asked) / 1000;
  const { outputFolder: _, saveSteps: __, resume: ___, evaluationRows: ____, trackers: _____, ...kept } = settings;
  const events: { readonly at: number; readonly event: ProgressEvent }[] = [];
  const started = performance.now();
  await kind.train({
    ...kept,
    ...{ progress: false, loggingSteps: 1, onWarning: () => {} },
    onProgress: (event: ProgressEvent) => events.push({ at: performance.now(), event }),
    afterStep: ({ step, stop }: { readonly step: number; stop(): void }) => {
      if (step + 1 >= STEPS) stop();
    },
  });
  const memory = process.resourceUsage().maxRSS * 1024;
  const last = events.at(-1);
  const steps = last?.event.total ?? 0;
  const done = Math.max(1, last?.event.done ?? 1);
  const tokens = last?.event.metrics?.num_tokens;
  const first = events[0];
  const beginning = ((first?.at ?? performance.now()) - started) / 1000;
  const compiled = (last?.event.compileSeconds ?? 0) - (first?.event.compileSeconds ?? 0);
  const perStep = first && last && done > 1 ? ((last.at - first.at) / 1000 - compiled) / (done - 1) : beginning;
  return {
    rows: (settings.rows as readonly unknown[]).length,
    steps,
    tokens: tokens === undefined ? undefined : Math.round((tokens / done) * steps),
    memory,
    seconds: 2 * sampling + beginning + compiled + perStep * Math.max(0, steps - 1),
  };
}

/** Says what a training will take. */
export async function dryRun(
  kind: TrainingKind,
  settings: TrainerOptionsRecord,
  problems: readonly RunSample[],
  { print }: CommandContext,
): Promise<void> {
  const { rows, steps, tokens, memory, seconds } = await calibrate(kind, settings, problems);
  const lines = [
    ['rows', `${rows}`],
    ['steps', `${steps}`],
    ['tokens', tokens === undefined ? 'not counted by this trainer' : `about ${tokens}`],
    ['memory', `${bytes(memory)} at its peak, of ${bytes(totalmem())}`],
    ['time', `about ${duration(seconds)}, evaluations not counted`],
  ] as const;
  print(`${lines.map(([name, value]) => `${name.padEnd(8)}${value}`).join('\n')}\n`);
}

const bytes = (count: number): string =>
  count < 1e9 ? `${Math.round(count / 1e6)} MB` : `${(count / 1e9).toFixed(1)} GB`;

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
