import { type Tensor, tensor } from '@posttrain/core-tensor';
import { symmetricEigen } from '@posttrain/core-tensor/optim';

/** A matrix on the host in float64, row by row: for initial values that are decompositions of something small. */
export interface Dense {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float64Array;
}

export const dense = (rows: number, columns: number, of: (row: number, column: number) => number): Dense => {
  const values = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) values[i * columns + j] = of(i, j);
  return { rows, columns, values };
};

/** The numbers of a tensor [rows, columns], turned round where it is stored so. */
export async function denseOf(x: Tensor, transposed = false): Promise<Dense> {
  const [rows, columns] = x.shape as [number, number];
  const values = Float64Array.from(await x.data(), Number);
  return transposed ? turned({ rows, columns, values }) : { rows, columns, values };
}

export const toTensor = ({ rows, columns, values }: Dense): Tensor =>
  tensor(Float32Array.from(values), [rows, columns]);

export const turned = ({ rows, columns, values }: Dense): Dense =>
  dense(columns, rows, (i, j) => values[j * columns + i]!);

export function times(a: Dense, b: Dense): Dense {
  const values = new Float64Array(a.rows * b.columns);
  for (let i = 0; i < a.rows; i++) {
    for (let k = 0; k < a.columns; k++) {
      const factor = a.values[i * a.columns + k]!;
      for (let j = 0; j < b.columns; j++) values[i * b.columns + j]! += factor * b.values[k * b.columns + j]!;
    }
  }
  return { rows: a.rows, columns: b.columns, values };
}

/** Rows `from` to `to` of a matrix. */
export const rowsOf = ({ columns, values }: Dense, from: number, to: number): Dense => ({
  rows: to - from,
  columns,
  values: values.slice(from * columns, to * columns),
});

/** Each row times a number of its own. */
export const scaledRows = ({ rows, columns, values }: Dense, by: (row: number) => number): Dense =>
  dense(rows, columns, (i, j) => by(i) * values[i * columns + j]!);

/** x = Σ_i s_i u_i v_iᵀ, s falling. Of the smaller side as many as there are. */
export interface Singular {
  /** Unit vectors [k, rows of x], one a row. */
  readonly u: Dense;
  readonly values: Float64Array;
  /** Unit vectors [k, columns of x], one a row. */
  readonly v: Dense;
}

const NEARLY_ZERO = 1e-300;

/**
 * A singular value decomposition in a time of k² times the larger side and of k³ for the smaller side k. What has no length has no
 * direction: its vectors of the larger side are zero. Of the two signs of a pair, v's largest entry is positive.
 */
export function singularOf(x: Dense): Singular {
  if (x.rows > x.columns) {
    const { u, values, v } = singularOf(turned(x));
    return signed({ u: v, values, v: u });
  }
  const { vectors } = symmetricEigen(times(x, turned(x)).values, x.rows);
  const near = turned({ rows: x.rows, columns: x.rows, values: vectors });
  const far = times(near, x);
  const lengths = Float64Array.from({ length: x.rows }, (_, i) => norm(rowsOf(far, i, i + 1).values));
  return signed({ u: near, values: lengths, v: scaledRows(far, (i) => 1 / Math.max(lengths[i]!, NEARLY_ZERO)) });
}

function signed({ u, values, v }: Singular): Singular {
  const signs = Array.from({ length: v.rows }, (_, i) => {
    const row = v.values.subarray(i * v.columns, (i + 1) * v.columns);
    const largest = row.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
    return largest < 0 ? -1 : 1;
  });
  return { u: scaledRows(u, (i) => signs[i]!), values, v: scaledRows(v, (i) => signs[i]!) };
}

const norm = (values: Float64Array): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

/** The inverse of a symmetric matrix whose eigenvalues are above zero. */
export function inverseOf({ rows: n, values }: Dense): Dense {
  const { values: eigen, vectors } = symmetricEigen(values, n);
  const columns = { rows: n, columns: n, values: vectors };
  return times(
    columns,
    scaledRows(turned(columns), (i) => 1 / eigen[i]!),
  );
}
