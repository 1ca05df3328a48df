import { assertPath, PosttrainError } from '@posttrain/interfaces';
import { type AtomicFiles, type WriteBytes, writeAtomically } from '@posttrain/interfaces/node';
import { BLOCK_TYPES, type BlockType } from './block-types.js';
import { BLOCK_ENCODERS, type WrittenType } from './encode-blocks.js';
import { MAX_HEADER_BYTES } from './header-bounds.js';

/** Elements encoded at a time: a multiple of every block size. */
const CHUNK = 1 << 18;
const ALIGNMENT = 32;
/** From here on a float16 is infinite: one that is a number, or the scale of a block. */
const FLOAT16_LIMIT = 65520;
/** What numbers must be below to have a place; Q4_K, which fits scales, with room to spare. */
const LIMITS: Readonly<Record<WrittenType, number>> = {
  ...{ F32: Number.POSITIVE_INFINITY, F16: FLOAT16_LIMIT, BF16: 2 ** 128 - 2 ** 119 },
  ...{ Q8_0: 127 * FLOAT16_LIMIT, Q5_0: 16 * FLOAT16_LIMIT, Q4_0: 8 * FLOAT16_LIMIT, Q4_K: 32 * FLOAT16_LIMIT },
};

const SCALARS = { uint32: 4, int32: 5, float32: 6, bool: 7 } as const;
const [TEXT, ARRAY] = [8, 9];
type ScalarKind = keyof typeof SCALARS;

/** A value of GGUF's metadata, with the type that the file has for it. */
export type GgufValue =
  | { readonly kind: ScalarKind; readonly value: number | boolean }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'list'; readonly of: ScalarKind; readonly values: ArrayLike<number | boolean> }
  | { readonly kind: 'list'; readonly of: 'text'; readonly values: readonly string[] };

export const uint32 = (value: number): GgufValue => ({ kind: 'uint32', value });
export const float32 = (value: number): GgufValue => ({ kind: 'float32', value });
export const bool = (value: boolean): GgufValue => ({ kind: 'bool', value });
export const text = (value: string): GgufValue => ({ kind: 'text', value });
export const texts = (values: readonly string[]): GgufValue => ({ kind: 'list', of: 'text', values });
export const list = (of: ScalarKind, values: ArrayLike<number | boolean>): GgufValue => ({ kind: 'list', of, values });

export type GgufEntries = Readonly<Record<string, GgufValue>>;

/** A tensor to be written: `parts` are read one at a time, and follow each other along the first axis. */
export interface GgufTensorToWrite {
  readonly name: string;
  readonly type: WrittenType;
  /** Row-major; a row is a whole number of the type's blocks. */
  readonly shape: readonly number[];
  readonly parts: readonly (() => Promise<Float32Array>)[];
}

/** Numbers that a format of GGUF cannot hold, or a header that no reader takes. */
export class GgufWriteError extends PosttrainError {
  constructor(path: string, problem: string) {
    super('GGUF_WRITE', `${path}: ${problem}`);
  }
}

/** By name: number of the format in a file, and the format. */
const TYPES: ReadonlyMap<string, readonly [number, BlockType]> = new Map(
  [...BLOCK_TYPES].map(([number, type]) => [type.name, [number, type] as const]),
);
const typeOf = (name: WrittenType): readonly [number, BlockType] => TYPES.get(name)!;

/** Elements that a row must be a multiple of. */
export const blockSize = (type: WrittenType): number => typeOf(type)[1].size;

/**
 * Writes a GGUF file (version 3, little-endian), whole or not at all. One tensor part is held at a time. `check` reads the
 * complete file before it appears under its name.
 *
 * @throws GgufWriteError for numbers that a format cannot hold, FileError
 */
export async function writeGguf(
  path: string,
  entries: GgufEntries,
  tensors: readonly GgufTensorToWrite[],
  check?: (staged: string) => Promise<void>,
): Promise<void> {
  assertPath('writeGguf', 'path', path);
  const header = headerBytes(entries, tensors);
  if (header.length > MAX_HEADER_BYTES) {
    throw new GgufWriteError(path, `its header would have ${header.length} bytes; no reader takes that many.`);
  }
  await writeAtomically(async (files: AtomicFiles) => {
    const staged = await files.stage(path, async (write) => {
      await write(header);
      for (const tensor of tensors) await writeTensor(path, tensor, write);
    });
    await check?.(staged);
  });
}

