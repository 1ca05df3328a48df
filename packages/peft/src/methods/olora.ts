import { type Tensor, tensor } from '@posttrain/core-tensor';

/**
 * OLoRA (arXiv 2406.01775): with W = Q R [out, in], LoRA starts from B₀ = Q_r, the first r of the orthonormal columns, and
 * A₀ = R_r, the first r rows, over the rest of the weight: y = (W − s B₀ A₀) x + s B A x. As with PiSSA, B₀ and A₀ are
 * subtracted beside the weight.
 *
 * By r of Householder's reflections, in float64 on the host, with LAPACK's signs; the time is that of r products with the weight.
 *
 * @param weight stored [out, in], or [in, out] when `transposed`
 */
export async function oloraFactors(
  weight: Tensor,
  { r, transposed }: { readonly r: number; readonly transposed: boolean },
): Promise<{ readonly a: Tensor; readonly b: Tensor }> {
  const [first, second] = weight.shape as [number, number];
  const [rows, columns] = transposed ? [second, first] : [first, second];
  const stored = await weight.data();
  const w = Float64Array.from(stored, (_, i) =>
    Number(transposed ? stored[(i % columns) * rows + Math.floor(i / columns)] : stored[i]),
  );
  const reflections = Array.from({ length: r }, (_, j) => {
    const reflection = reflectionOf(w, { rows, columns, j });
    reflect(w, { columns, from: j, reflection });
    return reflection;
  });
  const q = new Float64Array(rows * r);
  for (let j = 0; j < r; j++) q[j * r + j] = 1;
  for (let j = r - 1; j >= 0; j--) reflect(q, { columns: r, from: j, reflection: reflections[j]! });
  const upper = Float32Array.from({ length: r * columns }, (_, i) =>
    i % columns < Math.floor(i / columns) ? 0 : w[i]!,
  );
  return { a: tensor(upper, [r, columns]), b: tensor(Float32Array.from(q), [rows, r]) };
}

/** I − τ v vᵀ over the rows from j on, with v[0] = 1. */
interface Reflection {
  readonly v: Float64Array;
  readonly tau: number;
}

/** What turns column j below its diagonal to zero: the diagonal gets the other sign, so that nothing cancels. */
function reflectionOf(
  w: Float64Array,
  { rows, columns, j }: { readonly rows: number; readonly columns: number; readonly j: number },
): Reflection {
  const v = Float64Array.from({ length: rows - j }, (_, i) => w[(j + i) * columns + j]!);
  const head = v[0]!;
  const below = v.reduce((sum, x, i) => (i === 0 ? 0 : sum + x * x), 0);
  if (below === 0) return { v, tau: 0 };
  const diagonal = -Math.sign(head || 1) * Math.sqrt(head * head + below);
  return { v: v.map((x, i) => (i === 0 ? 1 : x / (head - diagonal))), tau: (diagonal - head) / diagonal };
}

/** A matrix with `columns` columns reflected in place. */
function reflect(
  w: Float64Array,
  { columns, from, reflection }: { readonly columns: number; readonly from: number; readonly reflection: Reflection },
): void {
  const { v, tau } = reflection;
  const along = new Float64Array(columns);
  v.forEach((x, i) => {
    for (let c = 0; c < columns; c++) along[c]! += x * w[(from + i) * columns + c]!;
  });
  v.forEach((x, i) => {
    for (let c = 0; c < columns; c++) w[(from + i) * columns + c]! -= tau * x * along[c]!;
  });
}
