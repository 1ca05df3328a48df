import { gelu, geluTanh, relu, silu, type Tensor } from '@posttrain/core-tensor';
import type { HiddenActivation } from '../config/index.js';

/** By their names in Hugging Face configurations. */
export const activations: Readonly<Record<HiddenActivation, (x: Tensor) => Tensor>> = {
  silu,
  swish: silu,
  relu,
  relu2: (x) => relu(x).square(),
  tanh: (x) => x.tanh(),
  gelu,
  gelu_new: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  gelu_fast: geluTanh,
  quick_gelu: (x) => x.mul(x.mul(1.702).sigmoid()),
};
