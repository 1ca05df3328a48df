import type { KnipConfig } from 'knip';

const config: KnipConfig = {
  workspaces: {
    '.': {
      entry: ['scripts/*.{mjs,ts}'],
      // Started by path.
      ignoreDependencies: ['@arethetypeswrong/cli', 'turbo'],
    },
    'packages/*': {},
    'examples/*': { entry: ['*.ts'] },
    benchmarks: { entry: ['*.ts', 'gpu/{pack,run}.ts', 'spike/*.ts'] },
  },
  ignoreExportsUsedInFile: true,
  ignoreBinaries: ['apt-get'],
};

export default config;
