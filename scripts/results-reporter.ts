import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { Reporter, TestModule } from 'vitest/node';

/** What `npm test` needs of a vitest run for its last lines. */
export interface UnitResults {
  readonly passed: number;
  readonly failed: number;
  /** What failed, with the first line of why. */
  readonly failures: readonly { readonly test: string; readonly message: string }[];
  readonly skipped: readonly { readonly test: string; readonly reason: string }[];
  /** Test files by how long they took: importing, setting up and running, not waiting for each other. */
  readonly files: readonly { readonly path: string; readonly seconds: number }[];
}

/** Writes the counts, and every failed or skipped test with its reason, to the file named by `POSTTRAIN_TEST_RESULTS`. */
export default class ResultsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const file = process.env.POSTTRAIN_TEST_RESULTS;
    if (!file) return;
    writeFileSync(file, JSON.stringify(summarize(modules, unhandledErrors)));
  }
}

/** The counts of a run, and why what failed did. A file whose process crashed is named as failed: vitest itself does not say which. */
export function summarize(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): UnitResults {
  let passed = 0;
  const failures: { test: string; message: string }[] = [];
  const skipped: { test: string; reason: string }[] = [];
  const files: { path: string; seconds: number }[] = [];
  const fail = (test: string, errors: readonly unknown[]) => {
    const message = (errors[0] as Partial<Error> | undefined)?.message ?? String(errors[0]);
    failures.push({ test, message: message.split('\n', 1)[0]! });
  };
  if (unhandledErrors.length > 0) fail(`${unhandledErrors.length} errors outside of tests`, unhandledErrors);
  for (const module of modules) {
    const path = relative(process.cwd(), module.moduleId).replaceAll('\\', '/');
    const { prepareDuration, collectDuration, setupDuration, duration } = module.diagnostic();
    files.push({ path, seconds: (prepareDuration + collectDuration + setupDuration + duration) / 1000 });
    if (module.errors().length > 0) fail(path, module.errors());
    const isCut = module.state() === 'queued' || module.state() === 'pending';
    if (isCut) fail(path, [new Error('its process ended before its tests did')]);
    for (const test of module.children.allTests()) {
      const result = test.result();
      const name = `${path} > ${test.fullName}`;
      if (result.state === 'passed') passed++;
      else if (result.state === 'failed') fail(name, result.errors);
      else if (result.state === 'skipped' || !isCut) {
        const reason = (result.state === 'skipped' ? result.note : undefined) ?? 'no reason given';
        skipped.push({ test: name, reason });
      }
    }
  }
  return { passed, failed: failures.length, failures, skipped, files };
}
