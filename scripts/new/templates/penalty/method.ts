import { scalar, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import type { Penalty } from '@posttrain/training';

/** What `myMethod` holds the parameters to. */
export interface MyMethodOptions {
  /** θ*, by name: `trainer.copyParameters()`. */
  readonly anchors: Named;
  /** λ, how much the distance counts. */
  readonly lambda: number;
}

const distance = (parameters: Named, { lambda, ...anchors }: Named): Tensor =>
  Object.entries(parameters)
    .map(([name, p]) => p.sub(anchors[`anchors.${name}`]!).square().sum())
    .reduce((a, b) => a.add(b))
    .mul(lambda!)
    .mul(0.5);

/** The squared distance to where training began (arXiv 0000.00000, eq. 0): λ/2 Σ (θ_i - θ*_i)², a penalty of `optimStep`. */
export function myMethod({ anchors, lambda }: MyMethodOptions): Penalty {
  const named = Object.entries(anchors).map(([name, x]) => [`anchors.${name}`, x] as const);
  return { name: 'my-method', tensors: { ...Object.fromEntries(named), lambda: scalar(lambda) }, compute: distance };
}
