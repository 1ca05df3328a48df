import { join } from 'node:path';
import { CausalLM } from '@posttrain/lm';
import { createAdapter, lora, mergeAdapter } from '@posttrain/peft';
import { sft } from '@posttrain/training';
import { problemRows } from '../pretrain-tiny/problem.js';

/** The tiny model of ../pretrain-tiny, fine-tuned on worked sums with LoRA, the adapter merged. */
export async function fineTunedModel(steps: number, onStep: (step: number, loss: number) => void): Promise<CausalLM> {
  const model = await CausalLM.load(join(import.meta.dirname, '..', 'pretrain-tiny', 'model'));
  const adapter = await createAdapter(model, lora, { r: 8, loraAlpha: 16, targetModules: 'all-linear' }, { seed: 0 });
  const rows = problemRows({ split: 'train', count: 16 * steps, seed: 1 });
  const { adapter: tuned } = await sft({
    model,
    adapter,
    rows: rows.map(({ prompt, completion }) => ({
      prompt: [{ role: 'user', content: prompt }],
      completion: [{ role: 'assistant', content: completion }],
    })),
    ...{ steps, batchSize: 16, learningRate: 1e-3, warmupSteps: Math.min(5, steps), loggingSteps: 1, seed: 0 },
    onProgress: ({ done, metrics }) => onStep(done, metrics?.loss ?? Number.NaN),
  });
  return (await mergeAdapter(model, tuned!)).model;
}
