import { QuantizationError } from './quantized-weight.js';

/** A symmetric matrix of float64 numbers, row-major: of `size` rows. */
export interface Hessian {
  readonly size: number;
  readonly data: Float64Array;
}

/**
 * The Hessian of a layer's squared output error, H = 2 / n · XᵀX, from the n rows of its inputs [n, in].
 *
 * @throws QuantizationError when the rows are not whole
 */
export function layerHessian(inputs: { readonly shape: readonly number[]; readonly data: ArrayLike<number> }): Hessian {
  const [rows, size] = inputs.shape as [number, number];
  if (inputs.shape.length !== 2 || rows < 1 || inputs.data.length !== rows * size) {
    throw new QuantizationError(
      'layerHessian',
      `needs inputs [rows, in], not ${inputs.data.length} numbers of [${inputs.shape.join(', ')}]`,
    );
  }
  const data = new Float64Array(size * size);
  for (let row = 0; row < rows; row++) {
    const x = Float64Array.from({ length: size }, (_, i) => inputs.data[row * size + i]!);
    for (let i = 0; i < size; i++) {
      const scaled = (2 / rows) * x[i]!;
      if (scaled === 0) continue;
      const own = data.subarray(i * size, (i + 1) * size);
      for (let j = i; j < size; j++) own[j]! += scaled * x[j]!;
    }
  }
  for (let i = 0; i < size; i++) for (let j = 0; j < i; j++) data[i * size + j] = data[j * size + i]!;
  return { size, data };
}

/**
 * The upper triangular U with UᵀU = H⁻¹: U = R⁻¹ for the upper triangular R with R Rᵀ = H, which is a Cholesky
 * factorisation from the last row to the first.
 *
 * @throws QuantizationError when H is not positive definite
 */
export function inverseFactor({ size, data }: Hessian): Float64Array {
  const factor = data.slice();
  for (let j = size - 1; j >= 0; j--) {
    const own = factor.subarray(j * size, (j + 1) * size);
    let pivot = own[j]!;
    for (let k = j + 1; k < size; k++) pivot -= own[k]! * own[k]!;
    if (!(pivot > 0)) {
      throw new QuantizationError('Hessian', `is not positive definite (pivot ${j} is ${pivot}): raise dampening`);
    }
    const root = Math.sqrt(pivot);
    own[j] = root;
    for (let i = 0; i < j; i++) {
      const row = factor.subarray(i * size, (i + 1) * size);
      let sum = row[j]!;
      for (let k = j + 1; k < size; k++) sum -= row[k]! * own[k]!;
      row[j] = sum / root;
    }
  }
  return upperInverse(factor, size);
}

/** The inverse of an upper triangular matrix; what is below its diagonal is not read. */
function upperInverse(factor: Float64Array, size: number): Float64Array {
  const inverse = new Float64Array(size * size);
  for (let i = size - 1; i >= 0; i--) {
    const own = inverse.subarray(i * size, (i + 1) * size);
    const unit = 1 / factor[i * size + i]!;
    for (let k = i + 1; k < size; k++) {
      const weight = factor[i * size + k]!;
      const below = inverse.subarray(k * size, (k + 1) * size);
      for (let j = k; j < size; j++) own[j]! -= weight * below[j]!;
    }
    for (let j = i + 1; j < size; j++) own[j]! *= unit;
    own[i] = unit;
  }
  return inverse;
}

export interface PreparedHessian {
  /** U with UᵀU = H⁻¹, rows and columns in the order given. */
  readonly factor: Float64Array;
  /** Columns that no input ever reached: their weights do not matter and are zero. */
  readonly isDead: readonly boolean[];
}

/** Damps H by a part of its mean diagonal, puts its rows and columns in an order, and factorises its inverse. */
export function prepareHessian(hessian: Hessian, order: readonly number[], dampening: number): PreparedHessian {
  const { size } = hessian;
  const diagonal = Array.from({ length: size }, (_, i) => hessian.data[i * size + i]!);
  const isDead = diagonal.map((value) => value === 0);
  const alive = diagonal.map((value) => (value === 0 ? 1 : value));
  const damping = (dampening * alive.reduce((sum, value) => sum + value, 0)) / size;
  const data = new Float64Array(size * size);
  order.forEach((from, i) => {
    order.forEach((to, j) => {
      data[i * size + j] = from === to ? alive[from]! + damping : hessian.data[from * size + to]!;
    });
  });
  return { factor: inverseFactor({ size, data }), isDead };
}

export interface CompensateOptions {
  readonly rows: number;
  /** U with UᵀU = H⁻¹. */
  readonly factor: Float64Array;
  /** Columns of one step: their errors reach the columns after the step together. Default 128. */
  readonly block?: number;
  /** Called before a column is visited, when the columns of its block have everything of the columns before. */
  readonly before?: (column: number) => void;
  /** The new value of an element. */
  readonly choose: (column: number, row: number, value: number) => number;
}

/**
 * Goes through the columns of `weight` (float64, row-major, changed in place) and makes up for each one's error in the
 * columns not yet visited: err = (w_q - chosen) / U_qq and w_j -= err · U_qj for every j > q. Returns ½ Σ err², the loss
 * that is left.
 */
export function compensate(weight: Float64Array, options: CompensateOptions): number {
  const { rows, factor, block = 128, before, choose } = options;
  const size = weight.length / rows;
  const errors = new Float64Array(rows * block);
  let loss = 0;
  for (let start = 0; start < size; start += block) {
    const end = Math.min(start + block, size);
    for (let column = start; column < end; column++) {
      before?.(column);
      const unit = factor.subarray(column * size, (column + 1) * size);
      const diagonal = unit[column]!;
      for (let row = 0; row < rows; row++) {
        const own = weight.subarray(row * size, (row + 1) * size);
        const value = own[column]!;
        const chosen = choose(column, row, value);
        const error = (value - chosen) / diagonal;
        own[column] = chosen;
        errors[row * block + column - start] = error;
        if (error === 0) continue;
        loss += (error * error) / 2;
        for (let j = column + 1; j < end; j++) own[j]! -= error * unit[j]!;
      }
    }
    for (let row = 0; row < rows; row++) {
      const own = weight.subarray(row * size, (row + 1) * size);
      for (let column = start; column < end; column++) {
        const error = errors[row * block + column - start]!;
        if (error === 0) continue;
        const unit = factor.subarray(column * size, (column + 1) * size);
        for (let j = end; j < size; j++) own[j]! -= error * unit[j]!;
      }
    }
  }
  return loss;
}
