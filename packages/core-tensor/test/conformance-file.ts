import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type ConformanceSummary, type EngineReport, summarizeConformance } from '../src/testing/index.js';

const folder = join(import.meta.dirname, '../../../docs/conformance');

/**
 * Checks the file of one engine in docs/conformance, from which `scripts/render-conformance.ts` makes the table. The
 * machine that cannot run an engine checks nothing of it.
 */
export function checkConformanceFile(report: EngineReport): void {
  const file = `${report.name.replaceAll(' ', '-')}.json`;
  describe(`docs/conformance/${file}`, () => {
    it('is up to date (UPDATE_CONFORMANCE=1 writes it)', (context) => {
      // A filtered run has nothing to say about the whole table.
      if (report.results.size < report.registered) context.skip('needs the whole suite');
      const path = join(folder, file);
      const text = render(summarizeConformance(report));
      if (process.env.UPDATE_CONFORMANCE) writeFileSync(path, text);
      expect(existsSync(path) && readFileSync(path, 'utf8')).toBe(text);
    });
  });
}

/** One line an operation, as the formatter of this repository writes it. */
function render({ engine, operations, skipped }: ConformanceSummary): string {
  const lines = (table: Readonly<Record<string, unknown>>): string => {
    const entries = Object.entries(table).map(([key, value]) => `\n    ${JSON.stringify(key)}: ${inline(value)}`);
    return entries.length === 0 ? '{}' : `{${entries.join(',')}\n  }`;
  };
  const parts = [`"engine": ${inline(engine)}`, `"operations": ${lines(operations)}`, `"skipped": ${lines(skipped)}`];
  return `{\n  ${parts.join(',\n  ')}\n}\n`;
}

function inline(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{ ${Object.entries(value)
    .map(([key, inner]) => `${JSON.stringify(key)}: ${inline(inner)}`)
    .join(', ')} }`;
}
