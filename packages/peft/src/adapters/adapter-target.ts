import type { Named } from '@posttrain/core-tensor/optim';
import { floatWeight, type ModuleInfo, type WeightedNetwork } from '@posttrain/lm';
import type { AdapterTarget } from './layer-method.js';
import type { AdaptableModel } from './peft-adapter.js';

/** A module with the base's tensors. A tied head has the embedding's, a quantised layer what its codes stand for. */
export function targetOf(model: WeightedNetwork, { name }: Pick<ModuleInfo, 'name'>): AdapterTarget {
  // The model's own: an adapter that was made for a quantised one is merged into another that is not.
  const module = model.network.modules.get(name)!;
  return { ...module, weight: floatWeight(module, model.weights), bias: model.weights[`${name}.bias`] };
}

/** The tensors of a module by their whole names, as a copy of it is trained. */
export function copiedTensors(model: AdaptableModel, module: ModuleInfo): Named {
  const { weight, bias } = targetOf(model, module);
  return { [`${module.name}.weight`]: weight, ...(bias && { [`${module.name}.bias`]: bias }) };
}
