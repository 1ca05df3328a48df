import type { KnipConfig } from 'knip';

const config: KnipConfig = {
  workspaces: {
    '.': {
      // Proofs are copied beside installed tarballs, and started there.
      project: ['**/*.{cjs,mjs,ts}', '!scripts/proofs/**'],
      entry: ['scripts/*.{cjs,mjs,ts}', 'testing/fuzz-{child,faults}.ts', 'site/.vitepress/config.ts'],
      // Started by path; found from core-tensor; installed by `npm run docs`, in site/.
      ignoreDependencies: ['@arethetypeswrong/cli', 'turbo', 'onnxruntime-node', 'vitepress'],
    },
    'packages/*': {},
    // Copied, and then changed, by `npm run new`.
    'scripts/new/templates': { entry: ['*/{check,method}.ts'] },
    // Started by path, in a process whose memory is measured.
    'packages/data': { entry: ['test/scale-run.ts'] },
    // Started by path, with the module that it gives to QuickJS.
    'packages/sandbox': { entry: ['src/quickjs/child.mjs'] },
    'examples/*': { entry: ['*.ts'] },
    'examples/test-time': { entry: ['*.ts', '*/run{,-*}.ts'] },
    benchmarks: {
      entry: ['*.ts', 'gpu/{pack,run}.ts'],
      // Taken from a folder that the caller names.
      ignoreDependencies: ['node-llama-cpp'],
    },
  },
  ignoreExportsUsedInFile: true,
  ignoreBinaries: ['apt-get', 'bwrap', 'qemu-aarch64', 'sbatch', 'sinfo', 'taskset'],
};

export default config;
