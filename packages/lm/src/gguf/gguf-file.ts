import { type FileHandle, open } from 'node:fs/promises';
import { MissingTensorError } from '@posttrain/core-tensor/io';
import { BLOCK_TYPES, type BlockType, UNREAD_TYPES } from './block-types.js';
import { InvalidGgufError, UnsupportedGgufError } from './errors.js';
import { checkHeaderBounds, type HeaderBounds } from './header-bounds.js';
import { GgufMetadata } from './metadata.js';

/** Bytes decoded at a time, so that no tensor is ever held twice. */
const CHUNK_BYTES = 1 << 20;

/** What a GGUF header says of one tensor. */
export interface GgufTensorInfo {
  readonly name: string;
  readonly type: BlockType;
  /** Row-major, as Hugging Face has it: [out, in] for a linear layer. (The file lists sizes the other way round.) */
  readonly shape: readonly number[];
  /** Bytes from the start of the file. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** The tensor at an index of the first axis of another: a matrix [out, in] of [experts, out, in]. */
export function slice({ shape, byteOffset, byteLength, ...info }: GgufTensorInfo, index: number): GgufTensorInfo {
  const bytes = byteLength / shape[0]!;
  return { ...info, shape: shape.slice(1), byteOffset: byteOffset + index * bytes, byteLength: bytes };
}

/** An open GGUF file. Tensors are read when asked for, by ranges. Close it when done; `openGguf` makes one. */
export class GgufFile {
  readonly path: string;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensorInfo>;
  readonly #handle: FileHandle;

  constructor(path: string, metadata: GgufMetadata, tensors: ReadonlyMap<string, GgufTensorInfo>, handle: FileHandle) {
    this.path = path;
    this.metadata = metadata;
    this.tensors = tensors;
    this.#handle = handle;
  }

  /** @throws MissingTensorError */
  info(name: string): GgufTensorInfo {
    const info = this.tensors.get(name);
    if (!info) throw new MissingTensorError(this.path, name, this.tensors.keys());
    return info;
  }

