import type { Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import type { ModuleInfo } from '@posttrain/lm';
import {
  type AdapterTarget,
  type LayerMethod,
  linearShape,
  type MergedTarget,
  type TargetedConfig,
} from './layer-method.js';

/** `merge` and `unmerge` of a method that adds ΔW [out, in], which no input decides, to a weight. */
export function addedToWeight<Config extends TargetedConfig>(
  deltaOf: (module: ModuleInfo, parameters: Named, config: Config) => Tensor,
): Required<Pick<LayerMethod<Config>, 'merge' | 'unmerge'>> {
  const changed = (target: AdapterTarget, parameters: Named, config: Config, sign: 1 | -1): MergedTarget => {
    const delta = deltaOf(target, parameters, config).mul(sign);
    const { weight, bias } = target;
    return { weight: weight.add(linearShape(target).transposed ? delta.transpose() : delta), bias };
  };
  return {
    merge: (target, parameters, config) => changed(target, parameters, config, 1),
    unmerge: (merged, parameters, config) => changed(merged, parameters, config, -1),
  };
}
