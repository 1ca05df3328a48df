import type { Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { applyLinear, type LinearLayer, type ModuleInfo } from '@posttrain/lm';
import {
  type AdapterTarget,
  type LayerMethod,
  linearShape,
  type MergedTarget,
  type TargetedConfig,
} from './layer-method.js';

/** ΔW [out, in] of a module, which no input decides. */
type DeltaOf<Config> = (module: ModuleInfo, parameters: Named, config: Config) => Tensor;

/** A change [out, in] in the layout of a module's weight. */
const asStored = (delta: Tensor, module: ModuleInfo): Tensor =>
  linearShape(module).transposed ? delta.transpose() : delta;

/** `merge` and `unmerge` of a method that adds ΔW to a weight. */
export function addedToWeight<Config extends TargetedConfig>(
  deltaOf: DeltaOf<Config>,
): Required<Pick<LayerMethod<Config>, 'merge' | 'unmerge'>> {
  const changed = (target: AdapterTarget, parameters: Named, config: Config, sign: 1 | -1): MergedTarget => ({
    weight: target.weight.add(asStored(deltaOf(target, parameters, config).mul(sign), target)),
    bias: target.bias,
  });
  return {
    merge: (target, parameters, config) => changed(target, parameters, config, 1),
    unmerge: (merged, parameters, config) => changed(merged, parameters, config, -1),
  };
}

const DELTA = 'delta';

/** What `derive` gives of ΔW itself, and what `apply` takes: numbers for each weight that is changed. */
export const derivedDelta = <Config extends TargetedConfig>(
  deltaOf: DeltaOf<Config>,
): Required<Pick<LayerMethod<Config>, 'derive'>> => ({
  derive: (module, parameters, config) => ({ [DELTA]: deltaOf(module, parameters, config) }),
});

/** y = W x + b + ΔW x where ΔW was derived; undefined where it was not. */
export function appliedDelta(x: Tensor, layer: LinearLayer, { [DELTA]: delta }: Named): Tensor | undefined {
  return delta && layer.apply(x).add(applyLinear(x, delta, undefined, false));
}

/**
 * A method that is y = (W + ΔW) x + b with a dense ΔW: one product of a sum where the pass makes ΔW, which saves two of the five that a training
 * step needs otherwise; two products where it was derived, and where a sum would be rounded (weights of 16 bits) or unpack the base (quantised
 * ones).
 */
export function denseChange<Config extends TargetedConfig>(
  deltaOf: DeltaOf<Config>,
): Required<Pick<LayerMethod<Config>, 'apply' | 'derive' | 'merge' | 'unmerge'>> {
  return {
    apply(x, layer, parameters, config) {
      const derived = appliedDelta(x, layer, parameters);
      if (derived) return derived;
      const delta = deltaOf(layer, parameters, config);
      const { weight, bias, transposed, quantization } = layer;
      if (quantization || weight.dtype !== 'float32') return appliedDelta(x, layer, { [DELTA]: delta })!;
      return applyLinear(x, weight.add(asStored(delta, layer)), bias, transposed);
    },
    ...derivedDelta(deltaOf),
    ...addedToWeight(deltaOf),
  };
}
