import { formatMeasured, formatNumber, type Measured, type NumberFormat } from './format.js';
import type { EvalResult } from './log/format.js';

/** What a table can show; `null` and `undefined` show as "–". */
export type TableCell = string | number | boolean | null | undefined | Measured;
/** A row of a table: cells by the key of their column. */
export type TableRow = Readonly<Record<string, TableCell>>;

/** A column of a table. */
export interface TableColumn {
  /** The rows' key. */
  readonly key: string;
  /** Heading. Default: the key. */
  readonly title?: string;
  /** How numbers are shown. Default `number`. */
  readonly format?: NumberFormat;
}

/** A cell as text, in the two parts that are aligned: the value and "± its standard error". */
export interface CellText {
  readonly value: string;
  readonly error: string;
  readonly numeric: boolean;
}

/** The columns of `rows`: those given, or every key in order of appearance. */
export function columnsOf(
  rows: readonly TableRow[],
  columns?: readonly (string | TableColumn)[],
): Required<TableColumn>[] {
  const given = columns ?? [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return given.map((column) => {
    const { key, title, format = 'number' } = typeof column === 'string' ? { key: column } : column;
    return { key, title: title ?? key, format };
  });
}

export function cellText(cell: TableCell, format: NumberFormat): CellText {
  if (cell === null || cell === undefined) return { value: '–', error: '', numeric: true };
  if (typeof cell === 'object') return { ...formatMeasured(cell, format), numeric: true };
  if (typeof cell !== 'number') return { value: String(cell), error: '', numeric: false };
  return {
    value: format === 'percent' ? formatMeasured({ value: cell }, format).value : formatNumber(cell),
    error: '',
    numeric: true,
  };
}

/**
 * One row per run and one column per metric, for `renderTable` and reports: values are fractions, so show the columns
 * with `format: 'percent'` where they are shares. `names` replaces the models' names.
 */
export function metricsTable(
  results: readonly EvalResult[],
  options: { readonly names?: readonly string[]; readonly format?: NumberFormat } = {},
): { rows: TableRow[]; columns: TableColumn[] } {
  const { names, format = 'percent' } = options;
  const manyTasks = new Set(results.map(({ config }) => config.task)).size > 1;
  const manyGraders = new Set(results.flatMap(({ metrics }) => metrics.map(({ grader }) => grader))).size > 1;
  const columns = new Map<string, TableColumn>([['model', { key: 'model' }]]);
  if (manyTasks) columns.set('task', { key: 'task' });
  const rows = results.map((result, i) => {
    const row: Record<string, TableCell> = { model: names?.[i] ?? result.config.model };
    if (manyTasks) row.task = result.config.task;
    for (const metric of result.metrics) {
      const key = manyGraders && metric.grader ? `${metric.metric} (${metric.grader})` : metric.metric;
      columns.set(key, { key, format });
      row[key] = { value: metric.value, standardError: metric.standardError };
    }
    row.problems = result.problems.length;
    return row;
  });
  columns.set('problems', { key: 'problems' });
  return { rows, columns: [...columns.values()] };
}
