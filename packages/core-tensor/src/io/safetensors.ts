import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { assertKnownOptions } from '@posttrain/interfaces';
import type { DType } from '../dtype.js';
import { allocate } from '../dtype.js';
import { float8ToFloat32, isFloat8 } from '../float8.js';
import { bfloat16ToFloat32, float16ToFloat32 } from '../half-precision.js';
import { sizeOf } from '../shape.js';
import {
  DTypeConversionError,
  InvalidHeaderError,
  InvalidTensorError,
  MissingTensorError,
  TruncatedFileError,
  UnsupportedDTypeError,
} from './errors.js';
import type { TensorInfo } from './safetensors-header.js';
import { MAX_HEADER_BYTES, parseSafetensorsHeader } from './safetensors-header.js';
import type { DTypeArray, TensorData } from './tensor-data.js';
import { assertLittleEndian, bytesOf, checkArray, fromSafetensorsDType, tensorData } from './tensor-data.js';

/** Bytes converted at a time, so that widening a tensor never holds a second copy of it. */
const CONVERSION_CHUNK_BYTES = 1 << 20;

/** Options of reading a tensor of a file. */
export interface ReadTensorOptions {
  /**
   * The dtype wanted. `'float32'` widens F16, BF16, F8_E4M3, F8_E5M2 and F8_E8M0 (exact) and rounds F64. Default: the file's own dtype; I64 becomes
   * `int32`, and is an error when a value does not fit.
   */
  readonly as?: 'float32';
  /** An array of exactly the right type and length to read into, instead of a new one. */
  readonly into?: DTypeArray;
  /**
   * Only the elements [from, to) of the flat tensor, as a tensor [to - from]: what is larger than memory is read part by
   * part. Default: all.
   */
  readonly range?: readonly [from: number, to: number];
}

/** Named tensors that are read one at a time, from one file or many. */
export interface TensorSource {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** @throws MissingTensorError, UnsupportedDTypeError, DTypeConversionError, InvalidTensorError */
  read(name: string, options?: ReadTensorOptions): Promise<TensorData>;
  close(): Promise<void>;
}

/**
 * Opens a safetensors file: reads and checks its header only. Tensors are read when asked for, by positional reads, so
 * a file larger than memory can be opened and reads may run at the same time.
 *
 * @throws TruncatedFileError, InvalidHeaderError, InvalidOffsetsError, UnsupportedDTypeError
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  assertLittleEndian();
  const handle = await open(path, 'r');
  try {
    const { size } = await handle.stat();
    if (size < 8) throw new TruncatedFileError(path, 8, size);
    const prefix = new Uint8Array(8);
    await readFully(handle, prefix, 0, path);
    const headerBytes = Number(new DataView(prefix.buffer).getBigUint64(0, true));
    if (headerBytes > MAX_HEADER_BYTES) {
      throw new InvalidHeaderError(
        path,
        `the header would be ${headerBytes} bytes long, more than the ${MAX_HEADER_BYTES} the format allows; ` +
          'this is not a safetensors file.',
      );
    }
    if (8 + headerBytes > size) throw new TruncatedFileError(path, 8 + headerBytes, size);
    const header = new Uint8Array(headerBytes);
    await readFully(handle, header, 8, path);
    const { metadata, tensors } = parseSafetensorsHeader(header, size - 8 - headerBytes, path);
    return new SafetensorsFile(path, metadata, tensors, handle, 8 + headerBytes);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** An open safetensors file. Close it when done; `openSafetensors` makes one. */
export class SafetensorsFile implements TensorSource {
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #handle: FileHandle;
  readonly #dataStart: number;

  constructor(
    path: string,
    metadata: Readonly<Record<string, string>>,
    tensors: ReadonlyMap<string, TensorInfo>,
    handle: FileHandle,
    dataStart: number,
  ) {
    this.path = path;
    this.metadata = metadata;
    this.tensors = tensors;
    this.#handle = handle;
    this.#dataStart = dataStart;
  }

