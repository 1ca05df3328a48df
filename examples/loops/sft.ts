import { negativeLogLikelihood, RowOrder, Trainer, tokenizeRows, toTrainingRows } from '@posttrain/training';
import type { SftLoop } from './options.js';

/** Supervised fine-tuning: what `sft` does, without what is the same in every run. */
export async function sftLoop({ model, adapter, rows, seed, ...options }: SftLoop): Promise<Trainer> {
  const { epochs, batchSize, learningRate, maxLength, onStep } = options;
  const trainer = await Trainer.create(model, { adapter, seed, optimizer: 'adamw_torch' });

  // Tokens, and a mask of those that are trained: the completions'.
  const { rows: tokenized } = tokenizeRows(model, rows, { maxLength });
  const order = new RowOrder(tokenized.length, seed);
  const stepsPerEpoch = Math.ceil(tokenized.length / batchSize);
  const steps = epochs * stepsPerEpoch;

  for (let step = 0; step < steps; step++) {
    const [epoch, position] = [Math.floor(step / stepsPerEpoch), (step % stepsPerEpoch) * batchSize];
    const size = Math.min(batchSize, tokenized.length - position);
    const chosen = Array.from({ length: size }, (_, i) => order.at(epoch * tokenized.length + position + i));

    // Every trained token weighs 1 / (the trained tokens of the batch), so the loss is their mean however rows are split.
    const batch = toTrainingRows(chosen.map((i) => tokenized[i]!));
    const { loss } = await trainer.forwardBackward(batch, negativeLogLikelihood);
    await trainer.optimStep({ learningRate: learningRate * (1 - step / steps) });
    onStep?.(step, loss);
  }
  return trainer;
}
