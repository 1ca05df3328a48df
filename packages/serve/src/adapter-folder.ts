import { readFile, realpath } from 'node:fs/promises';
import { basename, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { ApiError } from './api-error.js';

/** The files that an adapter is read from. */
const [CONFIG, TENSORS] = ['adapter_config.json', 'adapter_model.safetensors'];

/**
 * Confinement (path traversal): the real folder of an adapter that a client names, which with its files and the folders that its
 * configuration names (X-LoRA's adapters) lies within `root`, links followed.
 *
 * @throws ApiError 404 where there is no adapter, 403 for what lies elsewhere
 */
export async function allowedAdapterFolder(
  root: string,
  { name, path }: { readonly name: string; readonly path: string },
): Promise<string> {
  const missing = (cause?: unknown) =>
    new ApiError(
      404,
      `Loading lora ${name} failed: No adapter found for ${path}. Paths are of the folder of adapters ('${basename(resolve(root))}'), and an adapter is a folder in it with ${CONFIG}.`,
      { type: 'NotFoundError', param: 'lora_path', apiCode: 'adapter_not_found' },
      { cause },
    );
  if (path.includes('\0')) throw missing();
  const folder = resolve(root, path);
  // Before the disk is looked at, so that nobody learns what else is there.
  if (!isWithin(resolve(root), folder) && !isWithin(await realOf(root, missing), folder)) throw outside(path);
  const inside = await realOf(root, missing);
  const real = await realOf(folder, missing);
  if (!isWithin(inside, real)) throw outside(path);
  await realOf(join(real, CONFIG), missing);
  for (const one of [real, ...(await namedFolders(join(real, CONFIG)))]) {
    for (const part of [one, join(one, CONFIG), join(one, TENSORS)]) {
      const found = resolve(part);
      const target = await realpath(found).catch(() => found);
      if (!isWithin(inside, target) && !isWithin(resolve(root), target)) throw outside(one === real ? path : one);
    }
  }
  return real;
}

const realOf = (path: string, missing: (cause: unknown) => ApiError): Promise<string> =>
  realpath(path).catch((cause: unknown) => {
    throw missing(cause);
  });

function isWithin(root: string, path: string): boolean {
  const way = relative(root, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** Folders that the configuration of an adapter sends its reader to; a file that is no JSON is the reader's to refuse. */
async function namedFolders(config: string): Promise<string[]> {
  try {
    const { adapters } = JSON.parse(await readFile(config, 'utf8')) as { readonly adapters?: unknown };
    if (typeof adapters !== 'object' || adapters === null) return [];
    return Object.values(adapters).filter((one): one is string => typeof one === 'string');
  } catch {
    return [];
  }
}

const outside = (path: string): ApiError =>
  new ApiError(403, `'${path}' is outside of the folder whose adapters may be loaded.`, {
    param: 'lora_path',
    apiCode: 'path_not_allowed',
  });
