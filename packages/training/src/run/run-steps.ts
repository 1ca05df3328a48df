import { join } from 'node:path';
import { PosttrainError } from '@posttrain/interfaces';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { Trainer } from '../trainer/trainer.js';
import {
  CheckpointError,
  type DecisiveSettings,
  latestCheckpoint,
  loadCheckpoint,
  refuseOtherSettings,
  refuseUsedFolder,
  saveCheckpoint,
} from './checkpoint.js';
import type { RunOptions, StepMetrics } from './run-options.js';
import { saveTrained } from './save-trained.js';
import { StepLog } from './step-log.js';

/** Metrics of one step by name. */
export type Metrics = StepMetrics['metrics'];

export interface StepsToRun<State extends object> {
  /** For progress. */
  readonly stage: string;
  readonly trainer: Trainer;
  /** What is trained, to be written into checkpoints; left out, the whole model is. */
  readonly adapter: TrainableAdapter | undefined;
  readonly steps: number;
  /** Settings that decide the result. A checkpoint of a run with others is refused. */
  readonly settings: DecisiveSettings;
  /** What a step changes beside the trainer, as JSON; the object is updated in place. */
  readonly state: State;
  /** Called before the first step, with the number of it. */
  readonly begin?: (firstStep: number) => Promise<void>;
  readonly step: (step: number) => Promise<Metrics>;
}

/** Runs the steps that are left, with logs, progress and checkpoints; gives the metrics of all steps. */
export async function runSteps<State extends object>(
  run: StepsToRun<State>,
  options: RunOptions,
): Promise<StepMetrics[]> {
  const { steps, stage } = run;
  const { outputFolder, saveSteps = steps, resume = false, onProgress, onLog } = options;
  if (outputFolder === undefined && (options.saveSteps !== undefined || resume === true)) {
    throw new PosttrainError('OUTPUT_FOLDER', `${stage}: saveSteps and resume need an outputFolder`);
  }
  if (!(Number.isInteger(saveSteps) && saveSteps >= 1)) {
    throw new PosttrainError('OPTION', `${stage}: saveSteps must be a positive integer, not ${saveSteps}`);
  }
  const from = resume === true ? await latestCheckpoint(outputFolder!) : resume || undefined;
  if (from === undefined && outputFolder !== undefined) await refuseUsedFolder(outputFolder);
  const first = from === undefined ? 0 : await restore(run, from);
  await run.begin?.(first);
  const log = outputFolder ? await StepLog.open<StepMetrics>(join(outputFolder, 'metrics.jsonl'), first) : undefined;
  const history = log?.before ?? [];
  const startedAt = Date.now();
  for (let step = first; step < steps; step++) {
    const stepStartedAt = Date.now();
    const metrics = { ...(await run.step(step)), step_time: (Date.now() - stepStartedAt) / 1000 };
    const record = { step, metrics };
    history.push(record);
    await log?.log.append([record]);
    const done = step + 1;
    if (outputFolder && (done % saveSteps === 0 || done === steps)) {
      await save(run, outputFolder, done, options.saveTotalLimit);
    }
    onLog?.(record);
    const etaSeconds = ((Date.now() - startedAt) / 1000 / (done - first)) * (steps - done);
    onProgress?.({ stage, done, total: steps, etaSeconds, metrics });
  }
  return history;
}

async function save<State extends object>(
  run: StepsToRun<State>,
  folder: string,
  done: number,
  keep: number | undefined,
): Promise<void> {
  const { trainer, adapter, settings, state } = run;
  await saveCheckpoint(folder, {
    snapshot: trainer.snapshot(),
    ...(keep === undefined ? {} : { keep }),
    state: { global_step: trainer.step, posttrain: { done, settings, state } satisfies SavedState },
    writeModel: (checkpoint) => saveTrained(checkpoint, trainer, adapter),
  });
}

interface SavedState {
  readonly done: number;
  readonly settings: DecisiveSettings;
  readonly state: object;
}

async function restore<State extends object>(run: StepsToRun<State>, folder: string): Promise<number> {
  const { snapshot, state } = await loadCheckpoint(folder);
  const saved = state.posttrain as SavedState | undefined;
  if (!saved?.settings) throw new CheckpointError(folder, `was not written by ${run.stage}.`);
  refuseOtherSettings(folder, saved.settings, run.settings);
  run.trainer.restore(snapshot);
  Object.assign(run.state, saved.state);
  return saved.done;
}
