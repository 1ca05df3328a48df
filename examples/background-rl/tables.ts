// What studies of three seeds print.

/** Mean and 95 % interval over three seeds (Student's t). */
export function interval(values: readonly number[], digits = 2): string {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const std = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1));
  const half = (4.303 * std) / Math.sqrt(values.length);
  return `${mean.toFixed(digits)} [${(mean - half).toFixed(digits)}, ${(mean + half).toFixed(digits)}]`;
}

/** Prints a table of Markdown behind an empty line. */
export function table(columns: readonly string[], rows: readonly (readonly string[])[]): void {
  const line = (cells: readonly string[]) => console.log(`| ${cells.join(' | ')} |`);
  console.log();
  line(columns);
  line(columns.map(() => '---'));
  for (const row of rows) line(row);
}
