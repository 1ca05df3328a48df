import { type CausalLM, ValueModel } from '@posttrain/lm';
import { mergeAdapter } from '@posttrain/peft';
import { dpo, dpoLoss, policyObjectives, trainPolicy, valueModelCritic } from '@posttrain/rl';
import { distill, type StepMetrics, sft, type Trainer } from '@posttrain/training';
import { beforeAll, describe, expect, it } from 'vitest';
import { distillLoop } from './distill.js';
import { dpoLoop } from './dpo.js';
import { grpoLoop } from './grpo.js';
import { ppoLoop } from './ppo.js';
import { sftLoop } from './sft.js';
import { isRight, loadModel, newAdapter, sums, tunedAdapter } from './task.js';

let model: CausalLM;
beforeAll(async () => {
  model = await loadModel();
});

/** The trained numbers, by name. */
async function parametersOf(trainer: Trainer): Promise<Record<string, number[]>> {
  const read = async ([name, tensor]: [string, Trainer['parameters'][string]]) =>
    [name, Array.from((await tensor.data()) as Float32Array)] as const;
  return Object.fromEntries(await Promise.all(Object.entries(trainer.parameters).map(read)));
}

const column = (history: readonly StepMetrics[], name: string) => history.map(({ metrics }) => metrics[name]!);

/** What a loop and a trainer of the library came to. */
interface Both {
  readonly loop: { readonly trainer: Trainer; readonly losses: readonly number[] };
  readonly library: { readonly trainer: Trainer; readonly losses: readonly number[] };
}

const loops: Record<string, () => Promise<Both>> = {
  async sft() {
    const shared = { model, rows: sums(10), epochs: 2, batchSize: 4, learningRate: 1e-3, maxLength: 64, seed: 7 };
    const losses: number[] = [];
    const onStep = (_: number, loss: number) => losses.push(loss);
    const trainer = await sftLoop({ ...shared, adapter: await newAdapter(model), onStep });
    const result = await sft({ ...shared, adapter: await newAdapter(model), loggingSteps: 1 });
    return {
      loop: { trainer, losses },
      library: { trainer: result.trainer, losses: column(result.history, 'loss') },
    };
  },
  async dpo() {
    const shared = { model, rows: sums(5), epochs: 2, batchSize: 2, learningRate: 1e-3, maxLength: 64, seed: 7 };
    const losses: number[] = [];
    const onStep = (_: number, loss: number) => losses.push(loss);
    const trainer = await dpoLoop({ ...shared, beta: 0.3, adapter: await newAdapter(model), onStep });
    const result = await dpo({ ...shared, loss: dpoLoss({ beta: 0.3 }), adapter: await newAdapter(model) });
    return {
      loop: { trainer, losses },
      library: { trainer: result.trainer, losses: column(result.history, 'loss') },
    };
  },
  async grpo() {
    // Few of its answers are right, so how many digits it writes is a reward too: there must be something to learn.
    const shared = {
      ...{
        model,
        rows: sums(6),
        rewards: { right: isRight, digits: (text: string) => text.replace(/\D/g, '').length / 10 },
        steps: 3,
        promptsPerStep: 4,
        completionsPerPrompt: 4,
      },
      ...{ learningRate: 3e-3, seed: 7 },
    };
    const losses: number[] = [];
    const onStep = (_: number, loss: number) => losses.push(loss);
    const own = { beta: 0.1, maxTokens: 44, onStep };
    const tuned = await tunedAdapter(model);
    const trainer = await grpoLoop({ ...shared, ...own, adapter: tuned });
    const objective = policyObjectives.grpo({ beta: 0.1 });
    const result = await trainPolicy({ ...shared, objective, adapter: tuned, maxCompletionLength: 44 });
    expect(column(result.history, 'reward_std').some((deviation) => deviation > 0)).toBe(true);
    return {
      loop: { trainer, losses },
      library: { trainer: result.trainer, losses: column(result.history, 'loss') },
    };
  },
  async ppo() {
    const shared = {
      ...{ model, rows: sums(6), rewards: { digits: (text: string) => text.replace(/\D/g, '').length / 10 }, steps: 3 },
      ...{ promptsPerStep: 2, completionsPerPrompt: 3, learningRate: 3e-3, seed: 7 },
    };
    const losses: number[] = [];
    const onStep = (_: number, loss: number) => losses.push(loss);
    const [beta, discounts, epochs] = [0.1, { gamma: 0.99, lambda: 0.9 }, 2];
    const own = { beta, discounts, epochs, maxTokens: 12, onStep };
    const trainer = await ppoLoop({ ...shared, ...own, adapter: await newAdapter(model) });
    const critic = await valueModelCritic(await ValueModel.fromCausalLM(model, { seed: 7 }), {
      ...{ learningRate: 3e-3, iterationsPerBatch: epochs },
    });
    const objective = policyObjectives.ppo({ critic, beta, ...discounts });
    const adapter = await newAdapter(model);
    const settings = { objective, adapter, maxCompletionLength: 12, iterationsPerBatch: epochs };
    const result = await trainPolicy({ ...shared, ...settings });
    return {
      loop: { trainer, losses },
      library: { trainer: result.trainer, losses: column(result.history, 'loss') },
    };
  },
  async distill() {
    const { model: teacher } = await mergeAdapter(model, await tunedAdapter(model));
    const rows = sums(5).map(({ prompt }) => ({ prompt }));
    const shared = {
      model,
      teacher,
      rows,
      beta: 0.5,
      epochs: 2,
      batchSize: 3,
      learningRate: 1e-3,
      seed: 7,
    };
    const losses: number[] = [];
    const onStep = (_: number, loss: number) => losses.push(loss);
    const trainer = await distillLoop({ ...shared, maxTokens: 12, adapter: await newAdapter(model), onStep });
    const adapter = await newAdapter(model);
    const result = await distill({ ...shared, lmbda: 1, temperature: 1, maxCompletionLength: 12, adapter });
    return {
      loop: { trainer, losses },
      library: { trainer: result.trainer, losses: column(result.history, 'loss') },
    };
  },
};

describe('a loop of this folder and the trainer of the library', () => {
  it.each(Object.entries(loops))('%s: come to the same losses and weights, bit for bit', async (_, both) => {
    const before = await parametersOf({ parameters: (await newAdapter(model)).parameters } as Trainer);
    const { loop, library } = await both();
    expect(loop.losses.length).toBeGreaterThan(2);
    expect(loop.losses).toEqual(library.losses);
    const trained = await parametersOf(loop.trainer);
    expect(trained).toEqual(await parametersOf(library.trainer));
    expect(trained).not.toEqual(before);
  });
});
