import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    'ai-sdk': 'src/ai-sdk/index.ts',
    serve: 'src/serve/index.ts',
    text: 'src/text.ts',
    cli: 'src/cli.ts',
    // Started by path, from beside it.
    'text-worker': 'src/serve/text-worker.ts',
  },
  format: ['esm'],
  dts: true,
  sourcemap: true,
  clean: true,
  target: 'node20',
});
