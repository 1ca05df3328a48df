import type { Options } from 'tsup';

/** How each package is built: ES modules with types and source maps, of `src/index.ts` and of further entries by name. */
export const preset = (entries: Readonly<Record<string, string>> = {}): Options => ({
  entry: { index: 'src/index.ts', ...entries },
  format: ['esm'],
  dts: true,
  sourcemap: true,
  clean: true,
  target: 'node20',
});
