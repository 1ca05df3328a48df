import { saveWeights } from '@posttrain/lm';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { Trainer } from '../trainer/trainer.js';

/**
 * Writes what a trainer has trained, as it is now: the adapter; without one the model, with its tokenizer where it has
 * the files of one.
 */
export async function saveTrained(
  folder: string,
  trainer: Trainer,
  adapter: TrainableAdapter | undefined,
): Promise<void> {
  if (adapter) return adapter.save(folder, trainer.parameters);
  const { model } = trainer;
  if (model.tokenizer.folder !== undefined) return model.save(folder);
  return saveWeights(folder, model.config, model.weights);
}
