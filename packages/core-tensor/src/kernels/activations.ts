import type { Tensor } from '../tensor.js';

/** x · σ(x), also called swish (arXiv 1702.03118). */
export const silu = (x: Tensor): Tensor => x.mul(x.sigmoid());

export const relu = (x: Tensor): Tensor => x.maximum(0);

/** x · Φ(x) with the exact Gaussian cumulative distribution (arXiv 1606.08415): Hugging Face `gelu`. */
export const gelu = (x: Tensor): Tensor => x.mul(x.mul(Math.SQRT1_2).erf().add(1)).mul(0.5);

/** The tanh approximation of `gelu`: Hugging Face `gelu_new` and `gelu_pytorch_tanh`. */
export function geluTanh(x: Tensor): Tensor {
  const inner = x.add(x.mul(x).mul(x).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
  return x.mul(inner.tanh().add(1)).mul(0.5);
}

/** log(1 + e^x) without overflow. */
export const softplus = (x: Tensor): Tensor => x.maximum(0).add(x.abs().neg().exp().add(1).log());

/** log σ(x) without overflow. */
export const logSigmoid = (x: Tensor): Tensor => softplus(x.neg()).neg();
