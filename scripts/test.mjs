// `npm test`: sets up, then runs every check and every test. With arguments (`npm test -- packages/rl`), only the unit
// tests that match them. With `--slow` (`npm run test:slow`), only the tests that are too long for every run.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureChromium } from './chromium.mjs';
import { pnpm, run, setup, tool } from './setup.mjs';

process.env.TURBO_TELEMETRY_DISABLED = '1';
await setup();

const temporary = mkdtempSync(join(tmpdir(), 'posttrain-test-'));
process.on('exit', () => rmSync(temporary, { recursive: true, force: true }));
const slow = process.argv.includes('--slow');
if (slow) process.env.POSTTRAIN_TESTS = 'slow';
const filters = process.argv.slice(2).filter((argument) => argument !== '--slow');
const totals = { passed: 0, failed: 0, failures: [], skipped: [] };

const unitTests = { name: 'unit tests', run: runUnitTests };
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

const selected = slow || filters.length > 0 ? [unitTests] : stages;
for (const [i, stage] of selected.entries()) {
  console.log(`\n── ${i + 1}/${selected.length} ${stage.name} ──`);
  const start = Date.now();
  const status = stage.run ? stage.run() : count(run(stage.command));
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  if (status !== 0) finish(`FAILED at ${i + 1}/${selected.length} ${stage.name} after ${seconds} s`, status);
  console.log(`${stage.name}: ok in ${seconds} s`);
}
finish(`Everything passed in ${process.uptime().toFixed(0)} s`, 0);

function count(status) {
  if (status === 0) totals.passed++;
  else totals.failed++;
  return status;
}

function runUnitTests() {
  const chromium = ensureChromium();
  const results = join(temporary, 'unit.json');
  const reporters = ['--reporter=default', '--reporter=./scripts/results-reporter.ts'];
  const env = { ...process.env, POSTTRAIN_TEST_RESULTS: results, ...(chromium ? { CHROMIUM_PATH: chromium } : {}) };
  const status = run([...tool('vitest'), 'run', ...reporters, ...filters], { env });
  try {
    const { passed, failed, failures, skipped } = JSON.parse(readFileSync(results, 'utf8'));
    totals.passed += passed;
    totals.failed += Math.max(failed, status === 0 ? 0 : 1);
    totals.failures.push(...failures);
    totals.skipped.push(...skipped);
  } catch {
    console.error('vitest ended without reporting its results.');
    totals.failed++;
    return status || 1;
  }
  return status;
}

function finish(message, status) {
  for (const { test, reason } of totals.skipped) console.log(`skipped: ${test} (${reason})`);
  for (const { test, message: why } of totals.failures) console.log(`failed: ${test} (${why})`);
  console.log(`\n${message}`);
  console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped.length} skipped`);
  process.exit(status);
}
