import {
  MissingTensorError,
  type ReadTensorOptions,
  type TensorData,
  type TensorInfo,
  type TensorSource,
} from '@posttrain/core-tensor/io';
import type { Int4Weight } from '@posttrain/core-tensor/quantization';
import { type ModelConfig, parseModelConfig } from '../config/index.js';
import { transposed } from '../transposed.js';
import { type GgufArchitecture, mapTensor } from './architectures.js';
import { architectureOf, ggufConfig } from './gguf-config.js';
import { type GgufFile, type GgufTensorInfo, openGguf, slice } from './gguf-file.js';
import type { GgufMetadata } from './metadata.js';
import { int4FromQ4_0 } from './q4-0.js';

/** Tensors of a GGUF file that are no weights: scalings of positions, which the config of their family has. */
function isInConfig(tensor: string, { modelType }: ModelConfig): boolean {
  if (modelType === 'gpt2') return false;
  const scalings = modelType === 'phi3' ? ['rope_factors_long', 'rope_factors_short'] : ['rope_freqs'];
  return scalings.some((name) => tensor === `${name}.weight`);
}

/** The tensors of a GGUF file under their Hugging Face names and in the layout that Hugging Face has. */
export class GgufModelSource implements TensorSource {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #file: GgufFile;
  readonly #config: ModelConfig;
  readonly #architecture: GgufArchitecture;
  readonly #stored: ReadonlyMap<string, { readonly info: GgufTensorInfo; readonly part: string }>;

  constructor(file: GgufFile, config: ModelConfig) {
    this.path = file.path;
    this.#file = file;
    this.#config = config;
    this.#architecture = architectureOf(file);
    const experts = 'experts' in config ? config.experts?.count : undefined;
    const stored = new Map<string, { readonly info: GgufTensorInfo; readonly part: string }>();
    for (const info of file.tensors.values()) {
      if (isInConfig(info.name, config)) continue;
      const { name = info.name, part } = mapTensor(this.#architecture, info.name);
      if (name.includes('*') && experts !== undefined && info.shape[0] === experts) {
        for (let i = 0; i < experts; i++) stored.set(name.replace('*', `${i}`), { info: slice(info, i), part });
      } else stored.set(name, { info, part });
    }
    this.#stored = stored;
    this.tensors = new Map([...stored].map(([name, { info, part }]) => [name, this.#described(name, info, part)]));
  }

  /** As float32, whatever the options say: the numbers that the codes stand for, exactly. */
  async read(name: string, _options?: ReadTensorOptions): Promise<TensorData> {
    const { info, part } = this.#find(name);
    const { shape } = this.tensors.get(name)!;
    let data = await this.#file.read(info);
    const heads = this.#headsOf(part);
    // Of numbers and not of bytes: a bias has no rows of whole blocks.
    if (heads > 0) data = new Float32Array(halvesFromPairs(new Uint8Array(data.buffer), info.shape[0]!, heads).buffer);
    if (this.#isTransposed(info, part)) ({ data } = transposed({ data, shape: info.shape }));
    if (this.#architecture.normsPlusOne && part.endsWith('norm')) data = data.map((stored) => stored - 1);
    return { dtype: 'float32', shape, data };
  }

  /** The codes of a matrix [out, in] that core-tensor holds as they are (Q4_0); undefined for every other tensor. */
  async readQuantized(name: string): Promise<Int4Weight | undefined> {
    const { info, part } = this.#find(name);
    if (info.type.name !== 'Q4_0' || info.shape.length !== 2) return undefined;
    const bytes = await this.#file.readBytes(info);
    const heads = this.#headsOf(part);
    return int4FromQ4_0(heads === 0 ? bytes : halvesFromPairs(bytes, info.shape[0]!, heads), info.shape);
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  #find(name: string) {
    const found = this.#stored.get(name);
    if (!found) throw new MissingTensorError(this.path, name, this.#stored.keys());
    return found;
  }

  #described(name: string, info: GgufTensorInfo, part: string): TensorInfo {
    const shape = this.#isTransposed(info, part) ? [...info.shape].reverse() : info.shape;
    return { name, dtype: 'F32', shape, byteOffset: info.byteOffset, byteLength: info.byteLength };
  }

  #isTransposed(info: GgufTensorInfo, part: string): boolean {
    return info.shape.length === 2 && (this.#architecture.transposed?.includes(part) ?? false);
  }

  #headsOf(part: string): number {
    return interleavedHeads(this.#architecture, this.#config, part);
  }
}

/** How many heads the rows of a part are, where llama.cpp stores them in another order; else 0. */
export function interleavedHeads(architecture: GgufArchitecture, config: ModelConfig, part: string): number {
  if (!architecture.interleavedRotary?.includes(part) || config.modelType === 'gpt2') return 0;
  return part === 'attn_k' ? config.numKeyValueHeads : config.numAttentionHeads;
}

/** Opens the model in a GGUF file: its config, and its tensors by their Hugging Face names. */
export async function openGgufModel(
  path: string,
): Promise<{ readonly config: ModelConfig; readonly source: GgufModelSource; readonly metadata: GgufMetadata }> {
  const file = await openGguf(path);
  try {
    const config = parseModelConfig(await ggufConfig(file), path);
    return { config, source: new GgufModelSource(file, config), metadata: file.metadata };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Of every head, rows 0, 2, 4 … first and 1, 3, 5 … after them. llama.cpp rotates neighbours with each other, Hugging
 * Face a row of the first half with that of the second.
 */
export function halvesFromPairs(bytes: Uint8Array, rows: number, heads: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  const rowBytes = bytes.length / rows;
  for (let row = 0; row < rows; row++) {
    const from = pairedRow(row, rows / heads);
    out.set(bytes.subarray(from * rowBytes, (from + 1) * rowBytes), row * rowBytes);
  }
  return out;
}

/** The inverse of `halvesFromPairs`, of numbers. */
export function pairsFromHalves(values: Float32Array, rows: number, heads: number): Float32Array {
  const out = new Float32Array(values.length);
  const width = values.length / rows;
  for (let row = 0; row < rows; row++) {
    out.set(values.subarray(row * width, (row + 1) * width), pairedRow(row, rows / heads) * width);
  }
  return out;
}

/** Where a GGUF file has a row. */
function pairedRow(row: number, headDim: number): number {
  const inside = row % headDim;
  return row - inside + (inside < headDim / 2 ? 2 * inside : 2 * inside - headDim + 1);
}
