import { realpath } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Named } from '@posttrain/core-tensor/optim';
import { type DecisiveSettings, PosttrainError } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import { NonFiniteError } from '../trainer/non-finite-error.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { Trainer } from '../trainer/trainer.js';
import { CheckpointError, latestCheckpoint, loadCheckpoint, refuseUsedFolder, saveCheckpoint } from './checkpoint.js';
import { modelIdentity, refuseOtherEarlierSettings, refuseOtherSettings } from './identity.js';
import { LogWindow, type SavedWindow } from './log-window.js';
import { outOfMemory } from './out-of-memory.js';
import { lockFolder, type RunLock } from './run-lock.js';
import { saveTrained } from './save-trained.js';
import { StepLog } from './step-log.js';
import { type Metrics, type RunOptions, type StepMetrics, warn } from './training-options.js';

export interface StepsToRun<State extends object> {
  /** For progress. */
  readonly stage: string;
  readonly trainer: Trainer;
  /** The base model, which a resumed run must share. */
  readonly model: CausalLM;
  /** What is trained, to be written into checkpoints; left out, the whole model is. */
  readonly adapter: TrainableAdapter | undefined;
  readonly steps: number;
  /** What decides the result beside the base model. A checkpoint of a run with others is refused. Called where it is needed. */
  readonly settings: () => DecisiveSettings | Promise<DecisiveSettings>;
  /** What a step changes beside the trainer, as JSON; the object is updated in place. */
  readonly state: State;
  /** Called before the first step, with the number of it. */
  readonly begin?: (firstStep: number) => Promise<void>;
  readonly step: (step: number) => Promise<Metrics>;
  /** Steps between entries of the log, and the metrics of which an entry has the latest value instead of the mean. */
  readonly logging?: { readonly every: number; readonly latest: readonly string[] };
  /** Further fields of trainer_state.json, under Hugging Face's names. */
  readonly describe?: () => Readonly<Record<string, unknown>>;
}

/**
 * Runs the steps that are left, with log, progress, checkpoints and a lock on the output folder; gives all entries of the
 * log. Every training loop is a `step` for it.
 *
 * @throws RunLockedError, CheckpointError, FileError, NonFiniteError, PosttrainError OUTPUT_FOLDER, OUT_OF_MEMORY
 */
export async function runSteps<State extends object>(
  run: StepsToRun<State>,
  options: RunOptions,
): Promise<StepMetrics[]> {
  const { outputFolder, resume = false } = options;
  if (outputFolder === undefined && (options.saveSteps !== undefined || resume === true)) {
    throw new PosttrainError('OUTPUT_FOLDER', `${run.stage}: saveSteps and resume need an outputFolder`);
  }
  if (outputFolder === undefined) return runWithLock(run, options, undefined);
  const lock = await lockFolder(outputFolder, (message) => warn(options, message));
  try {
    return await runWithLock(run, options, lock);
  } finally {
    lock.release();
  }
}

async function runWithLock<State extends object>(
  run: StepsToRun<State>,
  options: RunOptions,
  lock: RunLock | undefined,
): Promise<StepMetrics[]> {
  const { steps, stage } = run;
  const { outputFolder, saveSteps = steps, resume = false, onProgress, onLog } = options;
  const from = resume === true ? await latestCheckpoint(outputFolder!) : resume || undefined;
  if (outputFolder !== undefined && !(from && (await isIn(from, outputFolder)))) await refuseUsedFolder(outputFolder);
  const isWritten = outputFolder !== undefined || from !== undefined;
  const settings = isWritten ? { ...(await modelIdentity(run.model)), ...(await run.settings()) } : {};
  const window = new LogWindow(run.logging ?? { every: 1, latest: [] });
  const { first, history: known } =
    from === undefined ? BEGINNING : await restore(run, options, settings, window, from);
  await refuseNonFinite(run.model.weights);
  await refuseNonFinite(run.trainer.parameters);
  await run.begin?.(first);
  const path = outputFolder && join(outputFolder, 'metrics.jsonl');
  const log = path ? await StepLog.open<StepMetrics>(path, first, known) : undefined;
  const history = log?.before ?? [...(known ?? [])];
  const startedAt = Date.now();
  for (let step = first; step < steps; step++) {
    const metrics = await stepOf(run, step);
    const done = step + 1;
    const entry = window.add(step, metrics, done === steps);
    if (entry) {
      history.push(entry);
      await log?.log.append([entry]);
    }
    if (outputFolder && (done % saveSteps === 0 || done === steps)) {
      await lock?.check();
      await save(run, { folder: outputFolder, done, settings, window, history, keep: options.saveTotalLimit });
    }
    if (entry) onLog?.(entry);
    const etaSeconds = ((Date.now() - startedAt) / 1000 / (done - first)) * (steps - done);
    onProgress?.({ stage, done, total: steps, etaSeconds, metrics });
  }
  // The last update is followed by no step that would notice.
  if (first < steps) await refuseNonFinite(run.trainer.parameters, NonFiniteError.ofEnd);
  return history;
}

