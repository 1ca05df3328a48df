import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  assertPath,
  boolean,
  custom,
  options as declare,
  type Given,
  isPosttrainError,
  type OnProgress,
  text,
} from '@posttrain/interfaces';
import { assertModelFolder } from '../model-folder.js';
import { defaultCacheDir, exists, isCommit, ModelCache } from './cache.js';
import { downloadBlob, type RemoteFile } from './download-blob.js';
import { DownloadError, MissingPackageError, ModelAccessError, ModelNotFoundError } from './errors.js';
import { chosenGguf, type GgufChoice, ggufChoice, isGguf } from './gguf-choice.js';

const downloadModelOptions = declare('downloadModel', {
  /** A branch, a tag or a commit. Default `main`. */
  revision: text({ default: 'main' }),
  /** A GGUF file of the repository, which is downloaded alone. Default: the folder's safetensors. */
  ggufFile: text({ optional: true }),
  /** Default: `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or `~/.cache/huggingface/hub`. */
  cacheDir: text({ optional: true, decisive: false }),
  /** For gated and private models. Default `HF_TOKEN`. */
  token: text({ optional: true, decisive: false, secret: true }),
  /** The hub's address. Default `HF_ENDPOINT`, or https://huggingface.co. */
  endpoint: text({ optional: true, decisive: false }),
  /** Use only what is in the cache. Default: whether `HF_HUB_OFFLINE` is 1, true, yes or on. */
  offline: boolean({ optional: true, decisive: false }),
  /** Told the bytes that are there and the bytes of all files. */
  onProgress: custom<OnProgress>()('a function', (value) => typeof value === 'function', {
    optional: true,
    decisive: false,
  }),
});
/** Options of downloading a model from the Hugging Face hub into its standard cache. */
export type DownloadModelOptions = Given<typeof downloadModelOptions>;

/** Their names. */
export const DOWNLOAD_OPTIONS = Object.keys(downloadModelOptions.shape);

type Hub = typeof import('@huggingface/hub');
type ListFileEntry = import('@huggingface/hub').ListFileEntry;

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
  if (options.offline ?? /^(1|true|yes|on)$/i.test(process.env.HF_HUB_OFFLINE ?? '')) {
    return choice ? cache.offlineGguf(choice) : cache.offlineSnapshot();
  }
  const hub = await importHub();
  const token = options.token ?? process.env.HF_TOKEN;
  const hubUrl = (options.endpoint ?? process.env.HF_ENDPOINT)?.replace(/\/+$/, '');
  const common = { ...(token ? { accessToken: token } : {}), ...(hubUrl ? { hubUrl } : {}) };

  const commit = await asked(hub, repository, revision, token, () => resolveCommit(hub, repository, revision, common));
  const files = await asked(hub, repository, revision, token, async () =>
    neededFiles(repository, await listFiles(hub, repository, commit, common), choice),
  );
  const report = progressReporter(repository, files, options.onProgress);
  for (const file of files) {
    const blob = cache.blob(file.etag);
    if (!(await hasSize(blob, file.size))) {
      const openRemote = (offset: number) =>
        asked(hub, repository, revision, token, () => openFile(hub, repository, commit, file, common, offset));
      await downloadBlob(blob, file, openRemote, (bytes) => report(file, bytes));
    }
    report(file, file.size);
    if (!(await exists(join(cache.snapshot(commit), file.path)))) await cache.link(commit, file.path, file.etag);
  }
  await cache.writeCommit(commit);
  return choice ? join(cache.snapshot(commit), files[0]!.path) : cache.snapshot(commit);
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

/** @param load replaced in tests */
export async function importHub(load: () => Promise<Hub> = () => import('@huggingface/hub')): Promise<Hub> {
  try {
    return await load();
  } catch (cause) {
    throw new MissingPackageError('@huggingface/hub', 'Downloading a model', { cause });
  }
}

interface Access {
  readonly accessToken?: string;
  readonly hubUrl?: string;
}

