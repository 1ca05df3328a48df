import { join } from 'node:path';
import { writeSafetensors } from '@posttrain/core-tensor/io';
import type { Named } from '@posttrain/core-tensor/optim';
import { type ModelConfig, saveWeights } from '@posttrain/lm';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';
import { tensorsToWrite } from './checkpoint.js';

/**
 * Writes what a trainer has trained, as it is now or with other `parameters`: the adapter; without one the model, with its tokenizer where it
 * has the files of one; of a model that has no `save`, its parameters as model.safetensors.
 */
export async function saveTrained(
  folder: string,
  trainer: Trainer<TrainableModel>,
  adapter: TrainableAdapter | undefined,
  parameters: Named = trainer.parameters,
): Promise<void> {
  if (adapter) return adapter.save(folder, parameters);
  const model = trainer.model.withWeights(parameters);
  if (!model.save) {
    await writeSafetensors(join(folder, 'model.safetensors'), tensorsToWrite(folder, parameters));
    return;
  }
  // A language model whose tokenizer has no files.
  if (model.tokenizer && model.tokenizer.folder === undefined) {
    return saveWeights(folder, model.config as ModelConfig, model.weights);
  }
  return model.save(folder);
}

/** What a trainer that is one of several of a run trains, by its adapter where it has one that can be saved. */
export function saveOther(folder: string, trainer: Trainer<TrainableModel>): Promise<void> {
  const { adapter } = trainer;
  return saveTrained(folder, trainer, 'save' in adapter ? (adapter as TrainableAdapter) : undefined);
}
