import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { boolean, custom, type OnProgress, text } from '@posttrain/interfaces';
import { exists, isCommit, type ModelCache } from './cache.js';
import { downloadBlob, type RemoteFile } from './download-blob.js';
import { DownloadError, MissingPackageError, ModelAccessError, ModelNotFoundError } from './errors.js';

/** Options of every download from the hub. */
export const hubShape = {
  /** A branch, a tag or a commit. Default `main`. */
  revision: text({ default: 'main' }),
  /** Default: `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or `~/.cache/huggingface/hub`. */
  cacheDir: text({ optional: true, decisive: false }),
  /** For what is gated or private. Default `HF_TOKEN`. */
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
};

/** Whether only the cache is used. */
export const isOffline = ({ offline }: { readonly offline?: boolean | undefined }): boolean =>
  offline ?? /^(1|true|yes|on)$/i.test(process.env.HF_HUB_OFFLINE ?? '');

type Hub = typeof import('@huggingface/hub');
/** A file of a repository. */
export type ListFileEntry = import('@huggingface/hub').ListFileEntry;
type Kind = 'model' | 'dataset';

/** What is downloaded. */
export interface Wanted {
  readonly kind: Kind;
  /** Where to; it has the name and the revision. */
  readonly cache: ModelCache;
  /** Which of the files of the repository. */
  needed(files: readonly ListFileEntry[]): readonly ListFileEntry[];
}

/**
 * Downloads files of one commit of a repository into the cache that all Hugging Face libraries share. Files that are there are not
 * asked for again; an interrupted download goes on where it stopped; a snapshot is named by its branch only when it is complete.
 *
 * @returns the snapshot's folder, and the paths of the files in it
 */
export async function downloadSnapshot(
  { kind, cache, needed }: Wanted,
  options: {
    readonly token?: string | undefined;
    readonly endpoint?: string | undefined;
    readonly onProgress?: OnProgress | undefined;
  },
): Promise<{ readonly snapshot: string; readonly paths: readonly string[] }> {
  const { name, revision } = cache;
  const hub = await importHub();
  const token = options.token ?? process.env.HF_TOKEN;
  const hubUrl = (options.endpoint ?? process.env.HF_ENDPOINT)?.replace(/\/+$/, '');
  const common = { ...(token ? { accessToken: token } : {}), ...(hubUrl ? { hubUrl } : {}) };
  const repo: Repository = { type: kind, name };
  const ask = <T>(request: () => Promise<T>) => asked(hub, repo, revision, token, request);

  const commit = await ask(() => resolveCommit(hub, repo, revision, common));
  const files = await ask(async () => remoteFiles(name, needed(await listFiles(hub, repo, commit, common))));
  const report = progressReporter(name, files, options.onProgress);
  for (const file of files) {
    const blob = cache.blob(file.etag);
    if (!(await hasSize(blob, file.size))) {
      const openRemote = (offset: number) => ask(() => openFile(hub, repo, commit, file, common, offset));
      await downloadBlob(blob, file, openRemote, (bytes) => report(file, bytes));
    }
    report(file, file.size);
    if (!(await exists(join(cache.snapshot(commit), file.path)))) await cache.link(commit, file.path, file.etag);
  }
  await cache.writeCommit(commit);
  return { snapshot: cache.snapshot(commit), paths: files.map(({ path }) => path) };
}

interface Repository {
  readonly type: Kind;
  readonly name: string;
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

async function resolveCommit(hub: Hub, { type, name }: Repository, revision: string, access: Access): Promise<string> {
  const asked = { name, revision, additionalFields: ['sha'] as 'sha'[], ...access };
  const info = type === 'model' ? await hub.modelInfo(asked) : await hub.datasetInfo(asked);
  const commit: unknown = info.sha;
  if (typeof commit !== 'string' || !isCommit(commit)) {
    throw new DownloadError(`${name}: the hub names no commit for "${revision}" (${JSON.stringify(commit)}).`);
  }
  return commit;
}

async function listFiles(hub: Hub, repo: Repository, commit: string, access: Access): Promise<ListFileEntry[]> {
  const files: ListFileEntry[] = [];
  for await (const entry of hub.listFiles({ repo, revision: commit, recursive: true, ...access })) {
    if (entry.type === 'file') files.push(entry);
  }
  return files;
}

/** What a download asks for of each file. */
function remoteFiles(name: string, files: readonly ListFileEntry[]): RemoteFile[] {
  return files.map((entry) => {
    const etag = entry.lfs?.oid ?? entry.oid;
    if (etag === undefined || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag)) {
      throw new DownloadError(`${name}/${entry.path}: the hub gives no usable hash (${JSON.stringify(etag)}).`);
    }
    return { path: entry.path, size: entry.size, etag, hash: entry.lfs ? 'sha256' : 'git-sha1' };
  });
}

async function openFile(
  hub: Hub,
  repo: Repository,
  commit: string,
  file: RemoteFile,
  access: Access,
  offset: number,
): Promise<ReadableStream<Uint8Array>> {
  // Plain HTTP also for files stored with Xet: one path, which the tests can exercise, and it resumes.
  const blob = await hub.downloadFile({ repo, path: file.path, revision: commit, xet: false, ...access });
  if (!blob) throw new DownloadError(`${repo.name}: the hub lists ${file.path} but does not have it.`);
  // Ask for what was announced: the library's own idea of the size may come from a different answer.
  return blob.slice(offset, file.size).stream() as ReadableStream<Uint8Array>;
}

/** Runs a request and turns the hub's refusals into errors that say what to do. */
async function asked<T>(
  hub: Hub,
  { type, name }: Repository,
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
    if (statusCode === 404) throw new ModelNotFoundError(name, revision, { cause }, type);
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
