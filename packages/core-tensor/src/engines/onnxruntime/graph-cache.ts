import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A graph written for ONNX Runtime, with what the engine must know of it to run it. */
export interface StoredGraph {
  /** The bytes of its ONNX model. */
  readonly model: Uint8Array;
  /** Positions of the inputs of the graph that the model has, and of the outputs that it gives. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** Whether it has operators of our own. */
  readonly hasOwnOperators: boolean;
  /** For each donation: whether the output may be written over the input. */
  readonly inPlace: readonly boolean[];
}

/** What has become of what was asked of a cache, in this process. */
export interface GraphCacheUse {
  /** Graphs that were read instead of written anew. */
  readonly hits: number;
  readonly misses: number;
  /** Files that were not what they should be: cut off, changed, of another graph or format. Their graphs were written anew. */
  readonly damaged: number;
  /** Graphs that cannot be remembered: they have operations of others. */
  readonly uncacheable: number;
  /** Files that could not be written. */
  readonly unwritten: number;
}

/** Bytes of all files together; the least recently used go first. */
const MOST_BYTES = 256 * 2 ** 20;

/** Milliseconds after which a file that was being written was given up. */
const ABANDONED = 60 * 60 * 1000;

const MAGIC = 'posttrain graph 1\n';
const SUM_BYTES = 32;
const EXTENSION = '.graph';
const UNFINISHED = '.unfinished';

/**
 * Lowered graphs in a folder, a file each, by a key that says everything that decides what is in it. Nothing here fails: a file that is not
 * whole is as if it were not there, and a folder that cannot be written to stays as it is. Processes may share a folder: a file appears
 * under its name when it is whole, and what several write under one name is the same.
 */
export class GraphCache {
  readonly use = { hits: 0, misses: 0, damaged: 0, uncacheable: 0, unwritten: 0 };
  readonly #folder: string;
  readonly #mostBytes: number;

  constructor(folder: string, mostBytes = MOST_BYTES) {
    this.#folder = folder;
    this.#mostBytes = mostBytes;
  }

  /** The graph of a key; undefined where there is none that is whole. */
  async read(key: string): Promise<StoredGraph | undefined> {
    const path = this.#path(key);
    let bytes: Buffer;
    try {
      bytes = await readFile(path);
    } catch {
      this.use.misses++;
      return undefined;
    }
    const found = decode(key, bytes);
    if (!found) {
      this.use.damaged++;
      return undefined;
    }
    this.use.hits++;
    const now = new Date();
    // For the order in which they go; a folder that is only read has none.
    await utimes(path, now, now).catch(() => undefined);
    return found;
  }

  /** Keeps a graph, and makes room for it. */
  async write(key: string, graph: StoredGraph): Promise<void> {
    const temporary = join(this.#folder, `${randomUUID()}${UNFINISHED}`);
    try {
      await mkdir(this.#folder, { recursive: true });
      const bytes = encode(key, graph);
      if (bytes.length > this.#mostBytes) return;
      await writeFile(temporary, bytes, { flag: 'wx' });
      await rename(temporary, this.#path(key));
      await this.#makeRoom();
    } catch {
      this.use.unwritten++;
      await rm(temporary, { force: true }).catch(() => undefined);
    }
  }

  #path(key: string): string {
    return join(this.#folder, `${key}${EXTENSION}`);
  }

  /** Removes the least recently used files until the rest are few enough, and those that nobody finishes. */
  async #makeRoom(): Promise<void> {
    const names = await readdir(this.#folder);
    const described = names.map(async (name) => {
      const path = join(this.#folder, name);
      // Another process may have removed it meanwhile.
      const found = await stat(path).catch(() => undefined);
      return found ? [{ path, name, size: found.size, at: found.mtimeMs }] : [];
    });
    const files = (await Promise.all(described)).flat();
    const unfinished = files.filter(({ name, at }) => name.endsWith(UNFINISHED) && Date.now() - at > ABANDONED);
    const kept = files.filter(({ name }) => name.endsWith(EXTENSION)).sort((a, b) => b.at - a.at);
    let bytes = 0;
    const old = kept.filter(({ size }) => {
      bytes += size;
      return bytes > this.#mostBytes;
    });
    for (const { path } of [...unfinished, ...old]) await rm(path, { force: true });
  }
}

function encode(key: string, { model, ...graph }: StoredGraph): Buffer {
  const head = Buffer.from(JSON.stringify({ key, ...graph }), 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  const body = Buffer.concat([length, head, model]);
  return Buffer.concat([Buffer.from(MAGIC, 'latin1'), createHash('sha256').update(body).digest(), body]);
}

/** What a file holds; undefined where it is not a whole file of this key. */
function decode(key: string, bytes: Buffer): StoredGraph | undefined {
  const start = MAGIC.length + SUM_BYTES;
  if (bytes.length < start + 4 || bytes.subarray(0, MAGIC.length).toString('latin1') !== MAGIC) return undefined;
  const body = bytes.subarray(start);
  if (!createHash('sha256').update(body).digest().equals(bytes.subarray(MAGIC.length, start))) return undefined;
  // It is as it was written, so it has what `encode` writes.
  const end = 4 + body.readUInt32LE(0);
  const { key: written, ...graph } = JSON.parse(body.toString('utf8', 4, end)) as StoredGraph & { key: string };
  return written === key ? { ...graph, model: body.subarray(end) } : undefined;
}
