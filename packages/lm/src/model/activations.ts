import { gelu, geluTanh, relu, silu, type Tensor } from '@posttrain/core-tensor';
import type { HiddenActivation } from '../config/index.js';

/** By their names in Hugging Face configurations. */
export const activations: Readonly<Record<HiddenActivation, (x: Tensor) => Tensor>> = {
  silu,
  relu,
  gelu,
  gelu_new: geluTanh,
  gelu_pytorch_tanh: geluTanh,
};
