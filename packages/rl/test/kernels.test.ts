import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { SequenceClassifier } from '@posttrain/lm';
import { distill, sft, trainRewardModel } from '@posttrain/training';
import { afterAll, expect, it } from 'vitest';
import { dpo, policyObjectives, trainPolicy } from '../src/index.js';
import { fractionOfC, prompts, toyModel } from './toy.js';

// Both ways: steps of every trainer with every product by the kernels of our own, however small, and by ONNX Runtime's.
const shared = { batchSize: 4, learningRate: 0.01, onWarning: () => {} } as const;
const pairs = ['a', 'b', 'd', 'e'].map((letter) => ({
  prompt: `${letter}ab`,
  chosen: 'cc',
  rejected: letter.repeat(3),
}));
const texts = pairs.map(({ prompt, chosen }) => ({ prompt, completion: chosen }));

type Run = () => Promise<{ readonly history: readonly { readonly metrics: Readonly<Record<string, number>> }[] }>;
const trainers: Readonly<Record<string, Run>> = {
  sft: async () => sft({ ...shared, model: await toyModel(3), rows: texts, steps: 2 }),
  dpo: async () => dpo({ ...shared, model: await toyModel(3), rows: pairs, steps: 2 }),
  distill: async () =>
    distill({ ...shared, model: await toyModel(3), teacher: await toyModel(5), rows: texts, lmbda: 0, steps: 2 }),
  trainRewardModel: async () =>
    trainRewardModel({
      ...{ ...shared, rows: pairs, epochs: 2 },
      model: await SequenceClassifier.fromCausalLM(await toyModel(3), { seed: 1 }),
    }),
  trainPolicy: async () =>
    trainPolicy({
      ...{ model: await toyModel(3), rows: prompts, steps: 2, seed: 1, learningRate: 0.01 },
      ...{ objective: policyObjectives.grpo(), rewards: { fraction_of_c: (text: string) => fractionOfC(text) } },
      ...{ promptsPerStep: 2, completionsPerPrompt: 4, maxCompletionLength: 5, onWarning: () => {} },
    }),
};

afterAll(() => setEngine(onnxruntimeEngine()));

it.each(Object.entries(trainers))('%s is the same with the kernels and without', async (_, train) => {
  const ways: (readonly number[])[] = [];
  for (const cpuKernels of ['off', 'plain'] as const) {
    const ops = new Set<string>();
    setEngine(onnxruntimeEngine({ cpuKernels, onAssignment: (nodes) => nodes.forEach(({ op }) => void ops.add(op)) }));
    const { history } = await train();
    // The second step begins where the first one's update has left the weights.
    ways.push(history.flatMap(({ metrics }) => [metrics.loss!, metrics.grad_norm!]));
    expect(ops.has('Product')).toBe(cpuKernels === 'plain');
  }
  const [without, withThem] = ways as [number[], number[]];
  expect(without.length).toBe(4);
  withThem.forEach((x, i) => {
    expect(Math.abs(x - without[i]!)).toBeLessThan(1e-4 * Math.max(1, Math.abs(without[i]!)));
  });
});
