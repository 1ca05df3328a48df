import { scalar, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import type { Penalty } from '../trainer/penalty.js';

/** What is known of an earlier task: its weights, and how much each of them matters to it. */
export interface EwcOptions {
  /** θ*, the parameters after the earlier task, by name: `trainer.copyParameters()`. */
  readonly anchors: Named;
  /** F, the diagonal of its Fisher information: `fisherDiagonal`. */
  readonly fisher: Named;
  /** λ, how much the earlier task counts. */
  readonly lambda: number;
}

const distance = (parameters: Named, { lambda, ...tensors }: Named): Tensor => {
  const terms = Object.entries(parameters).map(([name, p]) =>
    p.sub(tensors[`anchors.${name}`]!).square().mul(tensors[`fisher.${name}`]!).sum(),
  );
  return terms
    .reduce((a, b) => a.add(b))
    .mul(lambda!)
    .mul(0.5);
};

/**
 * Elastic weight consolidation (arXiv 1612.00796, eq. 3), as a penalty of `optimStep`: λ/2 Σ F_i (θ_i - θ*_i)².
 *
 * @throws PosttrainError EWC where anchors and Fisher information are not of the same parameters
 */
export function ewc({ anchors, fisher, lambda }: EwcOptions): Penalty {
  const [a, b] = [anchors, fisher].map((named) => Object.keys(named).sort().join());
  if (a !== b) throw new PosttrainError('EWC', 'ewc: anchors and fisher must have the same parameters');
  const under = (prefix: string, named: Named) => Object.entries(named).map(([name, x]) => [`${prefix}.${name}`, x]);
  const tensors = Object.fromEntries([...under('anchors', anchors), ...under('fisher', fisher)]) as Named;
  return { name: 'ewc', tensors: { ...tensors, lambda: scalar(lambda) }, compute: distance };
}