  /**
   * The numbers of a tensor as float32, row-major: exactly those that its codes stand for.
   *
   * @param tensor its name, or a `slice` of one
   * @throws MissingTensorError
   */
  async read(tensor: string | GgufTensorInfo): Promise<Float32Array> {
    const { type, byteOffset, byteLength } = typeof tensor === 'string' ? this.info(tensor) : tensor;
    const out = new Float32Array((byteLength / type.bytes) * type.size);
    const blocksAtATime = Math.floor(CHUNK_BYTES / type.bytes);
    const buffer = new Uint8Array(Math.min(blocksAtATime * type.bytes, byteLength));
    const blocks = byteLength / type.bytes;
    for (let done = 0; done < blocks; done += blocksAtATime) {
      const count = Math.min(blocksAtATime, blocks - done);
      const chunk = buffer.subarray(0, count * type.bytes);
      await readFully(this.#handle, chunk, byteOffset + done * type.bytes, this.path);
      type.decode(chunk, out.subarray(done * type.size), count);
    }
    return out;
  }

  /** The bytes of a tensor as the file has them. @throws MissingTensorError */
  async readBytes(tensor: string | GgufTensorInfo): Promise<Uint8Array> {
    const { byteOffset, byteLength } = typeof tensor === 'string' ? this.info(tensor) : tensor;
    const bytes = new Uint8Array(byteLength);
    await readFully(this.#handle, bytes, byteOffset, this.path);
    return bytes;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/**
 * Opens a GGUF file (version 2 or 3, little-endian): reads its header with the parser of `@huggingface/gguf`, behind
 * checks that keep a damaged or hostile header from costing more than an error.
 *
 * @throws InvalidGgufError, UnsupportedGgufError
 */
export async function openGguf(path: string): Promise<GgufFile> {
  const handle = await open(path, 'r');
  try {
    const { size } = await handle.stat();
    const bounds = await checkHeaderBounds(path, size, async (bytes) => {
      const head = new Uint8Array(bytes);
      await readFully(handle, head, 0, path);
      return head;
    });
    const parsed = await parse(path);
    const values = new Map<string, unknown>(Object.entries(parsed.metadata));
    for (const [key, text] of await wholeTexts(handle, path, bounds)) restoreText(values, key, text);
    const metadata = new GgufMetadata(path, values);
    const parts = metadata.number('split.count') ?? 1;
    if (parts > 1) {
      throw new UnsupportedGgufError(
        path,
        `it is one of ${parts} parts of a model; merge them with llama.cpp's llama-gguf-split --merge first.`,
      );
    }
    return new GgufFile(path, metadata, tensorInfos(path, parsed, metadata, bounds, size), handle);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

interface Parsed {
  readonly metadata: object;
  readonly tensorInfos: readonly {
    readonly name: string;
    readonly shape: readonly bigint[];
    readonly dtype: number;
    readonly offset: bigint;
  }[];
}

async function parse(path: string): Promise<Parsed> {
  const { gguf } = await import('@huggingface/gguf');
  try {
    return await gguf(path, { allowLocalFile: true });
  } catch (cause) {
    throw new InvalidGgufError(path, `its header cannot be read: ${(cause as Error).message}.`, { cause });
  }
}

async function wholeTexts(
  handle: FileHandle,
  path: string,
  { cutTexts }: HeaderBounds,
): Promise<ReadonlyMap<string, string>> {
  const texts = new Map<string, string>();
  for (const [key, [start, end]] of cutTexts) {
    const bytes = new Uint8Array(end - start);
    await readFully(handle, bytes, start, path);
    texts.set(key, new TextDecoder().decode(bytes));
  }
  return texts;
}

/** Puts the last text of a value in the place of the part of it that the parser kept. */
function restoreText(values: Map<string, unknown>, key: string, text: string): void {
  const value = values.get(key);
  values.set(key, Array.isArray(value) ? [...value.slice(0, -1), text] : text);
}

function tensorInfos(
  path: string,
  { tensorInfos: listed }: Parsed,
  metadata: GgufMetadata,
  { end }: HeaderBounds,
  fileBytes: number,
): ReadonlyMap<string, GgufTensorInfo> {
  const alignment = metadata.number('general.alignment') ?? 32;
  if (!Number.isSafeInteger(alignment) || alignment < 8 || alignment % 8 !== 0) {
    metadata.fail('general.alignment', 'a multiple of 8');
  }
  const dataStart = Math.ceil(end / alignment) * alignment;
  const infos = new Map<string, GgufTensorInfo>();
  for (const { name, shape, dtype, offset } of listed) {
    const type = BLOCK_TYPES.get(dtype);
    if (!type) {
      const known = [...BLOCK_TYPES.values()].map((one) => one.name).join(', ');
      const called = Object.hasOwn(UNREAD_TYPES, dtype) ? `is ${UNREAD_TYPES[dtype]},` : 'has the';
      throw new UnsupportedGgufError(path, `tensor "${name}" ${called} number format ${dtype}; read are ${known}.`);
    }
    if (infos.has(name)) throw new InvalidGgufError(path, `tensor "${name}" is listed twice.`);
    const sizes = shape.map(Number).reverse();
    const byteLength = byteLengthOf(sizes, type);
    if (byteLength === undefined) {
      throw new InvalidGgufError(
        path,
        `tensor "${name}" of shape [${sizes.join(', ')}] is no whole number of ${type.name} blocks of ${type.size} in a row.`,
      );
    }
    const byteOffset = dataStart + Number(offset);
    if (Number(offset) % alignment !== 0) {
      throw new InvalidGgufError(
        path,
        `tensor "${name}" begins at ${offset}, no multiple of the alignment ${alignment}.`,
      );
    }
    if (byteOffset + byteLength > fileBytes) {
      throw new InvalidGgufError(
        path,
        `tensor "${name}" ends at byte ${byteOffset + byteLength} of ${fileBytes}; was the file copied completely?`,
      );
    }
    infos.set(name, { name, type, shape: sizes, byteOffset, byteLength });
  }
  checkOverlap(path, infos);
  return infos;
}

/** Undefined when the sizes cannot be, or a row is no whole number of blocks. */
function byteLengthOf(shape: readonly number[], { size, bytes }: BlockType): number | undefined {
  const elements = shape.reduce((product, dim) => product * dim, 1);
  const whole = Number.isSafeInteger(elements) && elements > 0 && shape.at(-1)! % size === 0;
  return whole && Number.isSafeInteger((elements / size) * bytes) ? (elements / size) * bytes : undefined;
}

function checkOverlap(path: string, infos: ReadonlyMap<string, GgufTensorInfo>): void {
  const sorted = [...infos.values()].sort((a, b) => a.byteOffset - b.byteOffset);
  sorted.forEach((info, i) => {
    const previous = sorted[i - 1];
    if (previous && previous.byteOffset + previous.byteLength > info.byteOffset) {
      throw new InvalidGgufError(path, `the bytes of tensor "${info.name}" overlap those of "${previous.name}".`);
    }
  });
}

async function readFully(handle: FileHandle, target: Uint8Array, position: number, path: string): Promise<void> {
  let done = 0;
  while (done < target.length) {
    const { bytesRead } = await handle.read(target, done, Math.min(target.length - done, 1 << 30), position + done);
    if (bytesRead === 0) throw new InvalidGgufError(path, `it ended at byte ${position + done} while it was read.`);
    done += bytesRead;
  }
}
