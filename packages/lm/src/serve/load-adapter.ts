import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { MissingPackageError } from '../hub/index.js';
import type { Adapter } from '../model/adapter.js';
import type { CausalLM } from '../model/causal-lm.js';

/** The part of `@posttrain/peft` that is used here. That package is written on this one, so it cannot be a dependency. */
interface AdapterLoader {
  loadAdapter(model: CausalLM, folder: string, options: { readonly name: string }): Promise<Adapter>;
}

const PACKAGE = '@posttrain/peft';

/** Loads an adapter folder with the package that the app has installed. @throws MissingPackageError, and what it throws */
export async function loadAdapterFolder(model: CausalLM, name: string, folder: string): Promise<Adapter> {
  const { loadAdapter } = await importLoader();
  return loadAdapter(model, folder, { name });
}

async function importLoader(): Promise<AdapterLoader> {
  // Beside the app that is run, where a package manager without a flat folder puts it; else beside this package.
  const places = [join(process.cwd(), 'package.json'), import.meta.url];
  for (const place of places) {
    const path = resolved(place);
    if (path !== undefined) return import(pathToFileURL(path).href);
  }
  throw new MissingPackageError(PACKAGE, 'serving an adapter');
}

function resolved(from: string): string | undefined {
  try {
    return createRequire(from).resolve(PACKAGE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}
