import { type Key, relu, type Tensor, tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';

/** The sizes of a network's layers, from its inputs to its outputs. */
export type LayerSizes = readonly number[];

/** Names of weight [out, in] and bias [out] of a layer, under the name of the network. */
const weightOf = (name: string, layer: number) => `${name}.${layer}.weight`;
const biasOf = (name: string, layer: number) => `${name}.${layer}.bias`;

/** Parameters of a network, drawn from ± 1 / √in as torch draws those of a linear layer. */
export function perceptronParameters(name: string, sizes: LayerSizes, key: Key): Named {
  const parameters: Record<string, Tensor> = {};
  for (let layer = 0; layer + 1 < sizes.length; layer++) {
    const [from, to] = [sizes[layer]!, sizes[layer + 1]!];
    const drawn = key.child(layer).uniformHost(from * to + to);
    const values = Float32Array.from(drawn, (u) => (2 * u - 1) / Math.sqrt(from));
    parameters[weightOf(name, layer)] = tensor(values.slice(0, from * to), [to, from]);
    parameters[biasOf(name, layer)] = tensor(values.slice(from * to), [to]);
  }
  return parameters;
}

/** x [b, in] through the network: linear layers, with max(0, x) between them. */
export function perceptron(parameters: Named, name: string, x: Tensor): Tensor {
  let state = x;
  for (let layer = 0; parameters[weightOf(name, layer)]; layer++) {
    const own = layer === 0 ? state : relu(state);
    state = own.matmul(parameters[weightOf(name, layer)]!, { transposeB: true }).add(parameters[biasOf(name, layer)]!);
  }
  return state;
}
