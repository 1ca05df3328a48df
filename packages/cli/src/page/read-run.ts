import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { ChatMessage } from '@posttrain/interfaces';
import { CommandLineError } from '../options/command-line-error.js';
import { type LoggedTime, RECORD, type RunRecord, readRecord, TIMES } from './run-record.js';

/** An entry of metrics.jsonl; what was not a number is null in JSON. */
export interface LoggedMetrics {
  readonly step: number;
  readonly metrics: Readonly<Record<string, number | null>>;
}

/** A line of completions.jsonl, as far as the page shows it. */
export interface SampledCompletion {
  readonly step: number;
  readonly prompt: string | readonly ChatMessage[];
  readonly completion: string;
  readonly answer?: string;
  readonly reward: number | null;
}

/** What is on disk of a run. */
export interface RunOnDisk {
  readonly folder: string;
  readonly name: string;
  readonly record: RunRecord | undefined;
  readonly log: readonly LoggedMetrics[];
  readonly times: readonly LoggedTime[];
  readonly completions: readonly SampledCompletion[];
  /** Everything that decides the result, of the newest checkpoint. */
  readonly settings: Readonly<Record<string, unknown>>;
}

const METRICS = 'metrics.jsonl';
const COMPLETIONS = 'completions.jsonl';

/** Lines of a file that is being written: what follows the last newline is left out, as is a line that is not JSON. */
async function lines<T>(path: string): Promise<T[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(0, -1)
    .flatMap((line) => {
      try {
        return [JSON.parse(line) as T];
      } catch {
        return [];
      }
    });
}

/** @throws CommandLineError for a folder that is none, or has no run; PosttrainError RUN_RECORD */
export async function readRun(folder: string): Promise<RunOnDisk> {
  const path = join(folder, METRICS);
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) {
    throw new CommandLineError(`${folder}: there is no ${METRICS}; give the output folder of a training.`);
  }
  const [record, log, times, completions, settings] = await Promise.all([
    readRecord(folder),
    lines<LoggedMetrics>(path),
    lines<LoggedTime>(join(folder, TIMES)),
    lines<SampledCompletion>(join(folder, COMPLETIONS)),
    settingsOf(folder),
  ]);
  return { folder, name: basename(resolve(folder)), record, log, times, completions, settings };
}

/** Changes when what is on disk of a run does. */
export async function stateOf(folder: string): Promise<string> {
  const found = await Promise.all(
    [METRICS, RECORD, TIMES, COMPLETIONS].map((name) => stat(join(folder, name)).catch(() => undefined)),
  );
  return found.map((file) => (file ? `${file.size}-${file.mtimeMs}` : '')).join(' ');
}

async function settingsOf(folder: string): Promise<Readonly<Record<string, unknown>>> {
  const steps = (await readdir(folder)).flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? []);
  if (steps.length === 0) return {};
  const newest = Math.max(...steps.map(Number));
  const text = await readFile(join(folder, `checkpoint-${newest}`, 'trainer_state.json'), 'utf8').catch(() => '{}');
  try {
    const { posttrain } = JSON.parse(text) as { readonly posttrain?: { readonly settings?: Record<string, unknown> } };
    return posttrain?.settings ?? {};
  } catch {
    return {};
  }
}
