import { ARITHMETICS, type Arithmetic, type NativeKernels } from './native/kernels.js';

/** PyTorch's names (`torch.set_float32_matmul_precision`). */
export const MATMUL_PRECISIONS = ['highest', 'high', 'medium'] as const;
/** How precisely float32 matrices are multiplied. */
export type MatmulPrecision = (typeof MATMUL_PRECISIONS)[number];

/** What multiplies, by the position of its arithmetic, which the nodes of a graph name. */
export interface ProductKernels {
  /** Products of activations with one another. */
  readonly float32: number;
  /** Products in which one side is a matrix of two axes: a weight, or the gradient of one. */
  readonly ofMatrices: number;
  /** Whether those are rounded to bfloat16, so that every one of them has to be, however few its rows are. */
  readonly rounds: boolean;
}

/** Which arithmetics a precision means here. `only` takes one by name. */
export function productKernels(
  { fastest }: NativeKernels,
  precision: MatmulPrecision,
  only?: Arithmetic,
): ProductKernels {
  const position = (name: Arithmetic) => ARITHMETICS.indexOf(name);
  const isBfloat16 = (name: Arithmetic) => name === 'avx512bf16' || name === 'amx';
  const float32 = only !== undefined && !isBfloat16(only) ? only : fastest.float32;
  const asked = precision === 'medium' ? (only ?? fastest.bfloat16) : float32;
  return { float32: position(float32), ofMatrices: position(asked), rounds: isBfloat16(asked) };
}

/** Multiplications up to which ONNX Runtime's own product is as fast. */
const LEAST_MULTIPLICATIONS = 2 ** 17;

/** What decides which arithmetic computes a product of float32. */
export interface ProductSize {
  readonly rows: number;
  readonly summed: number;
  readonly columns: number;
  /** Whether one side is one matrix: a weight, or rows of activations for the gradient of one. */
  readonly hasMatrix: boolean;
  /** Whether the rows are too few to gain anything. */
  readonly isFew: boolean;
}

/** The arithmetic that computes a float32 product; undefined where ONNX Runtime's is to. */
export function arithmeticOf(
  kernels: ProductKernels | undefined,
  { rows, summed, columns, hasMatrix, isFew }: ProductSize,
): number | undefined {
  if (!kernels) return undefined;
  if (kernels.rounds && hasMatrix) return kernels.ofMatrices;
  return isFew || rows * summed * columns < LEAST_MULTIPLICATIONS ? undefined : kernels.float32;
}
