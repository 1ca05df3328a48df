import { join } from 'node:path';
import type { DecisiveSettings } from '@posttrain/interfaces';
import type { StepMetrics } from '../tracking/metrics.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { BestOfRun, SavedBest } from './best.js';
import { CheckpointError, loadCheckpoint, saveCheckpoint } from './checkpoint.js';
import { refuseOtherEarlierSettings, refuseOtherSettings } from './identity.js';
import type { LogWindow, SavedWindow } from './log-window.js';
import { type RunOptions, warn } from './run-options.js';
import type { StepsToRun } from './run-steps.js';
import { saveOther, saveTrained } from './save-trained.js';
import { joinState, splitState } from './stored-state.js';
import { restoreTrainers, snapshotOf, stepsOfOthers } from './trainers.js';

/** What of a run goes into a checkpoint beside the trainer. */
export interface RunToSave {
  readonly done: number;
  readonly settings: DecisiveSettings;
  readonly window: LogWindow;
  readonly history: readonly StepMetrics[];
  readonly best: BestOfRun;
  /** After how many steps the last evaluation was. */
  readonly evaluated: number | undefined;
  readonly keep: number | undefined;
}

/** `posttrain` in trainer_state.json. */
interface SavedState {
  readonly done: number;
  readonly settings: DecisiveSettings;
  readonly state: object;
  readonly window: SavedWindow;
  /** Updates of further trainers, by name. */
  readonly others?: Readonly<Record<string, number>>;
  /** Absent in runs without an evaluation. */
  readonly evaluation?: SavedBest & { readonly evaluated: number };
}

type AnyRun = StepsToRun<object, TrainableModel>;

/** Where the checkpoint of the trainer as it is now goes. */
export const checkpointOf = (folder: string, { trainer }: Pick<AnyRun, 'trainer'>): string =>
  join(folder, `checkpoint-${trainer.step}`);

/** Writes the checkpoint of a run. */
export async function saveRun<M extends TrainableModel>(
  folder: string,
  run: StepsToRun<object, M>,
  saved: RunToSave,
): Promise<void> {
  const { trainer, adapter, state, others } = run;
  const { done, settings, window, history, best, evaluated, keep } = saved;
  const { evaluation } = best;
  const savedBest = best.saved(folder);
  const { json, tensors: arrays } = splitState(state);
  await saveCheckpoint(folder, {
    snapshot: snapshotOf(run),
    arrays,
    ...(keep !== undefined && { keep }),
    ...(evaluation?.checkpoint !== undefined && { best: evaluation.checkpoint }),
    state: {
      global_step: trainer.step,
      log_history: history.map(({ step, metrics }) => ({ ...metrics, step: step + 1 })),
      best_metric: evaluation?.value ?? null,
      best_model_checkpoint: savedBest.best?.checkpoint ?? null,
      ...run.describe?.(),
      posttrain: {
        ...{ done, settings, state: json as object, window: window.saved },
        ...(others && { others: stepsOfOthers(run) }),
        ...(evaluated !== undefined && { evaluation: { evaluated, ...savedBest } }),
      } satisfies SavedState,
    },
    async writeModel(checkpoint) {
      await saveTrained(checkpoint, trainer, adapter);
      for (const [name, other] of Object.entries(others ?? {})) await saveOther(join(checkpoint, name), other);
    },
  });
}

/** Where a run goes on. */
export interface RunStart {
  readonly first: number;
  /** Undefined where the checkpoint does not say: an earlier version wrote it. */
  readonly history: readonly StepMetrics[] | undefined;
  readonly evaluated: number | undefined;
}

export const BEGINNING: RunStart = { first: 0, history: [], evaluated: undefined };

/** `folder`: the checkpoint. `home`: the folder that it is in, by the name that the run has for it. */
export interface RestoreFrom {
  readonly folder: string;
  readonly home: string;
}

/** What earlier versions wrote: sft had the identity apart, and running totals instead of a state. */
interface EarlierState extends Partial<SavedState> {
  readonly identity?: Readonly<Record<string, string>>;
  readonly statistics?: { readonly window: SavedWindow } & Readonly<Record<string, unknown>>;
}

/**
 * Puts a run into the state that a checkpoint has.
 *
 * @throws CheckpointError for one of another run
 */
export async function restoreRun<M extends TrainableModel>(
  { folder, home }: RestoreFrom,
  run: StepsToRun<object, M>,
  { settings, window, best }: Pick<RunToSave, 'settings' | 'window' | 'best'>,
  options: RunOptions<M>,
): Promise<RunStart> {
  const { snapshot, state, arrays } = await loadCheckpoint(folder, { onWarning: (message) => warn(options, message) });
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
  if (saved.evaluation) await best.restore(saved.evaluation, home);
  restoreTrainers(run, snapshot, saved.others ?? {});
  Object.assign(run.state, await joinState({ json: saved.state ?? totals, tensors: arrays }));
  window.restore(saved.window ?? earlierWindow);
  const entries = state.log_history as readonly Readonly<Record<string, number>>[] | undefined;
  return {
    first: done,
    history: entries?.map(({ step, ...metrics }) => ({ step: step! - 1, metrics })),
    evaluated: saved.evaluation?.evaluated,
  };
}
