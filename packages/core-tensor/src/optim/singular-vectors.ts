import { tensor } from '../create.js';
import type { TypedArray } from '../dtype.js';
import { Key } from '../random/random.js';
import { realize } from '../realize.js';
import type { Tensor } from '../tensor.js';

/** More directions than wanted are followed, which makes the wanted ones converge. */
const OVERSAMPLING = 8;
const POWER_ITERATIONS = 3;

/**
 * The `rank` leading left singular vectors of x [k, l], as the columns of a float32 [k, rank], largest first: a
 * randomised subspace iteration (arXiv 0909.4061), whose products with x run on the engine and whose small
 * factorisations run here in float64. With `rank` near k the subspace is the whole space, and the vectors are exact.
 * Of the two signs that a vector can have it is the one that makes its largest entry positive.
 */
export async function leftSingularVectors(x: Tensor, rank: number): Promise<Float32Array> {
  const [k, l] = x.shape as [number, number];
  const width = Math.min(k, rank + OVERSAMPLING);
  const isWhole = width === k;
  const basis = isWhole ? identity(k) : await dominantSubspace(x, width);
  const inBasis = await read(isWhole ? x : matrix(basis, k, width).matmul(x, { transposeA: true }));
  const { vectors } = symmetricEigen(gram(inBasis, width, l), width);
  const result = new Float32Array(k * rank);
  for (let j = 0; j < rank; j++) {
    let largest = 0;
    for (let i = 0; i < k; i++) {
      let sum = 0;
      for (let s = 0; s < width; s++) sum += basis[i * width + s]! * vectors[s * width + j]!;
      result[i * rank + j] = sum;
      if (Math.abs(sum) > Math.abs(largest)) largest = sum;
    }
    if (largest < 0) for (let i = 0; i < k; i++) result[i * rank + j]! *= -1;
  }
  return result;
}

/** Orthonormal columns [k, width] that span about the leading left singular vectors of x. */
async function dominantSubspace(x: Tensor, width: number): Promise<Float64Array> {
  const [k, l] = x.shape as [number, number];
  const start = Key.fromSeed(0)
    .uniformHost(l * width)
    .map((u) => u - 0.5);
  const times = async (columns: Tensor, transposeA: boolean) =>
    orthonormalColumns(await read(x.matmul(columns, { transposeA })), transposeA ? l : k, width);
  let basis = await times(tensor(Float32Array.from(start), [l, width]), false);
  for (let i = 0; i < POWER_ITERATIONS; i++) {
    const right = await times(matrix(basis, k, width), true);
    basis = await times(matrix(right, l, width), false);
  }
  return basis;
}

/** Computed where x is, whichever engine is set by now. */
async function read(x: Tensor): Promise<TypedArray> {
  await realize([x], { engine: 'operands' });
  return x.data();
}

const matrix = (values: Float64Array, rows: number, columns: number): Tensor =>
  tensor(Float32Array.from(values), [rows, columns]);

function identity(size: number): Float64Array {
  const result = new Float64Array(size * size);
  for (let i = 0; i < size; i++) result[i * size + i] = 1;
  return result;
}

/** x xᵀ of x [rows, columns]. */
function gram(x: ArrayLike<number>, rows: number, columns: number): Float64Array {
  const result = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++) {
    for (let j = i; j < rows; j++) {
      let sum = 0;
      for (let c = 0; c < columns; c++) sum += x[i * columns + c]! * x[j * columns + c]!;
      result[i * rows + j] = sum;
      result[j * rows + i] = sum;
    }
  }
  return result;
}

/** Gram-Schmidt, each column twice; what is left of a dependent column is nothing, and stays zero. */
export function orthonormalColumns(x: ArrayLike<number>, rows: number, columns: number): Float64Array {
  // By columns, so that the inner loops run through memory in order.
  const q = new Float64Array(rows * columns);
  for (let c = 0; c < columns; c++) {
    const column = q.subarray(c * rows, (c + 1) * rows);
    for (let r = 0; r < rows; r++) column[r] = x[r * columns + c]!;
    const before = norm(column);
    for (let pass = 0; pass < 2; pass++) {
      for (let p = 0; p < c; p++) {
        const other = q.subarray(p * rows, (p + 1) * rows);
        let dot = 0;
        for (let r = 0; r < rows; r++) dot += column[r]! * other[r]!;
        for (let r = 0; r < rows; r++) column[r]! -= dot * other[r]!;
      }
    }
    const length = norm(column);
    const factor = length > 1e-12 * before ? 1 / length : 0;
    for (let r = 0; r < rows; r++) column[r]! *= factor;
  }
  const result = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) result[r * columns + c] = q[c * rows + r]!;
  return result;
}

function norm(x: Float64Array): number {
  let sum = 0;
  for (const value of x) sum += value * value;
  return Math.sqrt(sum);
}

/** Eigenvalues, largest first, and eigenvectors as columns of a symmetric matrix, by Jacobi's rotations. */
export function symmetricEigen(
  given: Float64Array,
  size: number,
): { readonly values: Float64Array; readonly vectors: Float64Array } {
  const a = given.slice();
  const v = identity(size);
  const rotate = (m: Float64Array, i: number, j: number, step: number, length: number, c: number, s: number) => {
    for (let t = 0; t < length; t++, i += step, j += step) {
      const [x, y] = [m[i]!, m[j]!];
      m[i] = c * x - s * y;
      m[j] = s * x + c * y;
    }
  };
  const scale = norm(a);
  for (let sweep = 0; sweep < 30; sweep++) {
    let rotated = false;
    for (let p = 0; p < size; p++) {
      for (let q = p + 1; q < size; q++) {
        const off = a[p * size + q]!;
        if (Math.abs(off) <= 1e-15 * scale) continue;
        rotated = true;
        const theta = (a[q * size + q]! - a[p * size + p]!) / (2 * off);
        const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
        const c = 1 / Math.sqrt(t * t + 1);
        rotate(a, p, q, size, size, c, t * c);
        rotate(a, p * size, q * size, 1, size, c, t * c);
        // Rows of v are the vectors.
        rotate(v, p * size, q * size, 1, size, c, t * c);
      }
    }
    if (!rotated) break;
  }
  const order = Array.from({ length: size }, (_, i) => i).sort((i, j) => a[j * size + j]! - a[i * size + i]!);
  const vectors = new Float64Array(size * size);
  order.forEach((from, column) => {
    for (let r = 0; r < size; r++) vectors[r * size + column] = v[from * size + r]!;
  });
  return { values: Float64Array.from(order, (i) => a[i * size + i]!), vectors };
}
