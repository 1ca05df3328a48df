export const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** Gauss–Jordan of a symmetric positive definite matrix. */
export function inverted(matrix: readonly (readonly number[])[]): number[][] {
  const m = matrix.length;
  const rows = matrix.map((row, i) => [...row, ...row.map((_, j) => Number(i === j))]);
  for (let i = 0; i < m; i++) {
    const pivot = rows[i]![i]!;
    rows[i] = rows[i]!.map((value) => value / pivot);
    rows.forEach((row, j) => {
      const factor = row[i]!;
      if (j !== i && factor !== 0) rows[j] = row.map((value, k) => value - factor * rows[i]![k]!);
    });
  }
  return rows.map((row) => row.slice(m));
}
