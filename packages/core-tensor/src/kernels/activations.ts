import type { Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { checkFloats } from './check.js';
import type { Kernel } from './kernel.js';

const NO_CONFIG: Record<string, never> = {};

/** One input, and an output like it. */
const inferSame =
  (name: string): Kernel<unknown>['infer'] =>
  ([x]) => {
    checkFloats(name, x!);
    return [x!];
  };

/** silu'(x) = σ(x) (1 + x - silu(x)), for a silu(x) that is there already. */
export const siluSlope = (x: Tensor, y: Tensor): Tensor => x.sub(y).add(1).mul(x.sigmoid());

/** Input and output of one shape: x · σ(x), also called swish (arXiv 1702.03118). The gradient needs x only. */
export const siluKernel: Kernel<Record<string, never>> = {
  name: 'silu',
  infer: inferSame('silu'),
  decompose: ([x]) => [x!.mul(x!.sigmoid())],
  vjp: ({ inputs: [x], outputs: [y], cotangents: [dy] }) => [dy!.mul(siluSlope(x!, y!))],
};

/** x · σ(x), also called swish (arXiv 1702.03118). */
export const silu = (x: Tensor): Tensor => applyKernel(siluKernel, [x], NO_CONFIG)[0]!;

/** max(x, 0). */
export const relu = (x: Tensor): Tensor => x.maximum(0);

export interface GeluConfig {
  /** `tanh`: Φ by 0.5 (1 + tanh(√(2/π) (x + 0.044715 x³))). */
  readonly approximate: 'none' | 'tanh';
}

/** x · Φ(x) with the Gaussian cumulative distribution Φ (arXiv 1606.08415). The gradient needs x only. */
export const geluKernel: Kernel<GeluConfig> = {
  name: 'gelu',
  infer: inferSame('gelu'),
  decompose: ([x], { approximate }) => {
    if (approximate === 'none') return [x!.mul(x!.mul(Math.SQRT1_2).erf().add(1)).mul(0.5)];
    const inner = x!.add(x!.mul(x!).mul(x!).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
    return [x!.mul(inner.tanh().add(1)).mul(0.5)];
  },
};

/** x · Φ(x) with the exact Gaussian cumulative distribution: Hugging Face `gelu`. */
export const gelu = (x: Tensor): Tensor => applyKernel(geluKernel, [x], { approximate: 'none' })[0]!;

/** The tanh approximation of `gelu`: Hugging Face `gelu_new` and `gelu_pytorch_tanh`. */
export const geluTanh = (x: Tensor): Tensor => applyKernel(geluKernel, [x], { approximate: 'tanh' })[0]!;

/** cap · tanh(x / cap): x near 0, never beyond ±cap (Gemma 2, arXiv 2408.00118). */
export const softCap = (x: Tensor, cap: number): Tensor =>
  x
    .mul(1 / cap)
    .tanh()
    .mul(cap);

/** log(1 + e^x) without overflow. */
export const softplus = (x: Tensor): Tensor => x.maximum(0).add(x.abs().neg().exp().add(1).log());

/** log σ(x) without overflow. */
export const logSigmoid = (x: Tensor): Tensor => softplus(x.neg()).neg();
