import { boolean, number } from '@posttrain/interfaces';
import type { MergeParts, MergeTensor } from './merge-method.js';

/** What of a task vector τ = θᵢ − θ₀ stays: in place, for the numbers of one part, which come from first to last. */
export type Sparsify = (difference: Float32Array, from: number, model: number) => void;

/** Parameters that all merges of task vectors have. */
export const taskVectorOptions = (normalize: boolean) => ({
  /** Divide by Σ wᵢ (with a vote of signs: of those that have the sign). Defaults are the paper's. */
  normalize: boolean({ default: normalize }),
  /** λ, by which the sum of the task vectors is multiplied. Default 1. */
  lambda: number({ default: 1 }),
});

/** Parameters of each model. */
export const weightOption = {
  /** wᵢ. Default 1. */
  weight: number({ default: 1 }),
};

/** The fraction of a task vector that stays. */
export const densityOption = {
  /** Fraction of the numbers of τᵢ that stay. Default 1. */
  density: number({ default: 1, min: 0, max: 1 }),
};

interface TaskVectorMerge {
  readonly weights: readonly number[];
  readonly normalize: boolean;
  readonly lambda: number;
  /** Only differences whose sign is that of Σ wᵢτᵢ (0 counts as positive) are added up: TIES's election. */
  readonly elect: boolean;
  readonly sparsify?: Sparsify;
}

const NEARLY_ZERO = 1e-8;

/** θ = θ₀ + λ·Σ wᵢτᵢ (/ Σ wᵢ), where τᵢ is what `sparsify` leaves of θᵢ − θ₀, in float32. */
export function mergeTaskVectors({ weights, normalize, lambda, elect, sparsify }: TaskVectorMerge): MergeParts {
  return ({ from, base, models }) => {
    const differences = models.map((model, i) => {
      const difference = model.map((x, j) => x - base[j]!);
      sparsify?.(difference, from, i);
      return difference;
    });
    const merged = new Float64Array(base.length);
    for (let j = 0; j < merged.length; j++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i]! * differences[i]![j]!;
      let divisor = 0;
      if (elect) {
        const sign = sum >= 0 ? 1 : -1;
        sum = 0;
        for (let i = 0; i < weights.length; i++) {
          const vote = weights[i]! * differences[i]![j]!;
          if (Math.sign(vote) !== sign) continue;
          sum += vote;
          divisor += weights[i]!;
        }
      } else for (const weight of weights) divisor += weight;
      const scale = normalize && Math.abs(divisor) > NEARLY_ZERO ? 1 / divisor : 1;
      merged[j] = base[j]! + lambda * sum * scale;
    }
    return merged;
  };
}

/** |θᵢ − θ₀| of one model, part by part. */
export async function* magnitudes(tensor: MergeTensor, model: number): AsyncGenerator<Float32Array> {
  for await (const { base, models } of tensor.parts()) yield models[model]!.map((x, i) => Math.abs(x - base[i]!));
}
