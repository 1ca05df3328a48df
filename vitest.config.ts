import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// `npm run test:slow` runs the tests that are too long for every run, and only those.
const slow = process.env.POSTTRAIN_TESTS === 'slow';
const suffix = slow ? 'slow.test.ts' : 'test.ts';

export default defineConfig({
  test: {
    include: [
      `benchmarks/*.${suffix}`,
      `packages/*/{src,test}/**/*.${suffix}`,
      `examples/*/**/*.${suffix}`,
      `{scripts,testing}/**/*.${suffix}`,
    ],
    exclude: ['**/node_modules/**', '**/dist/**', ...(slow ? [] : ['**/*.slow.test.ts'])],
    pool: 'forks',
    // The native engine has threads of its own, so more workers than half the cores only get in each other's way.
    maxWorkers: Math.max(2, Math.floor(availableParallelism() / 2)),
    testTimeout: slow ? 3_600_000 : 120_000,
    hookTimeout: 120_000,
  },
});
