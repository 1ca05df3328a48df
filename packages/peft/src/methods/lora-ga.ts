import type { Key, Tensor } from '@posttrain/core-tensor';
import { type Dense, denseOf, rowsOf, scaledRows, singularOf, toTensor, turned } from '../adapters/dense.js';
import type { AdapterTarget } from '../adapters/layer-method.js';

/** Options of LoRA-GA, by PEFT's names in camel case. */
export interface LoraGaConfig {
  /**
   * Which of the first 2 r singular directions of the gradient A and B have: `ArB2r` the first and the second r, `A2rBr` the other way round,
   * `ArBr` every other one, beginning with B's, `random` the same r at random. Default `ArB2r`.
   */
  readonly direction: 'ArBr' | 'A2rBr' | 'ArB2r' | 'random';
  /**
   * `stable`: B times ⁴√out / √γ, `weight_svd`: B times the first singular value of the weight over its own first, `gd_scale`: A and B over LoRA's s,
   * `unit`: nothing. Default `stable`.
   */
  readonly scale: 'stable' | 'weight_svd' | 'gd_scale' | 'unit';
  /** γ of `stable`. Default 16. */
  readonly stableGamma: number;
}

export const LORA_GA_DEFAULTS: LoraGaConfig = { direction: 'ArB2r', scale: 'stable', stableGamma: 16 };

/**
 * LoRA-GA (arXiv 2407.05000): with G = U S Vᵀ the gradient of the loss of rows with respect to a weight, A₀ is r of the first 2 r rows of Vᵀ
 * and B₀ r of the columns of U S, so that the first step of LoRA goes where that of the whole weight does. As with PiSSA, s B₀ A₀
 * is subtracted beside the weight, which computes what it did.
 *
 * As PEFT does, B has the singular values beside the vectors, and `stable` takes the first side of the weight as it is stored: with Conv1D (GPT-2)
 * that is `in`.
 *
 * @param gradient as the weight is stored
 * @param s what LoRA multiplies B A by
 */
export async function loraGaFactors(
  { weight, transposed }: AdapterTarget,
  gradient: Tensor,
  { r, s, config, key }: { readonly r: number; readonly s: number; readonly config: LoraGaConfig; readonly key: Key },
): Promise<{ readonly a: Tensor; readonly b: Tensor }> {
  const { direction, scale, stableGamma } = config;
  const { u, values, v } = singularOf(await denseOf(gradient, transposed));
  const [forA, forB] = placesOf(direction, r, key);
  const pick = (x: Dense, places: readonly number[]): Dense => ({
    rows: places.length,
    columns: x.columns,
    values: Float64Array.from(places.flatMap((i) => [...rowsOf(x, i, i + 1).values])),
  });
  const first = values[forB[0]!]!;
  const times = {
    stable: async () => ({ a: 1, b: weight.shape[0]! ** 0.25 / Math.sqrt(stableGamma) }),
    weight_svd: async () => {
      const most = singularOf(await denseOf(weight, transposed)).values[0]!;
      return { a: 1, b: first > 0 ? most / first : 1 };
    },
    gd_scale: async () => ({ a: 1 / s, b: 1 / s }),
    unit: async () => ({ a: 1, b: 1 }),
  }[scale];
  const { a, b } = await times();
  return {
    a: toTensor(scaledRows(pick(v, forA), () => a)),
    b: toTensor(turned(scaledRows(pick(u, forB), (i) => b * values[forB[i]!]!))),
  };
}

/** Which singular directions A has, and which B. */
function placesOf(
  direction: LoraGaConfig['direction'],
  r: number,
  key: Key,
): readonly [a: readonly number[], b: readonly number[]] {
  const every = (of: (i: number) => number) => Array.from({ length: r }, (_, i) => of(i));
  if (direction === 'ArBr') return [every((i) => 2 * i + 1), every((i) => 2 * i)];
  if (direction === 'ArB2r') return [every((i) => i), every((i) => r + i)];
  if (direction === 'A2rBr') return [every((i) => r + i), every((i) => i)];
  const draws = key.uniformHost(2 * r);
  const order = Array.from({ length: 2 * r }, (_, i) => i).sort((i, j) => draws[i]! - draws[j]!);
  return [order.slice(0, r), order.slice(0, r)];
}
