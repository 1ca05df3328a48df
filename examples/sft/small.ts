/** What the studies share: a small model with random weights, how it is tuned, and what it knows. */
import { join } from 'node:path';
import { CausalLM, LocalGenerator, parseModelConfig, Tokenizer } from '@posttrain/lm';
import {
  negativeLogLikelihood,
  predictions,
  type SftOptions,
  type SftRow,
  sft,
  Trainer,
  tokenizeRows,
  toTrainingRows,
} from '@posttrain/training';

/** A row of texts. */
export interface TextRow extends Record<string, unknown> {
  readonly prompt: string;
  readonly completion: string;
}

/** A model of two blocks, with the letters of `pretrain-tiny` as its tokens. */
export async function smallModel(seed: number, context = 128): Promise<CausalLM> {
  const tokenizer = await Tokenizer.load(join(import.meta.dirname, '..', 'pretrain-tiny', 'model'));
  const config = parseModelConfig({
    ...{ model_type: 'llama', vocab_size: 103, hidden_size: 48, intermediate_size: 96, num_hidden_layers: 2 },
    ...{ num_attention_heads: 4, max_position_embeddings: context, initializer_range: 0.08, eos_token_id: 5 },
    tie_word_embeddings: false,
  });
  return CausalLM.initialize({ config, tokenizer, name: 'small' }, seed);
}

/** `sft` as the studies have it: 16 rows an update, a cosine from 4e-3, rows that come twice are meant. */
export function tune(options: SftOptions & { readonly steps: number }) {
  const shared = { batchSize: 16, learningRate: 4e-3, schedule: 'cosine', onWarning: () => {} } as const;
  return sft({ ...shared, warmupSteps: Math.min(8, options.steps - 1), ...options });
}

/** -log p of a trained token, in nats. */
export async function lossOn(model: CausalLM, rows: readonly SftRow[]): Promise<number> {
  const trainer = await Trainer.create(model, { optimizer: 'sgd' });
  return (await trainer.evaluate(toTrainingRows(tokenizeRows(model, rows).rows), negativeLogLikelihood)).loss;
}

/** The probability of each row's completion, end token and all: pass@1 of a sampler, without sampling. */
export async function probabilitiesOf(model: CausalLM, rows: readonly TextRow[]): Promise<number[]> {
  const trainer = await Trainer.create(model, { optimizer: 'sgd' });
  const training = toTrainingRows(tokenizeRows(model, rows).rows);
  const { logProbs } = await trainer.read(training, predictions());
  return training.map(({ weights }, i) =>
    Math.exp(Array.from(weights, (weight, t) => (weight > 0 ? logProbs![i]![t]! : 0)).reduce((a, b) => a + b, 0)),
  );
}

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** The most likely completions. */
export async function answersOf(model: CausalLM, prompts: readonly string[], maxTokens: number): Promise<string[]> {
  const requests = prompts.map((prompt) => ({ prompt, maxTokens, temperature: 0 }));
  return (await new LocalGenerator(model).generate(requests)).map(([one]) => one!.text);
}
