import { options, type Read } from '@posttrain/interfaces';
import type { MergeMethod } from './merge-method.js';
import { mergeTaskVectors, taskVectorOptions, weightOption } from './task-vectors.js';

const taskArithmeticOptions = options('task_arithmetic', taskVectorOptions(false));
const modelOptions = options('task_arithmetic', weightOption);

/** Task arithmetic (arXiv 2212.04089): θ = θ₀ + λ·Σ wᵢτᵢ with τᵢ = θᵢ − θ₀. A negative weight unlearns a task. */
export const taskArithmetic: MergeMethod<Read<typeof taskArithmeticOptions>, Read<typeof modelOptions>> = {
  name: 'task_arithmetic',
  base: 'needed',
  models: { min: 1 },
  options: taskArithmeticOptions,
  modelOptions,
  merge: (_tensor, { normalize, lambda }, each) =>
    mergeTaskVectors({ weights: each.map(({ weight }) => weight), normalize, lambda, elect: false }),
};
