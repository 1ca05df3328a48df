import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// `npm run test:slow` runs the tests that are too long for every run, and only those.
const slow = process.env.POSTTRAIN_TESTS === 'slow';
const suffix = slow ? 'slow.test.ts' : 'test.ts';
const withEngine = '{core-tensor,lm,peft,rl,serve,training}';

/**
 * Isolation: each of these files has a process of its own, since it changes what belongs to a process or measures it. The
 * others share a few processes, so that a package is loaded once for many files: loading took a third of the time.
 */
const isolated = [
  // The driver of the GPU that a process finds, and what a device holds.
  'packages/core-tensor/test/device.test.ts',
  'packages/core-tensor/test/webgpu-conformance.test.ts',
  'packages/core-tensor/test/webgpu-missing.test.ts',
  'packages/core-tensor/test/webgpu.test.ts',
  'packages/training/test/webgpu.test.ts',
  // What is alive in memory.
  'packages/core-tensor/test/optim-memory.test.ts',
];
for (const file of isolated)
  if (!existsSync(file)) throw new Error(`vitest.config.ts isolates ${file}, which is not there`);

const exclude = ['**/node_modules/**', '**/dist/**', ...(slow ? [] : ['**/*.slow.test.ts'])];

export default defineConfig({
  test: {
    exclude,
    pool: 'forks',
    // The native engine has threads of its own, so more workers than half the cores only get in each other's way.
    maxWorkers: Math.max(2, Math.floor(availableParallelism() / 2)),
    testTimeout: slow ? 3_600_000 : 120_000,
    hookTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'engine',
          include: [
            `packages/${withEngine}/{src,test}/**/*.${suffix}`,
            `examples/*/**/*.${suffix}`,
            `benchmarks/*.${suffix}`,
          ],
          exclude: [...exclude, ...isolated],
          isolate: slow,
          setupFiles: ['testing/as-found.ts', 'testing/default-engine.ts'],
        },
      },
      { extends: true, test: { name: 'isolated', include: slow ? [] : isolated } },
      {
        extends: true,
        test: {
          name: 'plain',
          include: [`packages/*/{src,test}/**/*.${suffix}`, `{scripts,testing}/**/*.${suffix}`],
          exclude: [...exclude, `packages/${withEngine}/**`],
          isolate: slow,
          setupFiles: ['testing/as-found.ts'],
        },
      },
    ],
  },
});
