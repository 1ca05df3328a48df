import { Key } from '@posttrain/core-tensor';
import { CausalLM, parseModelConfig } from '@posttrain/lm';
import { tokenizer } from '../../rl/test/toy.js';

/**
 * A model of two small blocks with random weights over the letters a to g and an end token; more `spread`, surer of
 * what follows.
 */
export function lettersModel(seed: number, spread = 0.2): Promise<CausalLM> {
  const config = parseModelConfig({
    ...{ model_type: 'llama', vocab_size: 8, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2 },
    ...{ num_attention_heads: 2, max_position_embeddings: 32, initializer_range: spread, eos_token_id: 7 },
  });
  return CausalLM.initialize({ config, tokenizer, name: 'letters' }, seed);
}

/** Numbers from 0 to 1, the same for a seed. */
export function drawing(seed: number): () => number {
  const numbers = Key.fromSeed(seed).uniformHost(1 << 14);
  let at = 0;
  return () => numbers[at++]!;
}

/**
 * The mean of differences of a run and its control over three seeds, and the lower end of its 95 % interval (Student,
 * 2 degrees).
 */
export function gainOf(differences: readonly number[]): { readonly mean: number; readonly low: number } {
  if (differences.length !== 3) throw new Error(`three seeds, not ${differences.length}`);
  const mean = differences.reduce((a, b) => a + b, 0) / 3;
  const variance = differences.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2;
  return { mean, low: mean - 4.303 * Math.sqrt(variance / 3) };
}
