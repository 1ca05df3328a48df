// `npm test`: sets up, then runs every check and every test. With arguments (`npm test -- packages/rl`), only the unit
// tests that match them. With `--slow` (`npm run test:slow`), only the tests that are too long for every run, and then the unit tests
// once more with every product by the kernels of our own. With `--changed`, of the slow ones only what the change touches: alone beside `--slow`, else after everything, with one summary for all.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildKernels, library } from './build-kernels.mjs';
import { changedFiles, slowTests, touchedBy } from './changed.mjs';
import { ensureChromium } from './chromium.mjs';
import { secondsByPackage, secondsTable } from './seconds.mjs';
import { pnpm, root, run, setup, tool } from './setup.mjs';

process.env.TURBO_TELEMETRY_DISABLED = '1';
await setup();
console.log(`kernels: ${buildKernels()}`);

const temporary = mkdtempSync(join(tmpdir(), 'posttrain-test-'));
process.on('exit', () => rmSync(temporary, { recursive: true, force: true }));
const slow = process.argv.includes('--slow');
const isChanged = process.argv.includes('--changed');
const filters = process.argv.slice(2).filter((argument) => !['--slow', '--changed'].includes(argument));
/** No slow test of a change begins so long after the first, so that all ends within the time of CI. */
const CHANGED_MINUTES = 20;
const totals = { passed: 0, failed: 0, failures: [], skipped: [], files: [] };

const unitTests = { name: 'unit tests', run: () => runTests(filters) };
const slowTestsOfAll = { name: 'slow tests', run: () => runTests(filters, 'slow') };
const unitTestsOnKernels = {
  name: 'unit tests with every product by kernels of our own',
  run: () => runTests(filters, undefined, { POSTTRAIN_KERNELS: 'all' }),
};
const slowTestsOfChange = { name: 'slow tests of the change', run: runChangedTests };
const stages = [
  { name: 'types', command: [...tool('typescript', 'tsc'), '-p', 'tsconfig.json', '--noEmit'] },
  { name: 'lint and format', command: [...tool('@biomejs/biome', 'biome'), 'check', '.', '--error-on-warnings'] },
  { name: 'structure', command: [...tool('tsx'), 'scripts/check-structure.ts'] },
  unitTests,
  { name: 'build', command: [...pnpm(), 'exec', 'turbo', 'run', 'build', '--output-logs=new-only', '--ui=stream'] },
  { name: 'packages', command: [...tool('tsx'), 'scripts/check-packages.ts'] },
  { name: 'unused code', command: [...tool('knip')] },
  { name: 'packed tarballs', command: [...tool('tsx'), 'scripts/check-tarballs.ts'] },
];

const selected = selectStages();
for (const [i, stage] of selected.entries()) {
  console.log(`\n── ${i + 1}/${selected.length} ${stage.name} ──`);
  const start = Date.now();
  const status = stage.run ? stage.run() : count(run(stage.command));
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  if (status !== 0) finish(`FAILED at ${i + 1}/${selected.length} ${stage.name} after ${seconds} s`, status);
  console.log(`${stage.name}: ok in ${seconds} s`);
}
finish(`Everything passed in ${process.uptime().toFixed(0)} s`, 0);

function selectStages() {
  if (slow && isChanged) return [slowTestsOfChange];
  if (slow) return existsSync(library) ? [slowTestsOfAll, unitTestsOnKernels] : [slowTestsOfAll];
  if (filters.length > 0) return [unitTests];
  return isChanged ? [...stages, slowTestsOfChange] : stages;
}

function count(status) {
  if (status === 0) totals.passed++;
  else totals.failed++;
  return status;
}

function runTests(paths, kind, more = {}) {
  const chromium = ensureChromium();
  const results = join(temporary, 'unit.json');
  const reporters = ['--reporter=default', '--reporter=./scripts/results-reporter.ts'];
  const env = {
    ...process.env,
    POSTTRAIN_TEST_RESULTS: results,
    ...(kind && { POSTTRAIN_TESTS: kind }),
    ...(chromium && { CHROMIUM_PATH: chromium }),
    ...more,
  };
  const status = run([...tool('vitest'), 'run', ...reporters, ...paths], { env });
  try {
    const { passed, failed, failures, skipped, files } = JSON.parse(readFileSync(results, 'utf8'));
    totals.passed += passed;
    totals.failed += Math.max(failed, status === 0 ? 0 : 1);
    totals.failures.push(...failures);
    totals.skipped.push(...skipped);
    if (kind === undefined) totals.files.push(...files);
  } catch {
    console.error('vitest ended without reporting its results.');
    totals.failed++;
    return status || 1;
  } finally {
    rmSync(results, { force: true });
  }
  return status;
}

function runChangedTests() {
  const changed = changedFiles(root);
  if (!changed) console.log('git cannot say what changed, so all slow tests run.');
  const touched = changed ? touchedBy(changed, slowTests(root)) : slowTests(root);
  if (touched.length === 0) console.log('The change touches no slow test, so none is run.');
  const start = Date.now();
  let status = 0;
  for (const path of touched) {
    if (Date.now() - start > CHANGED_MINUTES * 60_000) {
      totals.skipped.push({
        test: path,
        reason: `not begun after ${CHANGED_MINUTES} minutes; npm run test:slow runs it`,
      });
    } else status = runTests([path], 'slow') || status;
  }
  return status;
}

function printSeconds() {
  const { seconds } = JSON.parse(readFileSync(join(root, 'scripts', 'budgets.json'), 'utf8'));
  const cores = Math.max(2, Math.floor(availableParallelism() / 2));
  const rows = secondsByPackage(totals.files, seconds, cores);
  console.log(`\nSeconds of the unit tests, ${cores} files at a time, beside the budgets for two cores:`);
  for (const line of secondsTable(rows)) console.log(line);
}

function finish(message, status) {
  if (selected.includes(stages[0]) && totals.files.length > 0) printSeconds();
  for (const { test, reason } of totals.skipped) console.log(`skipped: ${test} (${reason})`);
  for (const { test, message: why } of totals.failures) console.log(`failed: ${test} (${why})`);
  console.log(`\n${message}`);
  const { passed, failed, skipped } = totals;
  // No totals where nothing was to be run: "0 passed" would read as if tests had been lost.
  if (passed + failed + skipped.length > 0)
    console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
  process.exit(status);
}
