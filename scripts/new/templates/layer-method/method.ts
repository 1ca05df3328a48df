import { ones, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { type AdapterTarget, type LayerMethod, linearShape, type TargetedConfig } from '@posttrain/peft';

/** Options of `myMethod`, by PEFT's names in camel case. */
export interface MyMethodConfig extends TargetedConfig {
  readonly excludeModules: readonly string[] | string | null;
  readonly modulesToSave: readonly string[] | null;
}

/** Learned output scales (arXiv 0000.00000, eq. 0): y = l ⊙ (W x + b) with l [out], of which all are 1 at the start. */
export const myMethod: LayerMethod<MyMethodConfig> = {
  peftType: 'MY_METHOD',
  kinds: ['linear'],
  defaults: { targetModules: null, excludeModules: null, modulesToSave: null },
  fileDefaults: {},
  parameters: (target) => linearShape(target).outputs,
  check: () => {},
  init: (target) => ({ my_method_l: ones([linearShape(target).outputs]) }),
  apply: (x, layer, parameters) => layer.apply(x).mul(parameters.my_method_l!),
  merge: (target, parameters) => rescaled(target, parameters, (x, scale) => x.mul(scale)),
  unmerge: (merged, parameters) => rescaled(merged, parameters, (x, scale) => x.div(scale)),
};

function rescaled(target: AdapterTarget, parameters: Named, by: (x: Tensor, scale: Tensor) => Tensor) {
  const scale = parameters.my_method_l!;
  // A weight is stored [out, in], or [in, out] when it is transposed.
  const weight = by(target.weight, scale.expandDims(linearShape(target).transposed ? 0 : 1));
  return { weight, bias: target.bias && by(target.bias, scale) };
}
