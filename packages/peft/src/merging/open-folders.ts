import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openSafetensorsFolder, type TensorSource } from '@posttrain/core-tensor/io';
import { isPlainObject } from '@posttrain/interfaces';
import { resolveModelFolder } from '@posttrain/lm';
import { MergeError } from '../adapters/errors.js';

/** A model of a recipe, of whose weights only headers are read. */
export interface OpenModel {
  readonly name: string;
  readonly folder: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly weights: TensorSource;
}

/** All that is open, once. */
export class OpenFolders {
  readonly #sources = new Map<string, Promise<TensorSource>>();

  source(folder: string): Promise<TensorSource> {
    let source = this.#sources.get(folder);
    if (!source) {
      source = openSafetensorsFolder(folder);
      this.#sources.set(folder, source);
    }
    return source;
  }

  async model(name: string): Promise<OpenModel> {
    const folder = await resolveModelFolder(name);
    let config: unknown;
    try {
      config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
    } catch (cause) {
      throw new MergeError(`${folder}: config.json cannot be read. A merge takes folders of models.`, { cause });
    }
    if (!isPlainObject(config)) throw new MergeError(`${folder}: config.json is no object`);
    if ('quantization_config' in config) {
      throw new MergeError(`${name} is quantised: save what model.dequantize() gives, and merge that`);
    }
    return { name, folder, config, weights: await this.source(folder) };
  }

  async close(): Promise<void> {
    for (const source of this.#sources.values()) {
      await source.then(
        (opened) => opened.close(),
        () => undefined,
      );
    }
  }
}
