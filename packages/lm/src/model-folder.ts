import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { assertPath, PosttrainError } from '@posttrain/interfaces';

/** A path of which no model can be loaded: nothing is there, or something else. */
export class NoModelFolderError extends PosttrainError {
  constructor(path: string, problem: string) {
    super('NO_MODEL_FOLDER', `${path}: ${problem}`);
  }
}

const ADAPTER_CONFIG = 'adapter_config.json';

/**
 * Throws for what is neither a folder nor a GGUF file, and for the folder or file of an adapter.
 *
 * @throws NoModelFolderError; OptionError for what is no path
 */
export async function assertModelFolder(where: string, path: string): Promise<void> {
  assertPath(where, 'folder', path);
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) return refuseAdapter(path);
  if (found === undefined) {
    const isName = /^[\w-][\w.-]*\/[\w.-]+(:[\w-]+)?$/.test(path);
    const hint = isName
      ? ` A model of the hub is loaded by its name with fromPretrained(${JSON.stringify(path)}).`
      : '';
    throw new NoModelFolderError(path, `there is no such folder or GGUF file.${hint}`);
  }
  if (path.toLowerCase().endsWith('.gguf')) return;
  const folder = dirname(path);
  await refuseAdapter(folder, path);
  throw new NoModelFolderError(path, `is a file; give the folder that it is in, ${folder}, or a GGUF file.`);
}

async function refuseAdapter(folder: string, given: string = folder): Promise<void> {
  const names = await readdir(folder);
  if (names.includes('config.json') || !names.includes(ADAPTER_CONFIG)) return;
  const base = await baseModelOf(folder);
  const model = base === undefined ? 'the model that it was trained on' : `its base model, ${base}`;
  throw new NoModelFolderError(
    given,
    `is an adapter and no model: load ${model}, and then loadAdapter(model, ${JSON.stringify(folder)}) of @posttrain/peft.`,
  );
}

/** As far as its configuration can be read. */
async function baseModelOf(folder: string): Promise<string | undefined> {
  try {
    const config: unknown = JSON.parse(await readFile(join(folder, ADAPTER_CONFIG), 'utf8'));
    const name = (config as { readonly base_model_name_or_path?: unknown } | null)?.base_model_name_or_path;
    return typeof name === 'string' && name !== '' ? name : undefined;
  } catch {
    return undefined;
  }
}
