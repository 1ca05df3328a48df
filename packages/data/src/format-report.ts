import { showValue } from '@posttrain/interfaces';
import { DataOptionError } from './errors.js';
import type { StepReport } from './step.js';

/**
 * The report as a text table, one line per step and one per reason.
 *
 * @throws DataOptionError for what `report()` of a pipeline did not give
 */
export function formatReport(report: readonly StepReport[]): string {
  assertReport(report);
  const lines: string[][] = [['step', 'read', 'kept', 'dropped', 'why']];
  for (const { step, read, kept, dropped, reasons, warnings } of report) {
    const why = [
      ...Object.entries(reasons).map(([reason, count]) => `${count} ${reason}`),
      ...Object.entries(warnings ?? {}).map(([warning, count]) => `warning: ${count} ${warning}`),
    ];
    lines.push([step, String(read), String(kept), String(dropped), why[0] ?? '']);
    for (const more of why.slice(1)) lines.push(['', '', '', '', more]);
  }
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const pad = (cell: string, column: number) =>
    column === 0 || column === 4 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!);
  return lines.map((line) => line.map(pad).join('  ').trimEnd()).join('\n');
}

function assertReport(report: unknown): void {
  const isStep = (step: unknown): boolean => {
    const { step: name, read, kept, dropped, reasons } = (step ?? {}) as Partial<StepReport>;
    return typeof name === 'string' && typeof reasons === 'object' && [read, kept, dropped].every(Number.isInteger);
  };
  if (Array.isArray(report) && report.every(isStep)) return;
  const problem = `the report must be what report() of a pipeline gives, got ${showValue(report)}.`;
  throw new DataOptionError('formatReport', problem);
}
