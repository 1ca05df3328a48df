import { createHash } from 'node:crypto';
import { saveWeights } from '@posttrain/lm';
import { withAdapterParameters } from '../adapters/adapter.js';
import { saveAdapter } from '../adapters/adapter-files.js';
import { CheckpointError, latestCheckpoint, loadCheckpoint, saveCheckpoint } from '../training/checkpoint.js';
import type { Trainer } from '../training/trainer.js';
import type { RunLog, RunStatistics } from './run-log.js';
import type { SftLogEntry, SftSettings } from './sft-options.js';
import type { TokenizedRow } from './tokenize-rows.js';

/** What must be the same for a run to go on as if nothing had happened. */
interface Identity {
  /** Hash of the tokenized rows and everything that decides their order. */
  readonly data: string;
  readonly adapter: string;
}

export function identityOf(settings: SftSettings, rows: readonly TokenizedRow[]): Identity {
  const { batchSize, seed, adapter } = settings;
  const hash = createHash('sha256').update(JSON.stringify({ batchSize, seed }));
  for (const row of rows) hash.update(JSON.stringify(row));
  const method = adapter && { peftType: adapter.method.peftType, ...adapter.config };
  return { data: hash.digest('hex'), adapter: JSON.stringify(method ?? null) };
}

/** Writes `checkpoint-<step>` of a run, with the fields of Hugging Face's trainer_state.json. */
export async function saveSftCheckpoint(
  trainer: Trainer,
  settings: SftSettings,
  run: { log: RunLog; identity: Identity; epoch: number; totalSteps: number },
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
      posttrain: { identity: run.identity, statistics },
    },
    async writeModel(folder) {
      if (adapter) return saveAdapter(folder, withAdapterParameters(adapter, trainer.parameters));
      const { model } = trainer;
      if (model.tokenizer.folder !== undefined) return model.save(folder);
      return saveWeights(folder, model.config, model.weights);
    },
  });
}

/** Puts trainer and log where a checkpoint left them. @throws CheckpointError when it is of another run */
export async function resumeSft(
  trainer: Trainer,
  { resume, outputFolder }: SftSettings,
  run: { log: RunLog; identity: Identity },
): Promise<void> {
  const folder = resume === true ? await latestCheckpoint(outputFolder!) : resume;
  if (!folder) return;
  const { snapshot, state } = await loadCheckpoint(folder);
  const saved = state.posttrain as { identity: Identity; statistics: RunStatistics } | undefined;
  if (!saved) throw new CheckpointError(folder, 'was not written by sft.');
  if (saved.identity.data !== run.identity.data) {
    throw new CheckpointError(
      folder,
      'the run had other rows, another tokenizer, batchSize, seed or packing, so it cannot go on with these. Use the same, or start anew.',
    );
  }
  if (saved.identity.adapter !== run.identity.adapter) {
    throw new CheckpointError(folder, `the run trained another adapter: ${saved.identity.adapter}.`);
  }
  trainer.restore(snapshot);
  const history = (state.log_history as Record<string, number>[]).map(
    ({ step, ...metrics }): SftLogEntry => ({ step: step! - 1, metrics }),
  );
  run.log.restore(history, saved.statistics);
}
