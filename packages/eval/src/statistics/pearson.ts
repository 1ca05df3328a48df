/** Pearson's correlation of two lists of equal length, from −1 to 1; `null` where all of one are equal. */
export function pearson(a: ArrayLike<number>, b: ArrayLike<number>): number | null {
  const meanOf = (values: ArrayLike<number>) => Array.from(values).reduce((sum, x) => sum + x, 0) / values.length;
  const [middle, centre] = [meanOf(a), meanOf(b)];
  let [both, one, other] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [u, v] = [a[i]! - middle, b[i]! - centre];
    both += u * v;
    one += u * u;
    other += v * v;
  }
  return one === 0 || other === 0 ? null : both / Math.sqrt(one * other);
}
