import { createRequire } from 'node:module';
import { dirname } from 'node:path';

/** The folder of this package, from its sources and from what is published. */
export const packageFolder = (): string =>
  dirname(createRequire(import.meta.url).resolve('@posttrain/sandbox/package.json'));