  async read(name: string, options: ReadTensorOptions = {}): Promise<TensorData> {
    assertKnownOptions('SafetensorsFile.read', options, ['as', 'into', 'range']);
    const whole = this.tensors.get(name);
    if (!whole) throw new MissingTensorError(this.path, name, this.tensors.keys());
    const where = `${this.path}: reading "${name}"`;
    const info = options.range ? partOf(where, whole, options.range) : whole;
    const dtype = resultDType(info, options.as, this.path);
    if (options.into) checkArray(where, dtype, info.shape, options.into);
    const target = options.into ?? (allocate(dtype, sizeOf(info.shape)) as DTypeArray);
    if (fromSafetensorsDType(info.dtype) === dtype) {
      await readFully(this.#handle, bytesOf(target), this.#dataStart + info.byteOffset, this.path);
    } else {
      await this.#readConverted(info, target);
    }
    return tensorData(where, dtype, info.shape, target);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #readConverted(info: TensorInfo, target: DTypeArray): Promise<void> {
    const elements = sizeOf(info.shape);
    const elementBytes = elements === 0 ? 1 : info.byteLength / elements;
    const chunkElements = CONVERSION_CHUNK_BYTES / elementBytes;
    const buffer = new Uint8Array(Math.min(CONVERSION_CHUNK_BYTES, info.byteLength));
    for (let done = 0; done < elements; done += chunkElements) {
      const count = Math.min(chunkElements, elements - done);
      const chunk = buffer.subarray(0, count * elementBytes);
      await readFully(this.#handle, chunk, this.#dataStart + info.byteOffset + done * elementBytes, this.path);
      convert(info, chunk, target.subarray(done, done + count), this.path);
    }
  }
}

/** What a header would say of the elements [from, to) alone. */
function partOf(where: string, info: TensorInfo, [from, to]: readonly [number, number]): TensorInfo {
  const elements = sizeOf(info.shape);
  if (!(Number.isSafeInteger(from) && Number.isSafeInteger(to) && 0 <= from && from <= to && to <= elements)) {
    throw new InvalidTensorError(where, `the range [${from}, ${to}) is not within its ${elements} elements.`);
  }
  const bits = elements === 0 ? 0 : (8 * info.byteLength) / elements;
  if (bits % 8 !== 0) throw new InvalidTensorError(where, `${info.dtype} is not read in parts.`);
  const [byteOffset, byteLength] = [info.byteOffset + (from * bits) / 8, ((to - from) * bits) / 8];
  return { ...info, shape: [to - from], byteOffset, byteLength };
}

function resultDType(info: TensorInfo, as: 'float32' | undefined, path: string): DType {
  const own = fromSafetensorsDType(info.dtype);
  if (as === undefined) {
    if (own) return own;
    if (info.dtype === 'I64') return 'int32';
    throw new UnsupportedDTypeError(
      path,
      info.name,
      info.dtype,
      info.dtype === 'F64'
        ? "Read it with { as: 'float32' } to round it."
        : isFloat8(info.dtype)
          ? "Read it with { as: 'float32' } to widen it."
          : `There is no engine type for it: convert the file to F32, BF16 or F16 first.`,
    );
  }
  if (['F32', 'F16', 'BF16', 'F64'].includes(info.dtype) || isFloat8(info.dtype)) return 'float32';
  throw new UnsupportedDTypeError(
    path,
    info.name,
    info.dtype,
    'Only F32, F16, BF16, F64, F8_E4M3, F8_E5M2 and F8_E8M0 are read as float32.',
  );
}

function convert(info: TensorInfo, bytes: Uint8Array, target: DTypeArray, path: string): void {
  const { buffer, byteOffset } = bytes;
  const count = target.length;
  if (info.dtype === 'BF16') bfloat16ToFloat32(new Uint16Array(buffer, byteOffset, count), target as Float32Array);
  else if (info.dtype === 'F16') float16ToFloat32(new Uint16Array(buffer, byteOffset, count), target as Float32Array);
  else if (isFloat8(info.dtype)) float8ToFloat32(info.dtype, bytes, target as Float32Array);
  else if (info.dtype === 'F64') target.set(new Float64Array(buffer, byteOffset, count));
  else narrowInt64(info, new Int32Array(buffer, byteOffset, 2 * count), target, path);
}

function narrowInt64(info: TensorInfo, words: Int32Array, target: DTypeArray, path: string): void {
  for (let i = 0; i < target.length; i++) {
    const low = words[2 * i]!;
    if (words[2 * i + 1] !== low >> 31) {
      const value = new DataView(words.buffer, words.byteOffset).getBigInt64(8 * i, true);
      throw new DTypeConversionError(path, info.name, `holds ${value} in I64, which does not fit int32.`);
    }
    target[i] = low;
  }
}

async function readFully(handle: FileHandle, target: Uint8Array, position: number, path: string): Promise<void> {
  let done = 0;
  while (done < target.length) {
    const chunk = Math.min(target.length - done, 1 << 30);
    const { bytesRead } = await handle.read(target, done, chunk, position + done);
    if (bytesRead === 0) throw new TruncatedFileError(path, position + target.length, position + done);
    done += bytesRead;
  }
}
