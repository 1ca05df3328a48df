import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    answers: 'src/answers/index.ts',
    concurrency: 'src/concurrency/index.ts',
    estimators: 'src/estimators/index.ts',
    ledger: 'src/ledger/index.ts',
    node: 'src/node/index.ts',
    verifiers: 'src/verifiers/index.ts',
    random: 'src/random/index.ts',
  },
  format: ['esm'],
  dts: true,
  sourcemap: true,
  clean: true,
  target: 'node20',
});
