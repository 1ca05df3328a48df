import { saveWeights } from '@posttrain/lm';
import { type PeftAdapter, withAdapterParameters } from '../adapters/adapter.js';
import { saveAdapter } from '../adapters/adapter-files.js';
import type { Trainer } from './trainer.js';

/**
 * Writes what a trainer has trained, as it is now: the adapter; without one the model, with its tokenizer where it has
 * the files of one.
 */
export async function saveTrained(folder: string, trainer: Trainer, adapter: PeftAdapter | undefined): Promise<void> {
  if (adapter) return saveAdapter(folder, withAdapterParameters(adapter, trainer.parameters));
  const { model } = trainer;
  if (model.tokenizer.folder !== undefined) return model.save(folder);
  return saveWeights(folder, model.config, model.weights);
}
