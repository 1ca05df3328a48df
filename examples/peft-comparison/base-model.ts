/** The base model of a seed: a Qwen2 (whose biases BitFit trains) of 0.1 million parameters over characters, made here and kept in `runs/`. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { createRandom } from '@posttrain/interfaces/random';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { sft } from '@posttrain/training';
import { corpus } from './tasks.js';

/** Its config.json. */
export const CONFIG = {
  ...{ model_type: 'qwen2', vocab_size: 103, hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2 },
  ...{ num_attention_heads: 4, max_position_embeddings: 64, initializer_range: 0.08, eos_token_id: 5 },
  tie_word_embeddings: false,
};

/** The base of a seed, from its folder where there is one. */
export async function baseModel(seed: number, steps: number, runs?: string): Promise<CausalLM> {
  const folder = runs && join(runs, `base-${seed}`);
  if (
    folder &&
    (await access(join(folder, 'config.json')).then(
      () => true,
      () => false,
    ))
  )
    return CausalLM.load(folder);
  const tokenizer = await Tokenizer.load(join(import.meta.dirname, '..', 'pretrain-tiny', 'model'));
  const config = parseModelConfig(CONFIG);
  const random = createRandom(seed, 'corpus');
  const { trainer } = await sft({
    model: await CausalLM.initialize({ config, tokenizer, name: 'base' }, seed),
    rows: corpus(random, 8 * steps),
    ...{ steps, batchSize: 32, learningRate: 4e-3, schedule: 'cosine', warmupSteps: Math.ceil(steps / 20), seed },
    // Rows that are there several times are meant.
    onWarning: () => {},
  });
  if (folder) await trainer.model.save(folder);
  return trainer.model;
}