async function resolveCommit(hub: Hub, name: string, revision: string, access: Access): Promise<string> {
  const info = await hub.modelInfo({ name, revision, additionalFields: ['sha'], ...access });
  const commit: unknown = info.sha;
  if (typeof commit !== 'string' || !isCommit(commit)) {
    throw new DownloadError(`${name}: the hub names no commit for "${revision}" (${JSON.stringify(commit)}).`);
  }
  return commit;
}

async function listFiles(hub: Hub, name: string, commit: string, access: Access): Promise<ListFileEntry[]> {
  const files: ListFileEntry[] = [];
  for await (const entry of hub.listFiles({ repo: name, revision: commit, recursive: true, ...access })) {
    if (entry.type === 'file') files.push(entry);
  }
  return files;
}

function neededFiles(name: string, listed: readonly ListFileEntry[], choice: GgufChoice | undefined): RemoteFile[] {
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
  return files.map((entry) => {
    const etag = entry.lfs?.oid ?? entry.oid;
    if (etag === undefined || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag)) {
      throw new DownloadError(`${name}/${entry.path}: the hub gives no usable hash (${JSON.stringify(etag)}).`);
    }
    return { path: entry.path, size: entry.size, etag, hash: entry.lfs ? 'sha256' : 'git-sha1' };
  });
}

/** Top-level files of a model folder, and the configs of sentence-transformers' modules; `consolidated*` repeats the weights in another layout. */
function isNeeded(path: string): boolean {
  if (/^additional_chat_templates\/[^/\\]+\.jinja$/.test(path)) return true;
  return /^([^/\\]+\.(json|jinja|safetensors)|\d+_\w+\/config\.json)$/.test(path) && !path.startsWith('consolidated');
}

async function openFile(
  hub: Hub,
  name: string,
  commit: string,
  file: RemoteFile,
  access: Access,
  offset: number,
): Promise<ReadableStream<Uint8Array>> {
  // Plain HTTP also for files stored with Xet: one path, which the tests can exercise, and it resumes.
  const blob = await hub.downloadFile({ repo: name, path: file.path, revision: commit, xet: false, ...access });
  if (!blob) throw new DownloadError(`${name}: the hub lists ${file.path} but does not have it.`);
  // Ask for what was announced: the library's own idea of the size may come from a different answer.
  return blob.slice(offset, file.size).stream() as ReadableStream<Uint8Array>;
}

/** Runs a request and turns the hub's refusals into errors that say what to do. */
async function asked<T>(
  hub: Hub,
  name: string,
  revision: string,
  token: string | undefined,
  request: () => Promise<T>,
): Promise<T> {
  try {
    return await request();
  } catch (cause) {
    if (!(cause instanceof hub.HubApiError)) {
      if (cause instanceof TypeError && cause.message === 'fetch failed') {
        throw new DownloadError(
          `${name}: the hub cannot be reached (${String((cause.cause as Error | undefined)?.message ?? cause.message)}). ` +
            'With HF_HUB_OFFLINE=1 only the cache is used.',
          { cause },
        );
      }
      throw cause;
    }
    const { statusCode } = cause;
    if (statusCode === 404) throw new ModelNotFoundError(name, revision, { cause });
    if (statusCode === 401 || statusCode === 403) {
      throw new ModelAccessError(name, statusCode, token !== undefined, { cause });
    }
    throw new DownloadError(`${name}: the hub answered with status ${statusCode}: ${cause.message}`, { cause });
  }
}

async function hasSize(path: string, size: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.size === size;
}

function progressReporter(
  name: string,
  files: readonly RemoteFile[],
  onProgress: OnProgress | undefined,
): (file: RemoteFile, bytes: number) => void {
  const total = files.reduce((sum, { size }) => sum + size, 0);
  const present = new Map<string, number>();
  const start = performance.now();
  let transferred = 0;
  return (file, bytes) => {
    const before = present.get(file.path);
    if (before !== undefined) transferred += Math.max(0, bytes - before);
    present.set(file.path, bytes);
    const done = [...present.values()].reduce((sum, value) => sum + value, 0);
    const seconds = (performance.now() - start) / 1000;
    const eta = transferred > 0 ? { etaSeconds: ((total - done) * seconds) / transferred } : {};
    onProgress?.({ stage: `download ${name}`, done, total, ...eta });
  };
}
