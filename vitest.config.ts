import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// `npm run test:slow` runs the tests that are too long for every run, and only those.
const slow = process.env.POSTTRAIN_TESTS === 'slow';
const suffix = slow ? 'slow.test.ts' : 'test.ts';

/**
 * Isolation: each of these files has a process of its own, since it changes what belongs to a process or measures it. The
 * others share a few processes (slow ones none), so that a package is loaded once for many files: loading took about a
 * quarter of the time.
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
  'packages/core-tensor/test/tfjs.test.ts',
];
for (const file of isolated) {
  if (!existsSync(new URL(file, import.meta.url))) throw new Error(`vitest.config.ts: isolated ${file} is not there`);
}

/** Memory leaks end with a process, and processes with their project; so those that use an engine are several projects. */
const withEngine = {
  'core-tensor': ['packages/core-tensor'],
  lm: ['packages/lm'],
  training: ['packages/training', 'packages/peft'],
  rl: ['packages/rl', 'packages/serve', 'examples/*', 'benchmarks'],
  cli: ['packages/cli'],
};

const exclude = ['**/node_modules/**', '**/dist/**', ...(slow ? [] : ['**/*.slow.test.ts'])];
const projectOf = (name: string, folders: readonly string[], without: readonly string[], setupFiles: string[]) => ({
  extends: true as const,
  test: {
    ...{ name, setupFiles, isolate: slow },
    include: folders.map((folder) => `${folder}/**/*.${suffix}`),
    exclude: [...exclude, ...without],
  },
});

export default defineConfig({
  test: {
    pool: 'forks',
    // The native engine has threads of its own, so more workers than half the cores only get in each other's way.
    maxWorkers: Math.max(2, Math.floor(availableParallelism() / 2)),
    testTimeout: slow ? 3_600_000 : 120_000,
    hookTimeout: 120_000,
    // Transforms are kept by content, for the next run; `npx vitest --clearCache` forgets them.
    experimental: { fsModuleCache: true },
    projects: [
      ...Object.entries(withEngine).map(([name, folders]) =>
        projectOf(name, folders, isolated, ['testing/as-found.ts', 'testing/default-engine.ts']),
      ),
      { extends: true, test: { name: 'isolated', include: slow ? [] : isolated } },
      projectOf(
        'plain',
        ['packages/*', 'scripts', 'testing'],
        Object.values(withEngine).flatMap((folders) => folders.map((folder) => `${folder}/**`)),
        ['testing/as-found.ts'],
      ),
    ],
  },
});
