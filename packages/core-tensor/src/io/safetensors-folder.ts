import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Given, isDeeperThan, options, PosttrainError, text } from '@posttrain/interfaces';
import { completeSave } from '@posttrain/interfaces/node';
import { InvalidHeaderError, MissingShardError, MissingTensorError } from './errors.js';
import type { ReadTensorOptions, SafetensorsFile, TensorSource } from './safetensors.js';
import { openSafetensors } from './safetensors.js';
import type { TensorInfo } from './safetensors-header.js';
import { bytesOf, type TensorData } from './tensor-data.js';

const folderOptions = options('openSafetensorsFolder', {
  /** `model` of model.safetensors. */
  baseName: text({ default: 'model' }),
});

/**
 * Opens the weights of a model folder: `NAME.safetensors` when it is there, else the shards that
 * `NAME.safetensors.index.json` lists. Only headers are read. Tensors of a shard that the index forgot are kept, as
 * `transformers` does.
 *
 * @throws MissingShardError, MissingTensorError (the index places a tensor in a shard that has it not),
 *   InvalidHeaderError (malformed index; when it is read, a tensor that two shards have with other values), and what
 *   `openSafetensors` throws
 */
export async function openSafetensorsFolder(
  folder: string,
  given: Given<typeof folderOptions> = {},
): Promise<TensorSource> {
  const { baseName } = folderOptions.read(given);
  await completeSave(folder);
  const single = join(folder, `${baseName}.safetensors`);
  if (await exists(single)) return openSafetensors(single);
  const indexPath = `${single}.index.json`;
  if (!(await exists(indexPath))) {
    throw new PosttrainError(
      'SAFETENSORS_NO_WEIGHTS',
      `${folder}: there is neither ${baseName}.safetensors nor ${baseName}.safetensors.index.json. ` +
        'Pickled weights (.bin) must be converted to safetensors first; a GGUF file is loaded by its own path.',
    );
  }
  return openSharded(folder, indexPath, await readIndex(indexPath));
}

async function openSharded(
  folder: string,
  indexPath: string,
  weightMap: ReadonlyMap<string, string>,
): Promise<TensorSource> {
  const names = [...new Set(weightMap.values())];
  const missing: string[] = [];
  for (const name of names) if (!(await exists(join(folder, name)))) missing.push(name);
  if (missing.length > 0) throw new MissingShardError(indexPath, missing);
  const shards = new Map<string, SafetensorsFile>();
  try {
    for (const name of names) shards.set(name, await openSafetensors(join(folder, name)));
    return new ShardedSafetensors(indexPath, weightMap, shards);
  } catch (error) {
    for (const shard of shards.values()) await shard.close();
    throw error;
  }
}

class ShardedSafetensors implements TensorSource {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #owners = new Map<string, SafetensorsFile>();
  /** Further shards that have a tensor too. */
  readonly #copies = new Map<string, SafetensorsFile[]>();
  readonly #shards: readonly SafetensorsFile[];

  constructor(path: string, weightMap: ReadonlyMap<string, string>, shards: ReadonlyMap<string, SafetensorsFile>) {
    this.path = path;
    this.#shards = [...shards.values()];
    const tensors = new Map<string, TensorInfo>();
    for (const [name, file] of weightMap) {
      const shard = shards.get(file)!;
      const info = shard.tensors.get(name);
      if (!info) throw new MissingTensorError(shard.path, name, shard.tensors.keys());
      tensors.set(name, info);
      this.#owners.set(name, shard);
    }
    for (const shard of this.#shards) {
      for (const [name, info] of shard.tensors) {
        const owner = this.#owners.get(name);
        if (owner === shard) continue;
        if (owner) this.#copies.set(name, [...(this.#copies.get(name) ?? []), shard]);
        else {
          tensors.set(name, info);
          this.#owners.set(name, shard);
        }
      }
    }
    this.tensors = tensors;
  }

  async read(name: string, options?: ReadTensorOptions): Promise<TensorData> {
    const owner = this.#owners.get(name);
    if (!owner) throw new MissingTensorError(this.path, name, this.tensors.keys());
    const found = await owner.read(name, options);
    for (const copy of this.#copies.get(name) ?? []) await this.#assertSame(name, found, copy, options);
    return found;
  }

  /** Readers differ in which of two shards they take a tensor from: the index's, or the last. */
  async #assertSame(
    name: string,
    found: TensorData,
    copy: SafetensorsFile,
    { into: _, ...how }: ReadTensorOptions = {},
  ): Promise<void> {
    const { data, shape } = await copy.read(name, how);
    if (`${shape}` === `${found.shape}` && Buffer.compare(bytesOf(data), bytesOf(found.data)) === 0) return;
    throw new InvalidHeaderError(
      this.path,
      `tensor "${name}" is in two shards with different values, the second in ${copy.path}: remove the one that is not meant.`,
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#shards.map((shard) => shard.close()));
  }
}

async function readIndex(path: string): Promise<Map<string, string>> {
  let index: { weight_map?: unknown } | null;
  try {
    index = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new InvalidHeaderError(path, 'the index is not JSON.', { cause });
  }
  const weightMap = index?.weight_map;
  if (typeof weightMap !== 'object' || weightMap === null || Array.isArray(weightMap)) {
    throw new InvalidHeaderError(path, 'the index has no "weight_map" object.');
  }
  if (isDeeperThan(weightMap, 1)) throw new InvalidHeaderError(path, '"weight_map" is no flat object.');
  const entries = Object.entries(weightMap);
  for (const [name, file] of entries) {
    if (typeof file !== 'string' || !/^[^/\\]+\.safetensors$/.test(file)) {
      throw new InvalidHeaderError(
        path,
        `weight_map places "${name}" in ${JSON.stringify(file)}, which is not the name of a safetensors file beside it.`,
      );
    }
  }
  return new Map(entries as [string, string][]);
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
