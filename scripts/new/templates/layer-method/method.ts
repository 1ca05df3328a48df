import { ones, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { number, type Read } from '@posttrain/interfaces';
import {
  type AdapterTarget,
  excludeOption,
  type LayerMethod,
  linearShape,
  methodOptions,
  targetOptions,
} from '@posttrain/peft';

const myMethodOptions = methodOptions('MY_METHOD', {
  ...targetOptions,
  ...excludeOption,
  /** What all scales are at the start. Default 1, so that the model starts as it is. */
  initScale: number({ default: 1 }),
});
/** Options of `myMethod`, complete, by PEFT's names in camel case. */
export type MyMethodConfig = Read<typeof myMethodOptions>;

/** Learned output scales (arXiv 0000.00000, eq. 0): y = l ⊙ (W x + b) with l [out], trained from `initScale`. */
export const myMethod: LayerMethod<MyMethodConfig> = {
  peftType: 'MY_METHOD',
  kinds: ['linear'],
  options: myMethodOptions,
  fileDefaults: {},
  parameters: (target) => linearShape(target).outputs,
  init: (target, { initScale }) => ({ my_method_l: ones([linearShape(target).outputs]).mul(initScale) }),
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
