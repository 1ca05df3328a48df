import type { CausalLM } from '@posttrain/lm';
import { createAdapter, lora, type PeftAdapter } from '@posttrain/peft';
import type { TrainableAdapter } from '@posttrain/training';
import { describe, expect, it } from 'vitest';
import { dpo, type PromptRow, policyObjectives, trainPolicy } from '../src/index.js';
import { fractionOfC, prompts, toyModel } from './toy.js';

describe('GRPO with PiSSA', () => {
  const grpo = async (reference: 'default' | 'as it was made' | 'of another adapter', steps = 8) => {
    const model = await toyModel(1);
    const adapter = await createAdapter(model, lora, { r: 4, initLoraWeights: 'pissa', targetModules: 'all-linear' });
    const other = await createAdapter(model, lora, { r: 4, initLoraWeights: false, targetModules: 'all-linear' });
    return trainPolicy<PromptRow>({
      model,
      adapter: reference === 'of another adapter' ? { ...adapter, reference: other } : adapter,
      rows: prompts,
      objective: policyObjectives.grpo({ beta: 0.1 }),
      rewards: { fraction_of_c: (text: string) => fractionOfC(text) },
      ...(reference === 'as it was made' && { reference: adapter.reference! }),
      ...{ steps, promptsPerStep: 2, completionsPerPrompt: 4, maxCompletionLength: 5, learningRate: 0.01, seed: 1 },
    });
  };

  it.each(['default', 'as it was made'] as const)(
    'has a KL of 0 to the original model at step 0, and leaves it later (reference: %s)',
    async (reference) => {
      const { history } = await grpo(reference);
      expect(Math.abs(history[0]!.metrics.kl!)).toBeLessThan(1e-6);
      expect(history.at(-1)!.metrics.kl!).toBeGreaterThan(1e-4);
    },
  );

  it('is compared with what its adapter says it starts from', async () => {
    const kl = async (...of: Parameters<typeof grpo>) => (await grpo(...of)).history[0]!.metrics.kl!;
    expect(await kl('default', 1)).toBe(await kl('as it was made', 1));
    expect(Math.abs(await kl('of another adapter', 1))).toBeGreaterThan(1e-3);
  });
});

const shifted = ({ parameters }: PeftAdapter) =>
  Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, value.mul(1.1)]));

describe('DPO with PiSSA', () => {
  const rows = ['a', 'b', 'd', 'e'].map((letter) => ({
    prompt: `${letter}ab`,
    chosen: 'cc',
    rejected: letter.repeat(3),
  }));
  const run = (model: CausalLM, adapter: TrainableAdapter) =>
    dpo({ model, adapter, rows, batchSize: 4, epochs: 2, learningRate: 0.01, schedule: 'constant' });

  it('compares with the adapter as it was made: no difference at step 0', async () => {
    const model = await toyModel(3);
    const adapter = await createAdapter(model, lora, { r: 4, initLoraWeights: 'pissa', targetModules: 'all-linear' });
    const { history } = await run(model, adapter);
    expect(Math.abs(history[0]!.metrics['rewards/margins']!)).toBeLessThan(1e-6);
    expect(history[0]!.metrics.loss).toBeCloseTo(Math.log(2), 6);
    expect(Math.abs(history.at(-1)!.metrics['rewards/margins']!)).toBeGreaterThan(1e-3);
    // The base that PiSSA takes its factors out of is another model.
    const moved: TrainableAdapter = { ...adapter, reference: { ...adapter.reference!, parameters: shifted(adapter) } };
    const other = await run(model, moved);
    expect(Math.abs(other.history[0]!.metrics['rewards/chosen']!)).toBeGreaterThan(1e-4);
  });
});
