// What studies of three seeds print.

/** Student's t of 95 %, by how many seeds there are. */
const QUANTILES: Readonly<Record<number, number>> = { 3: 4.303, 5: 2.776 };

/** The mean of what three or five seeds came to, with its 95 % interval. */
export function intervalOf(values: readonly number[]): Record<'mean' | 'low' | 'high', number> {
  const mean = values.reduce((a, b) => a + b) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
  const half = (QUANTILES[values.length]! * deviation) / Math.sqrt(values.length);
  return { mean, low: mean - half, high: mean + half };
}

/** `intervalOf` as it is printed. */
export function interval(values: readonly number[], digits = 2): string {
  const { mean, low, high } = intervalOf(values);
  return `${mean.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`;
}

/** Prints a table of Markdown behind an empty line. */
export function table(columns: readonly string[], rows: readonly (readonly string[])[]): void {
  const line = (cells: readonly string[]) => console.log(`| ${cells.join(' | ')} |`);
  console.log();
  line(columns);
  line(columns.map(() => '---'));
  for (const row of rows) line(row);
}
