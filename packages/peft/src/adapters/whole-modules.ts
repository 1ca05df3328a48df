import type { Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { applyLinear, type EmbeddingLayer, type LayerHooks, type LinearLayer } from '@posttrain/lm';
import type { AdapterPlan } from './peft-adapter.js';

/** A method's hooks with the modules and biases of the plan that are trained whole, as copies. */
export function withWholeModules({ saved, biases }: AdapterPlan, parameters: Named, own: LayerHooks): LayerHooks {
  if (saved.length === 0 && biases.size === 0) return own;
  const whole = new Set(saved.map(({ name }) => name));
  const copy = (module: string, tensor: 'weight' | 'bias') => parameters[`${module}.${tensor}`];
  const withBias = (layer: LinearLayer): LinearLayer => {
    const name = biases.get(layer.name);
    if (name === undefined) return layer;
    const bias = parameters[name]!;
    return { ...layer, bias, apply: (x) => applyLinear(x, layer.weight, bias, layer.transposed) };
  };
  return {
    ...own,
    linear(x: Tensor, base: LinearLayer) {
      if (whole.has(base.name)) {
        return applyLinear(x, copy(base.name, 'weight')!, copy(base.name, 'bias'), base.transposed);
      }
      const layer = withBias(base);
      return own.linear ? own.linear(x, layer) : layer.apply(x);
    },
    embedding(tokens: Tensor, layer: EmbeddingLayer) {
      if (whole.has(layer.name)) return copy(layer.name, 'weight')!.gather(tokens);
      return own.embedding ? own.embedding(tokens, layer) : layer.apply(tokens);
    },
    headWeight(layer) {
      if (whole.has(layer.name)) return copy(layer.name, 'weight')!;
      return own.headWeight ? own.headWeight(layer) : layer.weight;
    },
  };
}
