import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { assertPath, options as declare, type Given, isPosttrainError, text } from '@posttrain/interfaces';
import { assertModelFolder } from '../model-folder.js';
import { defaultCacheDir, ModelCache } from './cache.js';
import { downloadSnapshot, hubShape, isOffline, type ListFileEntry } from './download-snapshot.js';
import { DownloadError } from './errors.js';
import { chosenGguf, type GgufChoice, ggufChoice, isGguf } from './gguf-choice.js';

const downloadModelOptions = declare('downloadModel', {
  /** A GGUF file of the repository, which is downloaded alone. Default: the folder's safetensors. */
  ggufFile: text({ optional: true }),
  ...hubShape,
});
/** Options of downloading a model from the Hugging Face hub into its standard cache. */
export type DownloadModelOptions = Given<typeof downloadModelOptions>;

/** Their names. */
export const DOWNLOAD_OPTIONS = Object.keys(downloadModelOptions.shape);

/**
 * Downloads what is needed to run a model (`*.json`, `*.safetensors`, `*.jinja`) into the cache that all Hugging Face
 * libraries share, and returns the folder. Files that are there are not asked for again; an interrupted download goes
 * on where it stopped; a snapshot is named by its branch only when it is complete.
 *
 * Of a repository of GGUF files one is downloaded, and its path returned: that of `ggufFile`, or of the quantisation that
 * stands behind the name (`org/name:Q4_K_M`, as llama.cpp's tools write it).
 *
 * @param name `org/name`, or `org/name:QUANTISATION`
 * @throws OptionError, ModelNotFoundError, ModelAccessError, DownloadError, NotInCacheError (offline), MissingPackageError
 */
export async function downloadModel(name: string, given: DownloadModelOptions = {}): Promise<string> {
  const options = downloadModelOptions.read(given);
  const { revision, cacheDir = defaultCacheDir() } = options;
  const { repository, choice } = ggufChoice(name, options.ggufFile);
  const cache = new ModelCache(cacheDir, repository, revision);
  if (isOffline(options)) {
    return choice ? cache.offlineGguf(choice) : cache.offlineSnapshot();
  }
  const needed = (files: readonly ListFileEntry[]) => neededFiles(repository, files, choice);
  const { snapshot, paths } = await downloadSnapshot({ kind: 'model', cache, needed }, options);
  return choice ? join(snapshot, paths[0]!) : snapshot;
}

/** A local folder as it is (or the GGUF file in it that the options name); any other name is downloaded. */
export async function resolveModelFolder(nameOrFolder: string, options: DownloadModelOptions = {}): Promise<string> {
  assertPath('fromPretrained', 'nameOrFolder', nameOrFolder);
  downloadModelOptions.read(options);
  const found = await stat(nameOrFolder).catch(() => undefined);
  if (found?.isDirectory() && options.ggufFile !== undefined) {
    return resolveModelFolder(join(nameOrFolder, options.ggufFile));
  }
  if (found?.isDirectory() || (found?.isFile() && nameOrFolder.toLowerCase().endsWith('.gguf'))) return nameOrFolder;
  if (found?.isFile() || /^(\.{0,2}[/\\]|~|[A-Za-z]:)|\.gguf$/i.test(nameOrFolder)) {
    await assertModelFolder('fromPretrained', nameOrFolder);
  }
  try {
    return await downloadModel(nameOrFolder, options);
  } catch (error) {
    // A folder's name that is mistyped is a name on the hub.
    if (isPosttrainError(error)) error.message += ` There is no folder or GGUF file ${nameOrFolder} here either.`;
    throw error;
  }
}

function neededFiles(name: string, listed: readonly ListFileEntry[], choice: GgufChoice | undefined): ListFileEntry[] {
  const paths = listed.map(({ path }) => path);
  const gguf = choice && chosenGguf(paths, choice, (says) => new DownloadError(`${name}: ${says}`));
  const files = listed.filter(({ path }) => (gguf === undefined ? isNeeded(path) : path === gguf));
  if (gguf === undefined && !files.some(({ path }) => path.endsWith('.safetensors'))) {
    const others = paths.filter(isGguf).sort();
    throw new DownloadError(
      `${name}: has no *.safetensors file; ` +
        (others.length === 0
          ? 'its weights must be converted first.'
          : `name a GGUF file with ggufFile, or its quantisation as in "${name}:Q4_K_M". There are ${others.join(', ')}.`),
    );
  }
  return files;
}

/** Top-level files of a model folder, and the configs of sentence-transformers' modules; `consolidated*` repeats the weights in another layout. */
function isNeeded(path: string): boolean {
  if (/^additional_chat_templates\/[^/\\]+\.jinja$/.test(path)) return true;
  return /^([^/\\]+\.(json|jinja|safetensors)|\d+_\w+\/config\.json)$/.test(path) && !path.startsWith('consolidated');
}
