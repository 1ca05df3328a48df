import {
  CheckpointError,
  type DecisiveSettings,
  latestCheckpoint,
  loadCheckpoint,
  refuseOtherSettings,
  refuseUsedFolder,
  saveCheckpoint,
} from '../run/checkpoint.js';
import { type RunIdentity, runIdentity } from '../run/run-identity.js';
import { saveTrained } from '../run/save-trained.js';
import type { Trainer } from '../trainer/trainer.js';
import type { RunLog, RunStatistics } from './run-log.js';
import type { SftLogEntry, SftSettings } from './sft-options.js';
import type { TokenizedRow } from './tokenize-rows.js';

interface SavedRun {
  readonly identity: RunIdentity;
  readonly statistics: RunStatistics;
  readonly settings: DecisiveSettings;
}

/** Of the tokenized rows and everything that decides their order. */
export function identityOf({ batchSize, seed, adapter }: SftSettings, rows: readonly TokenizedRow[]): RunIdentity {
  return runIdentity([{ batchSize, seed }, ...rows], adapter);
}

/** What decides the result beside the rows and the adapter. */
function decisiveSettings(settings: SftSettings, totalSteps: number): DecisiveSettings {
  const { learningRate, schedule, scheduleSettings = {}, warmupSteps, maxGradNorm } = settings;
  const { optimizer, optimizerOptions, weightDecay = 'default', lossScaling = false, fp16 } = settings;
  return {
    steps: totalSteps,
    learningRate,
    schedule,
    scheduleSettings: JSON.stringify(scheduleSettings),
    warmupSteps,
    maxGradNorm,
    weightDecay,
    optimizer: optimizer.name,
    optimizerOptions,
    lossScaling: JSON.stringify(lossScaling),
    fp16,
  };
}

/** Writes `checkpoint-<step>` of a run, with the fields of Hugging Face's trainer_state.json. */
export async function saveSftCheckpoint(
  trainer: Trainer,
  settings: SftSettings,
  run: { log: RunLog; identity: RunIdentity; epoch: number; totalSteps: number },
): Promise<void> {
  const { adapter, outputFolder, saveTotalLimit } = settings;
  if (outputFolder === undefined) return;
  const { statistics, history } = run.log;
  await saveCheckpoint(outputFolder, {
    snapshot: trainer.snapshot(),
    ...(saveTotalLimit !== undefined && { keep: saveTotalLimit }),
    state: {
      best_metric: null,
      best_model_checkpoint: null,
      epoch: run.epoch,
      global_step: trainer.step,
      log_history: history.map(({ step, metrics }) => ({ ...metrics, step: step + 1 })),
      logging_steps: settings.loggingSteps,
      max_steps: run.totalSteps,
      num_input_tokens_seen: statistics.numTokens,
      num_train_epochs: settings.epochs,
      save_steps: settings.saveSteps ?? run.totalSteps,
      train_batch_size: settings.batchSize,
      posttrain: { identity: run.identity, statistics, settings: decisiveSettings(settings, run.totalSteps) },
    },
    writeModel: (folder) => saveTrained(folder, trainer, adapter),
  });
}

/** Puts trainer and log where a checkpoint left them. @throws CheckpointError when it is of another run */
export async function resumeSft(
  trainer: Trainer,
  settings: SftSettings,
  run: { log: RunLog; identity: RunIdentity; totalSteps: number },
): Promise<void> {
  const { resume, outputFolder } = settings;
  const folder = resume === true ? await latestCheckpoint(outputFolder!) : resume;
  if (!folder) {
    if (outputFolder !== undefined) await refuseUsedFolder(outputFolder);
    return;
  }
  const { snapshot, state } = await loadCheckpoint(folder);
  const saved = state.posttrain as SavedRun | undefined;
  if (!saved?.settings) throw new CheckpointError(folder, 'was not written by sft.');
  if (saved.identity.data !== run.identity.data) {
    throw new CheckpointError(
      folder,
      'the run had other rows, another tokenizer, batchSize, seed or packing, so it cannot go on with these. Use the same, or start anew.',
    );
  }
  if (saved.identity.adapter !== run.identity.adapter) {
    throw new CheckpointError(folder, `the run trained another adapter: ${saved.identity.adapter}.`);
  }
  refuseOtherSettings(folder, saved.settings, decisiveSettings(settings, run.totalSteps));
  trainer.restore(snapshot);
  const history = (state.log_history as Record<string, number>[]).map(
    ({ step, ...metrics }): SftLogEntry => ({ step: step! - 1, metrics }),
  );
  run.log.restore(history, saved.statistics);
}