/** Whether a checkpoint is of a folder, by whatever links either is named. */
async function isIn(checkpoint: string, folder: string): Promise<boolean> {
  const real = (path: string) => realpath(path).catch(() => resolve(path));
  return dirname(await real(checkpoint)) === (await real(folder));
}

async function stepOf({ step, stage }: StepsToRun<object>, index: number): Promise<Metrics> {
  try {
    return await step(index);
  } catch (error) {
    throw outOfMemory(`${stage}, step ${index}`, error) ?? error;
  }
}

/** What a run starts from, and ends with, must be numbers: whoever uses it would notice too late. */
async function refuseNonFinite(tensors: Named, errorOf = NonFiniteError.ofStart): Promise<void> {
  for (const [name, tensor] of Object.entries(tensors)) {
    const data = await tensor.data();
    // Of 16-bit floats these are their bits.
    if (!(data instanceof Float32Array || data instanceof Float64Array)) continue;
    const at = data.findIndex((value) => !Number.isFinite(value));
    if (at >= 0) throw errorOf(name, Number(data[at]));
  }
}

interface ToSave {
  readonly folder: string;
  readonly done: number;
  readonly settings: DecisiveSettings;
  readonly window: LogWindow;
  readonly history: readonly StepMetrics[];
  readonly keep: number | undefined;
}

/** `posttrain` in trainer_state.json. */
interface SavedState {
  readonly done: number;
  readonly settings: DecisiveSettings;
  readonly state: object;
  readonly window: SavedWindow;
}

async function save(run: StepsToRun<object>, { folder, done, settings, window, history, keep }: ToSave): Promise<void> {
  const { trainer, adapter, state } = run;
  await saveCheckpoint(folder, {
    snapshot: trainer.snapshot(),
    ...(keep === undefined ? {} : { keep }),
    state: {
      global_step: trainer.step,
      log_history: history.map(({ step, metrics }) => ({ ...metrics, step: step + 1 })),
      ...run.describe?.(),
      posttrain: { done, settings, state, window: window.saved } satisfies SavedState,
    },
    writeModel: (checkpoint) => saveTrained(checkpoint, trainer, adapter),
  });
}

interface Start {
  readonly first: number;
  /** Undefined where the checkpoint does not say: an earlier version wrote it. */
  readonly history: readonly StepMetrics[] | undefined;
}

const BEGINNING: Start = { first: 0, history: [] };

/** What earlier versions wrote: sft had the identity apart, and running totals instead of a state. */
interface EarlierState extends Partial<SavedState> {
  readonly identity?: Readonly<Record<string, string>>;
  readonly statistics?: { readonly window: SavedWindow } & Readonly<Record<string, unknown>>;
}

async function restore(
  run: StepsToRun<object>,
  options: RunOptions,
  settings: DecisiveSettings,
  window: LogWindow,
  folder: string,
): Promise<Start> {
  const { snapshot, state } = await loadCheckpoint(folder, { onWarning: (message) => warn(options, message) });
  const saved = state.posttrain as EarlierState | undefined;
  if (!saved?.settings) throw new CheckpointError(folder, `was not written by ${run.stage}.`);
  const comparison = { folder, current: settings, allowChanged: options.allowChanged ?? [] };
  if (state.posttrain_format !== undefined) refuseOtherSettings({ ...comparison, saved: saved.settings });
  else {
    const unknown = refuseOtherEarlierSettings({ ...comparison, saved: { ...saved.settings, ...saved.identity } });
    const what = `${folder} is of an earlier version, so it is not known whether these are as they were: ${unknown.join(', ')}.`;
    warn(options, what);
  }
  const { window: earlierWindow, ...totals } = saved.statistics ?? {};
  const done = saved.done ?? state.global_step;
  if (done > run.steps) {
    throw new CheckpointError(folder, `has ${done} steps already, more than the ${run.steps} of this run.`);
  }
  run.trainer.restore(snapshot);
  Object.assign(run.state, saved.state ?? totals);
  window.restore(saved.window ?? earlierWindow);
  const entries = state.log_history as readonly Readonly<Record<string, number>>[] | undefined;
  return { first: done, history: entries?.map(({ step, ...metrics }) => ({ step: step! - 1, metrics })) };
}
