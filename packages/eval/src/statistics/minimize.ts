/** A function to minimise: its value at x, and its gradient. */
export type Objective = (x: readonly number[]) => { readonly value: number; readonly gradient: readonly number[] };

export interface Minimum {
  readonly x: readonly number[];
  readonly value: number;
}

const MOST_ITERATIONS = 1000;
/** The search is over when no component of the gradient is larger. */
const GRADIENT_TOLERANCE = 1e-12;
const SUFFICIENT_DECREASE = 1e-4;

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** The minimum that BFGS (Nocedal & Wright, algorithm 6.1) with a backtracking line search finds from `start`. */
export function minimize(objective: Objective, start: readonly number[]): Minimum {
  const n = start.length;
  const identity = () => Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => Number(i === j)));
  let inverse = identity();
  let x = [...start];
  let { value, gradient } = objective(x);
  for (let iteration = 0; iteration < MOST_ITERATIONS; iteration++) {
    if (gradient.every((g) => Math.abs(g) < GRADIENT_TOLERANCE)) break;
    let direction = inverse.map((row) => -dot(row, gradient));
    if (dot(direction, gradient) >= 0) {
      inverse = identity();
      direction = gradient.map((g) => -g);
    }
    const next = backtrack(objective, x, value, direction, dot(direction, gradient));
    if (!next) break;
    const step = next.x.map((xi, i) => xi - x[i]!);
    const change = next.gradient.map((g, i) => g - gradient[i]!);
    const curvature = dot(step, change);
    if (curvature > 0) inverse = updated(inverse, step, change, curvature);
    x = next.x;
    value = next.value;
    gradient = next.gradient;
  }
  return { x, value };
}

function backtrack(
  objective: Objective,
  x: readonly number[],
  value: number,
  direction: readonly number[],
  slope: number,
): { x: number[]; value: number; gradient: readonly number[] } | undefined {
  for (let length = 1; length > 1e-16; length /= 2) {
    const candidate = x.map((xi, i) => xi + length * direction[i]!);
    const there = objective(candidate);
    if (there.value < value + SUFFICIENT_DECREASE * length * slope) return { x: candidate, ...there };
  }
  return undefined;
}

/** (I - ρ s yᵀ) H (I - ρ y sᵀ) + ρ s sᵀ with ρ = 1 / yᵀs. */
function updated(inverse: number[][], s: readonly number[], y: readonly number[], curvature: number): number[][] {
  const hy = inverse.map((row) => dot(row, y));
  const scale = (1 + dot(y, hy) / curvature) / curvature;
  return inverse.map((row, i) =>
    row.map((h, j) => h + scale * s[i]! * s[j]! - (hy[i]! * s[j]! + s[i]! * hy[j]!) / curvature),
  );
}
