/**
 * A module of Node, where there is one to be asked for: bundlers for browsers do not follow a name that they do not see, so what
 * needs Node for a single thing can be loaded by a page.
 */
export async function nodeModule<Module>(name: `node:${string}`): Promise<Module> {
  const { default: module } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as { default: Module };
  return module;
}

/** Whether this is Node, or something else that has its modules. */
export const isNode: boolean = typeof process === 'object' && process.versions?.node !== undefined;
