import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { custom, type Given, integer, options, text } from '@posttrain/interfaces';
import { type AtomicFiles, type WriteBytes, type WriteToHandle, writeAtomically } from '@posttrain/interfaces/node';
import type { DType } from '../dtype.js';
import { sizeOf } from '../shape.js';
import { InvalidTensorError } from './errors.js';
import type { SafetensorsDType } from './safetensors-header.js';
import { byteLengthOf } from './safetensors-header.js';
import type { DTypeArray } from './tensor-data.js';
import { assertLittleEndian, bytesOf, checkArray, toSafetensorsDType } from './tensor-data.js';

/**
 * A tensor to write. `data` may be a function, called once when its turn comes, so that not all need be in memory; what it
 * gives may be the whole or its parts from first to last, so that not even one tensor need be.
 */
export interface TensorToWrite {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** What the file has int32 as: `I64`, where a format asks for it. Default: `I32`. Not for data that is given in parts. */
  readonly storedAs?: 'I64';
  readonly data: DTypeArray | (() => DTypeArray | Promise<DTypeArray> | AsyncIterable<DTypeArray>);
}

const isTexts = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.values(value).every((entry) => typeof entry === 'string');
const writeShape = {
  /** Written as `__metadata__`. Default `{ format: 'pt' }`, without which `transformers` refuses the file. */
  metadata: custom<Readonly<Record<string, string>>>()('an object of texts', isTexts, { default: { format: 'pt' } }),
};
const writeOptions = options('writeSafetensors', writeShape);

const SIZE_TEXT = /^\s*(\d+(?:\.\d+)?)\s*(TB|GB|MB|KB)\s*$/i;
const UNITS = { KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 } as const;
const bytesOfSize = (size: number | string): number => {
  if (typeof size === 'number') return size;
  const [, value, unit] = SIZE_TEXT.exec(size)!;
  return Math.trunc(Number(value) * UNITS[unit!.toUpperCase() as keyof typeof UNITS]);
};

/** What the size of a shard may be, for options of what saves models. */
export const SHARD_SIZE = 'a number of bytes above 0, or a text of digits and a unit like "5GB"';
/** Whether a value is a size of a shard: bytes, or a text as huggingface_hub takes it (TB, GB, MB, KB, of 1000). */
export const isShardSize = (value: unknown): boolean =>
  (typeof value === 'number' && value > 0) ||
  (typeof value === 'string' && SIZE_TEXT.test(value) && bytesOfSize(value) > 0);
const saveOptions = options('saveSafetensors', {
  ...writeShape,
  /**
   * The most data bytes of one file, a number or a text like `'5GB'`; a larger tensor gets a file of its own. Tensors are split in their order, as
   * huggingface_hub does. Default 5e9.
   */
  maxShardBytes: custom<number | string>()(SHARD_SIZE, isShardSize, { default: 5e9 }),
  /** What the index of shards says of the model: `total_parameters`. Default: nothing. */
  parameters: integer({ optional: true, min: 0 }),
  /** The files are `NAME.safetensors`, or `NAME-00001-of-0000N.safetensors` and an index. Default `model`. */
  baseName: text({ default: 'model' }),
});
/** Options of `writeSafetensors`. */
export type WriteSafetensorsOptions = Given<typeof writeOptions>;
/** Options of `saveSafetensors`. */
export type SaveSafetensorsOptions = Given<typeof saveOptions>;

/** The reference implementation's order: wider dtypes first, so that every tensor is aligned to its element size. */
const DTYPE_ORDER: readonly SafetensorsDType[] = ['I64', 'F32', 'I32', 'BF16', 'F16', 'I8', 'U8', 'BOOL'];

