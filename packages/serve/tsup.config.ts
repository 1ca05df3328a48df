import { preset } from '../../scripts/tsup-preset.js';

export default {
  ...preset,
  entry: {
    index: 'src/index.ts',
    'ai-sdk': 'src/ai-sdk/index.ts',
    cli: 'src/cli.ts',
    // Started by path, from beside it.
    'text-worker': 'src/text-worker.ts',
  },
};
