import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { Reporter, TestModule } from 'vitest/node';

/** What `npm test` needs of a vitest run for its last lines. */
export interface UnitResults {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly { readonly test: string; readonly reason: string }[];
}

/** Writes the counts, and every skipped test with its reason, to the file named by `POSTTRAIN_TEST_RESULTS`. */
export default class ResultsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const file = process.env.POSTTRAIN_TEST_RESULTS;
    if (!file) return;
    writeFileSync(file, JSON.stringify(summarize(modules, unhandledErrors.length)));
  }
}

function summarize(modules: readonly TestModule[], unhandledErrors: number): UnitResults {
  let passed = 0;
  let failed = unhandledErrors;
  const skipped: { test: string; reason: string }[] = [];
  for (const module of modules) {
    if (module.errors().length > 0) failed++;
    for (const test of module.children.allTests()) {
      const result = test.result();
      if (result.state === 'passed') passed++;
      else if (result.state === 'failed') failed++;
      else {
        const reason = (result.state === 'skipped' ? result.note : undefined) ?? 'no reason given';
        skipped.push({ test: `${relative(process.cwd(), module.moduleId)} > ${test.fullName}`, reason });
      }
    }
  }
  return { passed, failed, skipped };
}