/**
 * Writes one safetensors file, byte for byte as the reference implementation would: tensors by dtype and then by name,
 * header padded with spaces to 8 bytes. The file appears only when it is complete and on disk.
 *
 * @throws InvalidTensorError when shape, dtype and data do not fit, or a name occurs twice
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorToWrite>,
  options: WriteSafetensorsOptions = {},
  write?: WriteToHandle,
): Promise<void> {
  await writeAtomically((files) => stageSafetensors(files, path, tensors, options), write);
}

/** `writeSafetensors` as a part of a save of several files. */
export async function stageSafetensors(
  files: AtomicFiles,
  path: string,
  tensors: Iterable<TensorToWrite>,
  given: WriteSafetensorsOptions = {},
): Promise<void> {
  const { metadata } = writeOptions.read(given);
  await stageFile(files, path, checked(path, tensors), metadata);
}

/**
 * Writes a model's tensors into `folder`: one file, or shards and `NAME.safetensors.index.json` when they exceed
 * `maxShardBytes`. All files appear together, and files of an earlier save under the same base name go with it: a leftover
 * `model.safetensors` would be loaded in place of new shards.
 *
 * @returns the names of the files written
 * @throws InvalidTensorError as `writeSafetensors`
 */
export async function saveSafetensors(
  folder: string,
  tensors: Iterable<TensorToWrite>,
  options: SaveSafetensorsOptions = {},
  write?: WriteToHandle,
): Promise<string[]> {
  let written: string[] = [];
  await writeAtomically(async (files) => {
    written = await stageSafetensorsFolder(files, folder, tensors, options);
  }, write);
  return written;
}

/** `saveSafetensors` as a part of a save of further files. */
export async function stageSafetensorsFolder(
  files: AtomicFiles,
  folder: string,
  tensors: Iterable<TensorToWrite>,
  given: SaveSafetensorsOptions = {},
): Promise<string[]> {
  const { maxShardBytes, baseName, metadata, parameters } = saveOptions.read(given);
  const all = checked(folder, tensors);
  const shards = splitIntoShards(all, bytesOfSize(maxShardBytes));
  const written: string[] = [];
  const weightMap: Record<string, string> = {};
  for (const [i, shard] of shards.entries()) {
    const file = shardName(baseName, i, shards.length);
    await stageFile(files, join(folder, file), shard, metadata);
    for (const { name } of shard) weightMap[name] = file;
    written.push(file);
  }
  if (shards.length > 1) {
    const file = `${baseName}.safetensors.index.json`;
    await stageIndex(files, join(folder, file), weightMap, {
      ...(parameters !== undefined && { total_parameters: parameters }),
      total_size: totalBytes(all),
    });
    written.push(file);
  }
  for (const file of await filesOfEarlierSaves(folder, baseName)) files.remove(file);
  return written;
}

async function stageFile(
  files: AtomicFiles,
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  const sorted = [...tensors].sort(byDTypeThenName);
  await files.stage(path, async (write) => {
    await write(encodeHeader(sorted, metadata));
    for (const tensor of sorted) {
      const data = typeof tensor.data === 'function' ? await tensor.data() : tensor.data;
      const where = `${path}: writing "${tensor.name}"`;
      if (Symbol.asyncIterator in data) await writeParts(where, tensor, data, write);
      else {
        checkArray(where, tensor.dtype, tensor.shape, data);
        await write(bytesOf(tensor.storedAs ? BigInt64Array.from(data, BigInt) : data));
      }
    }
  });
}

async function writeParts(
  where: string,
  { dtype, shape }: TensorToWrite,
  parts: AsyncIterable<DTypeArray>,
  write: WriteBytes,
): Promise<void> {
  let written = 0;
  for await (const part of parts) {
    checkArray(where, dtype, [part.length], part);
    written += part.length;
    if (written <= sizeOf(shape)) await write(bytesOf(part));
  }
  if (written === sizeOf(shape)) return;
  throw new InvalidTensorError(
    where,
    `the parts have ${written} elements; shape [${shape.join(', ')}] has ${sizeOf(shape)}.`,
  );
}

