// A small language model that knows series of numbers and nothing else, pretrained from nothing.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { adamW } from '@posttrain/core-tensor/optim';
import { createRandom } from '@posttrain/interfaces/random';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { serializeSeries } from '@posttrain/rl';
import { negativeLogLikelihood, Trainer } from '@posttrain/training';
import { LENGTH, series } from './series.js';

/** Digits of a number; each number is one token, as in Llama 3. */
export const DIGITS = 2;

const SINGLE = [...'0123456789'];
const PAIRS = SINGLE.flatMap((a) => SINGLE.map((b) => [a, b] as const));
const vocabulary = [...SINGLE, ',', ...PAIRS.map(([a, b]) => a + b)];
const tokenizer = new Tokenizer({
  tokenizer: {
    version: '1.0',
    added_tokens: [],
    decoder: { type: 'Fuse' },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
      merges: PAIRS.map(([a, b]) => `${a} ${b}`),
    },
  },
  config: {},
});

const config = parseModelConfig({
  ...{ model_type: 'llama', vocab_size: vocabulary.length, hidden_size: 32, intermediate_size: 64 },
  ...{
    num_hidden_layers: 3,
    num_attention_heads: 2,
    max_position_embeddings: 2 * LENGTH + 32,
    initializer_range: 0.05,
  },
});

export const PRETRAINING = { steps: 600, rowsPerStep: 16, learningRate: 5e-3 } as const;

/** The model after `steps` updates, from a folder beside this file where an earlier call has left it. */
export async function seriesModel(seed: number, steps: number = PRETRAINING.steps): Promise<CausalLM> {
  const folder = join(import.meta.dirname, 'pretrained', `${seed}-${steps}`);
  if (existsSync(join(folder, 'config.json'))) return CausalLM.load(folder);
  const random = createRandom(seed, 'pretraining');
  const model = await CausalLM.initialize({ config, tokenizer, name: `series ${seed}` }, seed);
  const { rowsPerStep, learningRate } = PRETRAINING;
  const trainer = await Trainer.create(model, {
    optimizer: adamW({ beta2: 0.98, weightDecay: 0.1 }),
    maxTokensPerPass: rowsPerStep * 2 * LENGTH,
  });
  for (let step = 0; step < steps; step++) {
    const rows = Array.from({ length: rowsPerStep }, () => {
      const { digits } = serializeSeries(series(random, LENGTH), { digits: DIGITS });
      const tokens = tokenizer.encode(`${digits.map((number) => number.join('')).join(',')},`);
      // A comma follows every number: only the numbers are learnt.
      const weights = Float32Array.from(
        { length: tokens.length - 1 },
        (_, i) => (i % 2) / (rowsPerStep * (LENGTH - 1)),
      );
      return { tokens, weights };
    });
    const { loss } = await trainer.forwardBackward(rows, negativeLogLikelihood);
    const warm = Math.min(1, (step + 1) / 100);
    const decay = Math.max(0.02, Math.min(1, (steps - step) / (0.5 * steps)));
    await trainer.optimStep({ learningRate: learningRate * warm * decay });
    if ((step + 1) % 100 === 0)
      console.error(`pretraining, seed ${seed}: step ${step + 1}, ${loss.toFixed(3)} nats a number`);
  }
  await trainer.model.save(folder);
  return trainer.model;
}
