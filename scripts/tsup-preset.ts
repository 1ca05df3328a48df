import type { Options } from 'tsup';

/** How each package is built: ES modules with types and source maps. Its `tsup.config.ts` says of which entries. */
export const preset: Options = {
  format: ['esm'],
  dts: true,
  sourcemap: true,
  clean: true,
  target: 'node20',
};