const fileDType = ({ dtype, storedAs }: TensorToWrite): SafetensorsDType => storedAs ?? toSafetensorsDType(dtype);

function encodeHeader(sorted: readonly TensorToWrite[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const entries: [string, unknown][] = Object.keys(metadata).length > 0 ? [['__metadata__', metadata]] : [];
  let offset = 0;
  for (const tensor of sorted) {
    const end = offset + byteLength(tensor);
    entries.push([tensor.name, { dtype: fileDType(tensor), shape: tensor.shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  // Built from pairs: an object would move integer-like names to the front and lose "__proto__".
  const json = `{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(',')}}`;
  const text = new TextEncoder().encode(json);
  const padded = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(text, 8);
  return padded;
}

async function stageIndex(
  files: AtomicFiles,
  path: string,
  weightMap: Readonly<Record<string, string>>,
  metadata: Readonly<Record<string, number>>,
): Promise<void> {
  const sorted = Object.fromEntries(Object.entries(weightMap).sort(([a], [b]) => (a < b ? -1 : 1)));
  const json = `${JSON.stringify({ metadata, weight_map: sorted }, null, 2)}\n`;
  await files.stage(path, (write) => write(new TextEncoder().encode(json)));
}

/** As huggingface_hub: a tensor above the limit is a shard of its own, between which the others go on filling theirs. */
function splitIntoShards(tensors: readonly TensorToWrite[], maxShardBytes: number): TensorToWrite[][] {
  const shards: TensorToWrite[][] = [];
  let [current, size]: [TensorToWrite[], number] = [[], 0];
  for (const tensor of tensors) {
    const bytes = byteLength(tensor);
    if (bytes > maxShardBytes) {
      shards.push([tensor]);
      continue;
    }
    if (size + bytes > maxShardBytes) {
      shards.push(current);
      [current, size] = [[], 0];
    }
    current.push(tensor);
    size += bytes;
  }
  return current.length > 0 || shards.length === 0 ? [...shards, current] : shards;
}

function checked(where: string, tensors: Iterable<TensorToWrite>): TensorToWrite[] {
  assertLittleEndian();
  const all = [...tensors];
  const names = new Set<string>();
  for (const { name, dtype, shape, data } of all) {
    if (names.has(name)) throw new InvalidTensorError(where, `tensor "${name}" is given twice.`);
    if (name === '__metadata__') throw new InvalidTensorError(where, '"__metadata__" cannot name a tensor.');
    names.add(name);
    if (typeof data !== 'function') checkArray(`${where}: writing "${name}"`, dtype, shape, data);
  }
  return all;
}

async function filesOfEarlierSaves(folder: string, baseName: string): Promise<string[]> {
  const isOne = (file: string) =>
    file.startsWith(baseName) && /^(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/.test(file.slice(baseName.length));
  return (await readdir(folder)).filter(isOne).map((file) => join(folder, file));
}

function shardName(baseName: string, index: number, count: number): string {
  if (count === 1) return `${baseName}.safetensors`;
  const part = (n: number) => String(n).padStart(5, '0');
  return `${baseName}-${part(index + 1)}-of-${part(count)}.safetensors`;
}

function byDTypeThenName(a: TensorToWrite, b: TensorToWrite): number {
  const order = (tensor: TensorToWrite) => DTYPE_ORDER.indexOf(fileDType(tensor));
  return order(a) - order(b) || Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));
}

function byteLength(tensor: TensorToWrite): number {
  const bytes = byteLengthOf(tensor.shape, fileDType(tensor));
  if (bytes === undefined)
    throw new InvalidTensorError(tensor.name, `the shape [${tensor.shape.join(', ')}] is too large.`);
  return bytes;
}

function totalBytes(tensors: readonly TensorToWrite[]): number {
  return tensors.reduce((sum, tensor) => sum + byteLength(tensor), 0);
}