async function writeTensor(path: string, tensor: GgufTensorToWrite, write: WriteBytes): Promise<void> {
  const [, { size, bytes }] = typeOf(tensor.type);
  let written = 0;
  for (const part of tensor.parts) {
    const values = await part();
    assertHeld(path, tensor, values);
    for (let from = 0; from < values.length; from += CHUNK) {
      const chunk = values.subarray(from, from + CHUNK);
      const out = new Uint8Array((chunk.length / size) * bytes);
      BLOCK_ENCODERS[tensor.type](chunk, out, chunk.length / size);
      await write(out);
      written += out.length;
    }
  }
  if (written !== byteLength(tensor)) {
    throw new GgufWriteError(path, `tensor "${tensor.name}" had ${written} bytes instead of ${byteLength(tensor)}.`);
  }
  await write(new Uint8Array(padding(written)));
}

function assertHeld(path: string, { name, type }: GgufTensorToWrite, values: Float32Array): void {
  const limit = LIMITS[type];
  const at = values.findIndex((value) => !(Math.abs(value) < limit));
  if (at < 0) return;
  const remedy = Number.isFinite(values[at]) ? ` Take ${type === 'BF16' ? '' : 'BF16 or '}F32.` : '';
  throw new GgufWriteError(path, `tensor "${name}" has ${values[at]}, which ${type} cannot hold.${remedy}`);
}

const padding = (bytes: number): number => (ALIGNMENT - (bytes % ALIGNMENT)) % ALIGNMENT;

function byteLength({ shape, type }: GgufTensorToWrite): number {
  const [, { size, bytes }] = typeOf(type);
  return (shape.reduce((product, dim) => product * dim, 1) / size) * bytes;
}

function headerBytes(entries: GgufEntries, tensors: readonly GgufTensorToWrite[]): Uint8Array {
  const out = new HeaderBytes();
  const listed = Object.entries(entries);
  out.ascii('GGUF').uint32(3).uint64(tensors.length).uint64(listed.length);
  for (const [key, value] of listed) out.text(key).value(value);
  let offset = 0;
  for (const tensor of tensors) {
    out.text(tensor.name).uint32(tensor.shape.length);
    for (const size of [...tensor.shape].reverse()) out.uint64(size);
    out.uint32(typeOf(tensor.type)[0]).uint64(offset);
    offset += byteLength(tensor) + padding(byteLength(tensor));
  }
  return out.padded();
}

/** Bytes that grow. */
class HeaderBytes {
  #bytes = new Uint8Array(1 << 16);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  ascii(text: string): this {
    return this.#append(new TextEncoder().encode(text));
  }

  text(text: string): this {
    const bytes = new TextEncoder().encode(text);
    return this.uint64(bytes.length).#append(bytes);
  }

  uint32(value: number): this {
    this.#view.setUint32(this.#room(4), value, true);
    return this;
  }

  uint64(value: number): this {
    this.#view.setBigUint64(this.#room(8), BigInt(value), true);
    return this;
  }

  value(value: GgufValue): this {
    if (value.kind === 'text') return this.uint32(TEXT).text(value.value);
    if (value.kind !== 'list') return this.uint32(SCALARS[value.kind]).#scalar(value.kind, value.value);
    this.uint32(ARRAY)
      .uint32(value.of === 'text' ? TEXT : SCALARS[value.of])
      .uint64(value.values.length);
    if (value.of === 'text') for (const one of value.values) this.text(one);
    else for (let i = 0; i < value.values.length; i++) this.#scalar(value.of, value.values[i]!);
    return this;
  }

  padded(): Uint8Array {
    this.#room(padding(this.#length));
    return this.#bytes.subarray(0, this.#length);
  }

  #scalar(kind: ScalarKind, value: number | boolean): this {
    if (kind === 'bool') return this.#append(Uint8Array.of(value ? 1 : 0));
    const at = this.#room(4);
    if (kind === 'float32') this.#view.setFloat32(at, Number(value), true);
    else if (kind === 'int32') this.#view.setInt32(at, Number(value), true);
    else this.#view.setUint32(at, Number(value), true);
    return this;
  }

  #append(bytes: Uint8Array): this {
    this.#bytes.set(bytes, this.#room(bytes.length));
    return this;
  }

  /** Where `bytes` further bytes begin. */
  #room(bytes: number): number {
    const start = this.#length;
    this.#length += bytes;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#length);
      larger.set(this.#bytes.subarray(0, start));
      [this.#bytes, this.#view] = [larger, new DataView(larger.buffer)];
    }
    return start;
  }
}
