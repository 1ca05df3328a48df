/** A linear classifier of two classes: log-odds of the first are w · x + b. */
export interface LogisticRegression {
  readonly weights: Float64Array;
  readonly intercept: number;
}

const MAX_NEWTON = 100;

/**
 * Logistic regression with weights of classes that balance them and a ridge on w, as scikit-learn's `LogisticRegression(class_weight='balanced')`
 * has it by default: the least of ½ |w|² + Σ_i s_i log(1 + exp(-y_i (w · x_i + b))), with y_i = ±1 and s_i = n / (2 · rows of i's class). Newton's steps, each
 * solved by conjugate gradients, halved until they go down.
 */
export function fitLogisticRegression(
  rows: readonly ArrayLike<number>[],
  isFirst: readonly boolean[],
): LogisticRegression {
  const dimension = rows[0]?.length ?? 0;
  const first = isFirst.filter(Boolean).length;
  const shares = isFirst.map((own) => rows.length / (2 * (own ? first : rows.length - first)));
  const at = (theta: Float64Array, row: ArrayLike<number>) => dot(theta, row, dimension) + theta[dimension]!;
  const value = (theta: Float64Array) =>
    rows.reduce((sum, row, i) => sum + shares[i]! * softplus(isFirst[i] ? -at(theta, row) : at(theta, row)), 0) +
    dot(theta, theta, dimension) / 2;
  let theta = new Float64Array(dimension + 1);
  for (let step = 0; step < MAX_NEWTON; step++) {
    const odds = rows.map((row) => 1 / (1 + Math.exp(-at(theta, row))));
    const gradient = overRows(rows, dimension, (_, i) => shares[i]! * (odds[i]! - (isFirst[i] ? 1 : 0)));
    for (let j = 0; j < dimension; j++) gradient[j]! += theta[j]!;
    if (length(gradient) < 1e-10 * Math.max(1, rows.length)) break;
    const direction = conjugateGradients(gradient, (v) => {
      const product = overRows(rows, dimension, (row, i) => shares[i]! * odds[i]! * (1 - odds[i]!) * at(v, row));
      for (let j = 0; j < dimension; j++) product[j]! += v[j]!;
      return product;
    });
    const before = value(theta);
    const slope = dot(gradient, direction, dimension + 1);
    let share = 1;
    let next = theta;
    do {
      next = theta.map((x, j) => x - share * direction[j]!);
      share /= 2;
    } while (value(next) > before - 1e-4 * share * slope && share > 1e-12);
    if (value(next) >= before) break;
    theta = next;
  }
  return { weights: theta.slice(0, dimension), intercept: theta[dimension]! };
}

/** Probability that a row is of the first class. */
export const probabilityOf = ({ weights, intercept }: LogisticRegression, row: ArrayLike<number>): number =>
  1 / (1 + Math.exp(-dot(weights, row, weights.length) - intercept));

/** Σ_i of(row i) (x_i, 1). */
function overRows(
  rows: readonly ArrayLike<number>[],
  dimension: number,
  of: (row: ArrayLike<number>, i: number) => number,
): Float64Array {
  const sum = new Float64Array(dimension + 1);
  rows.forEach((row, i) => {
    const factor = of(row, i);
    for (let j = 0; j < dimension; j++) sum[j]! += factor * row[j]!;
    sum[dimension]! += factor;
  });
  return sum;
}

/** The solution of H x = b, for a positive definite H. */
function conjugateGradients(b: Float64Array, product: (v: Float64Array) => Float64Array): Float64Array {
  const x = new Float64Array(b.length);
  const rest = b.slice();
  let direction = b.slice();
  let left = dot(rest, rest, b.length);
  const enough = 1e-20 * left;
  for (let k = 0; k < 2 * b.length && left > enough; k++) {
    const moved = product(direction);
    const share = left / dot(direction, moved, b.length);
    for (let j = 0; j < b.length; j++) {
      x[j]! += share * direction[j]!;
      rest[j]! -= share * moved[j]!;
    }
    const next = dot(rest, rest, b.length);
    direction = direction.map((d, j) => rest[j]! + (next / left) * d);
    left = next;
  }
  return x;
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>, count: number): number {
  let sum = 0;
  for (let j = 0; j < count; j++) sum += a[j]! * b[j]!;
  return sum;
}

const length = (v: Float64Array): number => Math.sqrt(dot(v, v, v.length));

const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
