import { ARITHMETICS, type Arithmetic, type NativeKernels } from './native/kernels.js';

/** PyTorch's names (`torch.set_float32_matmul_precision`). */
export const MATMUL_PRECISIONS = ['highest', 'high', 'medium'] as const;
/** How precisely float32 matrices are multiplied. */
export type MatmulPrecision = (typeof MATMUL_PRECISIONS)[number];

/** What multiplies, by the position of its arithmetic, which the nodes of a graph name. */
export interface ProductKernels {
  /** Products in float32 that are large enough; undefined where ONNX Runtime's are left alone. */
  readonly float32?: number;
  /** Products with weights in codes, and what unpacks them; undefined where ONNX Runtime's are left alone. */
  readonly codes?: number;
  /** Whether those are products of int8 with rounded inputs too. */
  readonly bytes?: true;
  /** Attention in blocks and its gradient; undefined where they are products and elementwise operations of the graph. */
  readonly attention?: number;
  /**
   * All products in which one side is a matrix of two axes (a weight, or the gradient of one), however few its rows: they are rounded
   * to bfloat16, and a sampler must round as the trainer does.
   */
  readonly bfloat16?: number;
  /** Whether float32 products of any size are taken, for tests. */
  readonly always: boolean;
}

const BFLOAT16: ReadonlySet<Arithmetic> = new Set(['avx512bf16', 'amx']);

/** Which arithmetics a precision means here. `only` takes one by name; `everywhere` takes the fastest for products of any size. */
export function productKernels(
  { fastest, isFaster }: Pick<NativeKernels, 'fastest' | 'isFaster'>,
  precision: MatmulPrecision,
  only?: Arithmetic,
  everywhere = false,
): ProductKernels {
  const float32 = only !== undefined && !BFLOAT16.has(only) ? only : fastest.float32;
  const isTaken = only !== undefined || everywhere;
  const rounding = precision === 'medium' ? (only ?? fastest.bfloat16) : undefined;
  return {
    ...(isTaken || isFaster.products ? { float32: ARITHMETICS.indexOf(float32) } : {}),
    ...(isTaken || isFaster.codes ? { codes: ARITHMETICS.indexOf(float32) } : {}),
    ...(isTaken || isFaster.bytes ? { bytes: true } : {}),
    ...(isTaken || isFaster.attention ? { attention: ARITHMETICS.indexOf(float32) } : {}),
    ...(rounding !== undefined && BFLOAT16.has(rounding) ? { bfloat16: ARITHMETICS.indexOf(rounding) } : {}),
    always: only !== undefined || everywhere,
  };
}

/** What decides which arithmetic computes a product of float32. */
export interface ProductSize {
  readonly rows: number;
  readonly summed: number;
  readonly columns: number;
  readonly transA: boolean;
  /** Whether one side is one matrix: a weight, or rows of activations for the gradient of one. */
  readonly hasMatrix: boolean;
}

/** The arithmetic that computes a float32 product; undefined where ONNX Runtime's is to. */
export function arithmeticOf(kernels: ProductKernels | undefined, size: ProductSize): number | undefined {
  if (kernels?.bfloat16 !== undefined && size.hasMatrix) return kernels.bfloat16;
  return kernels?.always || gains(size) ? kernels?.float32 : undefined;
}

/**
 * Where a product was measured to be faster than ONNX Runtime's (`benchmarks/products.ts`): the more work there is for each number
 * that is packed, and sooner where the left side is transposed, which ONNX Runtime does element by element.
 */
function gains({ rows, summed, columns, transA }: ProductSize): boolean {
  if (transA) return Math.min(rows, summed, columns) >= 128;
  // Multiplications for each packed number: those of 480 rows and columns.
  return Math.min(rows, summed, columns) >= 256 && (rows * columns) / (rows + columns) >= 240;
}
