import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { KnipConfig } from 'knip';

/** Workspaces with no code yet: their dependencies are foreseen, so knip is not asked about them. */
function skeletons(): string[] {
  const isEmpty = (folder: string) => {
    const index = `${folder}/src/index.ts`;
    if (existsSync(index)) return /export \{\};\s*$/.test(readFileSync(index, 'utf8'));
    return !readdirSync(folder).some((file) => file.endsWith('.ts'));
  };
  const children = (folder: string) => readdirSync(folder).map((name) => `${folder}/${name}`);
  return [...children('packages'), ...children('examples'), 'benchmarks'].filter(isEmpty);
}

const config: KnipConfig = {
  workspaces: {
    '.': {
      entry: ['scripts/*.{mjs,ts}'],
      // The first two are started by path; the third serves the tests of packages/eval.
      ignoreDependencies: ['@arethetypeswrong/cli', 'turbo', 'playwright-core'],
    },
    'packages/*': {},
    'examples/*': { entry: ['*.ts'] },
    benchmarks: { entry: ['*.ts'] },
  },
  ignoreWorkspaces: skeletons(),
  ignoreExportsUsedInFile: true,
  ignoreBinaries: ['apt-get'],
};

export default config;
