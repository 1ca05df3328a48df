import { access, copyFile, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { PosttrainError } from '@posttrain/interfaces';
import { makeFolder, writeAtomically } from '@posttrain/interfaces/node';
import { readJsonObjectIfPresent } from '../files.js';
import { NotInCacheError } from './errors.js';
import { chosenGguf, type GgufChoice } from './gguf-choice.js';

/** The hub cache's folder: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in `~/.cache/huggingface`. */
export function defaultCacheDir(environment: NodeJS.ProcessEnv = process.env): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = environment;
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  return HF_HUB_CACHE ?? HUGGINGFACE_HUB_CACHE ?? join(home, 'hub');
}

/** The paths of one revision of a model or a data set in the cache layout that all Hugging Face libraries share. */
export class ModelCache {
  readonly name: string;
  readonly revision: string;
  readonly folder: string;

  /** @throws PosttrainError when `name` is not `name` or `org/name`, or `revision` would lead out of the cache */
  constructor(cacheDir: string, name: string, revision: string, kind: 'model' | 'dataset' = 'model') {
    if (!/^\w[\w.-]*(\/\w[\w.-]*)?$/.test(name) || name.includes('..')) {
      throw new PosttrainError(
        'INVALID_MODEL_NAME',
        `"${name}" is not the name of a ${kind === 'model' ? 'model' : 'data set'}; names look like "org/name".`,
      );
    }
    if (/\p{Cc}/u.test(revision) || revision.split(/[/\\]/).some((part) => ['', '.', '..'].includes(part))) {
      throw new PosttrainError('INVALID_REVISION', `"${revision}" is not the name of a branch, a tag or a commit.`);
    }
    this.name = name;
    this.revision = revision;
    this.folder = join(cacheDir, `${kind}s--${name.replaceAll('/', '--')}`);
  }

  blob(etag: string): string {
    return join(this.folder, 'blobs', etag);
  }

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit);
  }

  /** The commit the revision had at the last complete download; undefined when there was none. */
  async readCommit(): Promise<string | undefined> {
    if (isCommit(this.revision)) return this.revision;
    try {
      return (await readFile(this.#ref, 'utf8')).trim();
    } catch {
      return undefined;
    }
  }

  async writeCommit(commit: string): Promise<void> {
    if (isCommit(this.revision)) return;
    await writeAtomically((files) => files.stage(this.#ref, (write) => write(new TextEncoder().encode(commit))));
  }

  /** Makes `path` of a snapshot show a blob: a relative link, or a copy where links are not allowed (Windows). */
  async link(commit: string, path: string, etag: string): Promise<void> {
    const pointer = join(this.snapshot(commit), path);
    await makeFolder(dirname(pointer));
    await rm(pointer, { force: true });
    try {
      await symlink(relative(dirname(pointer), this.blob(etag)), pointer);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error;
      await copyFile(this.blob(etag), pointer);
    }
  }

  /** The revision's snapshot, which must hold a whole model. @throws NotInCacheError */
  async offlineSnapshot(): Promise<string> {
    const snapshot = await this.presentSnapshot();
    const missing = await missingFiles(snapshot);
    if (missing.length > 0) throw new NotInCacheError(this.name, `${snapshot} lacks ${missing.join(', ')}`);
    return snapshot;
  }

  /** The path of a GGUF file of the revision's snapshot. @throws NotInCacheError */
  async offlineGguf(choice: GgufChoice): Promise<string> {
    const snapshot = await this.presentSnapshot();
    const paths = (await readdir(snapshot, { recursive: true })).map((path) => path.replaceAll('\\', '/'));
    const problem = (says: string) => new NotInCacheError(this.name, `${snapshot} ${says.replace(/\.$/, '')}`);
    return join(snapshot, chosenGguf(paths, choice, problem));
  }

  /** The revision's snapshot, whatever it holds. @throws NotInCacheError */
  async presentSnapshot(): Promise<string> {
    const commit = await this.readCommit();
    const snapshot = commit === undefined ? undefined : this.snapshot(commit);
    if (snapshot === undefined || !(await exists(snapshot))) {
      throw new NotInCacheError(
        this.name,
        `the revision "${this.revision}" is not in the cache ${dirname(this.folder)}`,
      );
    }
    return snapshot;
  }

  get #ref(): string {
    return join(this.folder, 'refs', this.revision);
  }
}

export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

export async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

/** What a snapshot would need to be loaded: a configuration, and every weight file its index names. */
async function missingFiles(snapshot: string): Promise<string[]> {
  const index = await readJsonObjectIfPresent(join(snapshot, 'model.safetensors.index.json'));
  const shards = index ? new Set(Object.values((index.weight_map ?? {}) as Record<string, string>)) : undefined;
  const hasSingle = (await readdir(snapshot)).includes('model.safetensors');
  const needed = ['config.json', ...(shards && !hasSingle ? shards : ['model.safetensors'])];
  const present = await Promise.all(needed.map((file) => exists(join(snapshot, file))));
  return needed.filter((_, i) => !present[i]);
}
