import manifest from '../package.json' with { type: 'json' };

/** Of this package, and of all that it depends on. */
export const version: string = manifest.version;
