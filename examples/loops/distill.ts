import { Key } from '@posttrain/core-tensor';
import { LocalGenerator, promptTokens } from '@posttrain/lm';
import { distillation, RowOrder, Trainer, toTrainingRows } from '@posttrain/training';
import type { DistillLoop } from './options.js';

/** On-policy distillation (GKD, arXiv 2306.13649, λ = 1): what `distill` does, without what is the same in every run. */
export async function distillLoop({ model, adapter, teacher, rows, seed, ...options }: DistillLoop): Promise<Trainer> {
  const { beta, epochs, batchSize, maxTokens, learningRate, onStep } = options;
  const trainer = await Trainer.create(model, { adapter, seed, optimizer: 'adamw_torch' });
  // The teacher runs in the same pass; chunk by chunk over the vocabulary.
  const loss = distillation({ teacher, beta });

  const prompts = rows.map(({ prompt }) => promptTokens(model, prompt));
  const order = new RowOrder(prompts.length, seed);
  const stepsPerEpoch = Math.ceil(prompts.length / batchSize);
  const steps = epochs * stepsPerEpoch;

  for (let step = 0; step < steps; step++) {
    const [epoch, position] = [Math.floor(step / stepsPerEpoch), (step % stepsPerEpoch) * batchSize];
    const size = Math.min(batchSize, prompts.length - position);
    const chosen = Array.from({ length: size }, (_, i) => prompts[order.at(epoch * prompts.length + position + i)]!);

    // The student's own completions, from its weights as they are now: where it goes, it learns what the teacher would say.
    const student = new LocalGenerator(trainer.model, { adapter: () => trainer.adapter, packWeights: 'at-once' });
    const key = Key.fromSeed(seed).child(step).child(0);
    const firstSeed = key.uniformHost(1)[0]! * 2 ** 48;
    const sampled = await student.generate(
      chosen.map((tokenIds, i) => {
        return { prompt: { tokenIds, continuesText: false }, maxTokens, temperature: 1, seed: firstSeed + i };
      }),
    );
    const batch = chosen.map((prompt, i) => {
      const completion = sampled[i]![0]!.tokenIds!;
      return { tokens: [...prompt, ...completion], mask: [...prompt.map(() => 0), ...completion.map(() => 1)] };
    });

    // The mean over sampled tokens of the divergence of the two next-token distributions.
    const { loss: value } = await trainer.forwardBackward(toTrainingRows(batch), loss);
    await trainer.optimStep({ learningRate: learningRate * (1 - step / steps) });
    onStep?.(step, value);
  }
  return trainer;
}
