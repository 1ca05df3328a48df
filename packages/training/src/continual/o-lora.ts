import { scalar, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import type { Penalty } from '../trainer/penalty.js';

/** What is known of the LoRA adapters of earlier tasks. */
export interface OLoraOptions {
  /** Parameters of the adapter of each earlier task, by PEFT's keys; their `lora_A.weight` [r, in] are read. */
  readonly earlier: readonly Named[];
  /** λ, how much it counts that the new directions are others. */
  readonly lambda: number;
}

const FACTOR = '.lora_A.weight';

const overlap = (parameters: Named, { lambda, ...earlier }: Named): Tensor => {
  const terms = Object.entries(earlier).map(([name, a]) => {
    const own = parameters[name.slice(name.indexOf(' ') + 1)]!;
    return a.matmul(own, { transposeB: true }).square().sum();
  });
  return terms.reduce((sum, term) => sum.add(term)).mul(lambda!);
};

/**
 * The orthogonality of O-LoRA (arXiv 2310.14152, eq. 8), as a penalty of `optimStep`: λ Σ_i Σ ‖A_i Aᵀ‖² over earlier tasks i and modules, where the rows
 * of A [r, in] are the directions of the inputs that the new task's LoRA reads. At zero it reads none that an earlier one has read.
 * The earlier adapters stay in the weights: merge them before the next task.
 *
 * @throws PosttrainError O_LORA without an earlier adapter, or where one has no such factor
 */
export function oLora({ earlier, lambda }: OLoraOptions): Penalty {
  const factors = earlier.map((task) => Object.entries(task).filter(([name]) => name.endsWith(FACTOR)));
  if (factors.length === 0 || factors.some((own) => own.length === 0)) {
    throw new PosttrainError('O_LORA', `oLora: earlier must have adapters with ${FACTOR.slice(1)}, those of LoRA`);
  }
  const named = factors.flatMap((own, i) => own.map(([name, a]) => [`${i} ${name}`, a] as const));
  return { name: 'o-lora', tensors: { ...Object.fromEntries(named), lambda: scalar(lambda) }, compute: overlap };
}
