import { preset } from '../../scripts/tsup-preset.js';

export default {
  ...preset,
  entry: {
    index: 'src/index.ts',
    answers: 'src/answers/index.ts',
    concurrency: 'src/concurrency/index.ts',
    estimators: 'src/estimators/index.ts',
    jinja: 'src/jinja/index.ts',
    ledger: 'src/ledger/index.ts',
    node: 'src/node/index.ts',
    vectors: 'src/vectors/index.ts',
    verifiers: 'src/verifiers/index.ts',
    python: 'src/python/index.ts',
    random: 'src/random/index.ts',
    testing: 'src/testing/index.ts',
  },
};
