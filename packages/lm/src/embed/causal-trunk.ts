import { currentEngine } from '@posttrain/core-tensor';
import { openSafetensorsFolder } from '@posttrain/core-tensor/io';
import { loadModelConfig } from '../config/index.js';
import { CausalLM, checkVocabulary } from '../model/causal-lm.js';
import { outputLayerIn, storedName } from '../model/stored-names.js';
import { readWeights } from '../model/weights.js';
import { Tokenizer } from '../tokenizer/index.js';
import type { EmbeddingModel } from './local-embedder.js';

/**
 * Loads what embeds of a causal model's folder. Some embedders (Qwen3-Embedding 4B and 8B) have configs of a model with an output layer of
 * its own, and files without it: it is not read here, so that nothing is missing.
 */
export async function loadCausalTrunk(folder: string): Promise<EmbeddingModel> {
  const config = await loadModelConfig(folder);
  if (config.head || config.tieWordEmbeddings) return CausalLM.load(folder);
  const engine = currentEngine();
  const source = await openSafetensorsFolder(folder);
  if (storedName(outputLayerIn(config), source.tensors) !== undefined) {
    await source.close();
    return CausalLM.load(folder);
  }
  const { weights, network } = await readWeights(
    { config: { ...config, tieWordEmbeddings: true }, source },
    { engine },
    folder,
  );
  const tokenizer = await Tokenizer.load(folder);
  checkVocabulary({ name: folder, tokenizer, config });
  return { name: folder, weights, network, tokenizer };
}
