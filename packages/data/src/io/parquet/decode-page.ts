import { damaged, ParquetProblem } from './problem.js';
import type { SchemaNode } from './schema-tree.js';

/** Values as they are stored. INT96 is a bigint of nanoseconds since 1970. */
export type PhysicalValues = ArrayLike<boolean | number | bigint | Uint8Array>;

const ENCODINGS = [
  ...['PLAIN', 'GROUP_VAR_INT', 'PLAIN_DICTIONARY', 'RLE', 'BIT_PACKED', 'DELTA_BINARY_PACKED'],
  ...['DELTA_LENGTH_BYTE_ARRAY', 'DELTA_BYTE_ARRAY', 'RLE_DICTIONARY', 'BYTE_STREAM_SPLIT'],
] as const;

const SHORT = 'a page has fewer values than its header says';

/** A level of each of `count` values. `max` below 256; a run that is too short and a level above `max` are damage. */
export function decodeLevels(bytes: Uint8Array, count: number, max: number): Uint8Array {
  if (max === 0) return new Uint8Array(0);
  const levels = new Uint8Array(count);
  decodeRuns(bytes, 32 - Math.clz32(max), levels);
  for (const level of levels) if (level > max) throw damaged('a level is higher than the schema allows');
  return levels;
}

/** Parquet's hybrid of runs of one value and bit-packed values, of `width` bits each; fills `output`. */
function decodeRuns(bytes: Uint8Array, width: number, output: Uint8Array | Uint32Array): void {
  const reader = new ByteReader(bytes);
  const valueBytes = (width + 7) >> 3;
  let filled = 0;
  while (filled < output.length) {
    const header = reader.varint();
    const length = header >>> 1;
    if (length === 0) throw damaged('a run has no values');
    if ((header & 1) === 0) {
      const value = reader.little(valueBytes);
      const end = Math.min(output.length, filled + length);
      output.fill(value, filled, end);
      filled = end;
    } else {
      // The last groups of eight may be cut where no value needs their bytes.
      const wanted = Math.min(output.length - filled, length * 8);
      const bits = new BitReader(reader.upTo(length * width));
      for (let i = 0; i < wanted; i++) output[filled++] = bits.read(width);
    }
  }
}

/** `count` values of a page in an encoding that stores them itself. `budget` is how many bytes they may take. */
export function decodeValues(
  encoding: number,
  bytes: Uint8Array,
  count: number,
  leaf: SchemaNode,
  budget: number,
): PhysicalValues {
  if (count === 0) return [];
  const name = ENCODINGS[encoding];
  const { physical } = leaf;
  if (name === 'PLAIN') return decodePlain(bytes, count, leaf);
  if (name === 'RLE' && physical === 'BOOLEAN') {
    const values = new Uint8Array(count);
    decodeRuns(lengthPrefixed(bytes).head, 1, values);
    return Array.from(values, (value) => value === 1);
  }
  if (name === 'DELTA_BINARY_PACKED' && (physical === 'INT32' || physical === 'INT64')) {
    return decodeDelta(new ByteReader(bytes), count, physical === 'INT32');
  }
  if (name === 'DELTA_LENGTH_BYTE_ARRAY' && physical === 'BYTE_ARRAY') {
    return decodeDeltaLength(new ByteReader(bytes), count);
  }
  if (name === 'DELTA_BYTE_ARRAY' && (physical === 'BYTE_ARRAY' || physical === 'FIXED_LEN_BYTE_ARRAY')) {
    return decodeDeltaBytes(new ByteReader(bytes), count, budget, leaf);
  }
  if (name === 'BYTE_STREAM_SPLIT' && physical !== 'BOOLEAN' && physical !== 'BYTE_ARRAY' && physical !== 'INT96') {
    return decodePlain(joinStreams(bytes, count, widthOf(leaf)), count, leaf);
  }
  throw new ParquetProblem(`the encoding ${name ?? encoding} of ${physical} values is not supported.`);
}

/** Places in the dictionary, each below `size`. */
export function decodeIndices(bytes: Uint8Array, count: number, size: number): Uint32Array {
  const indices = new Uint32Array(count);
  const width = bytes[0];
  if (count > 0 && (width === undefined || width > 32)) throw damaged('a page of dictionary places has no bit width');
  if (width !== undefined && width > 0) decodeRuns(bytes.subarray(1), width, indices);
  for (const index of indices) if (index >= size) throw damaged(`a value is not in the dictionary of ${size} values`);
  return indices;
}

export function isDictionaryEncoding(encoding: number): boolean {
  return ENCODINGS[encoding] === 'PLAIN_DICTIONARY' || ENCODINGS[encoding] === 'RLE_DICTIONARY';
}

/** Bytes that are preceded by their number, and those after them. */
export function lengthPrefixed(bytes: Uint8Array): { readonly head: Uint8Array; readonly rest: Uint8Array } {
  const reader = new ByteReader(bytes);
  const head = reader.take(reader.little(4));
  return { head, rest: bytes.subarray(reader.offset) };
}

function widthOf({ physical, typeLength }: SchemaNode): number {
  if (physical === 'FIXED_LEN_BYTE_ARRAY') return typeLength;
  if (physical === 'INT96') return 12;
  return physical === 'INT32' || physical === 'FLOAT' ? 4 : 8;
}

function decodePlain(bytes: Uint8Array, count: number, leaf: SchemaNode): PhysicalValues {
  const { physical, typeLength } = leaf;
  if (physical === 'BOOLEAN') {
    if (count > bytes.length * 8) throw damaged(SHORT);
    return Array.from({ length: count }, (_, i) => ((bytes[i >> 3]! >> (i & 7)) & 1) === 1);
  }
  if (physical === 'BYTE_ARRAY') {
    const reader = new ByteReader(bytes);
    if (count * 4 > bytes.length) throw damaged(SHORT);
    return Array.from({ length: count }, () => reader.take(reader.little(4)));
  }
  const width = widthOf(leaf);
  if (count * width > bytes.length) throw damaged(SHORT);
  // Typed arrays want their own alignment, so the bytes are copied.
  const copy = bytes.slice(0, count * width);
  switch (physical) {
    case 'INT32':
      return new Int32Array(copy.buffer);
    case 'INT64':
      return new BigInt64Array(copy.buffer);
    case 'FLOAT':
      return new Float32Array(copy.buffer);
    case 'DOUBLE':
      return new Float64Array(copy.buffer);
    case 'INT96': {
      const view = new DataView(copy.buffer);
      // Nanoseconds of the day, then the Julian day.
      return Array.from({ length: count }, (_, i) => {
        const days = BigInt(view.getInt32(12 * i + 8, true) - 2_440_588);
        return days * 86_400_000_000_000n + view.getBigInt64(12 * i, true);
      });
    }
    default:
      return Array.from({ length: count }, (_, i) => copy.subarray(i * typeLength, (i + 1) * typeLength));
  }
}

/** DELTA_BINARY_PACKED: the first value, then blocks of differences above the block's smallest one. */
function decodeDelta(reader: ByteReader, count: number, narrow: boolean): Int32Array | BigInt64Array {
  const blockSize = reader.varint();
  const miniblocks = reader.varint();
  const total = reader.varint();
  let value = reader.zigzag();
  const size = blockSize / miniblocks;
  if (!Number.isInteger(size) || size === 0 || size % 8 !== 0 || blockSize > 1 << 20) {
    throw damaged('a page of differences has blocks of an impossible size');
  }
  if (total !== count) throw damaged(`a page of differences has ${total} values, ${count} were expected`);
  const output = narrow ? new Int32Array(count) : new BigInt64Array(count);
  const put = (i: number, next: bigint): void => {
    if (narrow) output[i] = Number(BigInt.asIntN(32, next));
    else output[i] = BigInt.asIntN(64, next);
  };
  put(0, value);
  for (let i = 1; i < count; ) {
    const smallest = reader.zigzag();
    const widths = reader.take(miniblocks);
    for (const width of widths) {
      if (i >= count) break;
      if (width > 64) throw damaged('a page of differences has values of more than 64 bits');
      const bits = new BitReader(reader.take((size * width) / 8));
      for (let j = 0; j < size && i < count; j++) {
        value = BigInt.asIntN(64, value + smallest + (width > 32 ? bits.readBig(width) : BigInt(bits.read(width))));
        put(i++, value);
      }
    }
  }
  return output;
}

function decodeDeltaLength(reader: ByteReader, count: number): Uint8Array[] {
  const lengths = decodeDelta(reader, count, true) as Int32Array;
  return Array.from(lengths, (length) => reader.take(length));
}

/** DELTA_BYTE_ARRAY: how much each value has in common with the one before, and the rest. Few bytes can say much. */
function decodeDeltaBytes(reader: ByteReader, count: number, budget: number, leaf: SchemaNode): Uint8Array[] {
  const shared = decodeDelta(reader, count, true) as Int32Array;
  const rests = decodeDeltaLength(reader, count);
  let left = budget;
  let before: Uint8Array = new Uint8Array(0);
  return rests.map((rest, i) => {
    const common = shared[i]!;
    if (common < 0 || common > before.length) throw damaged('a value shares more with the one before than that has');
    left -= common + rest.length;
    if (left < 0) throw new ParquetProblem('its values take more memory than "maxRowGroupBytes" allows.');
    const value = new Uint8Array(common + rest.length);
    value.set(before.subarray(0, common));
    value.set(rest, common);
    before = value;
    if (leaf.typeLength > 0 && value.length !== leaf.typeLength)
      throw damaged('a value has another length than its type');
    return value;
  });
}

/** BYTE_STREAM_SPLIT: the first bytes of all values, then the second ones ... */
function joinStreams(bytes: Uint8Array, count: number, width: number): Uint8Array {
  if (count * width > bytes.length) throw damaged(SHORT);
  const output = new Uint8Array(count * width);
  for (let b = 0; b < width; b++) for (let i = 0; i < count; i++) output[i * width + b] = bytes[b * count + i]!;
  return output;
}

/** Reads from the front of bytes; reading past their end is damage. */
class ByteReader {
  offset = 0;
  readonly #bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  take(length: number): Uint8Array {
    const taken = this.#bytes.subarray(this.offset, this.offset + length);
    if (length < 0 || taken.length !== length) throw damaged(SHORT);
    this.offset += length;
    return taken;
  }

  /** `length` bytes, or what is left. */
  upTo(length: number): Uint8Array {
    return this.take(Math.min(length, this.#bytes.length - this.offset));
  }

  little(bytes: number): number {
    let value = 0;
    for (const [i, byte] of this.take(bytes).entries()) value += byte * 2 ** (8 * i);
    return value;
  }

  varint(): number {
    const value = this.#varBigInt();
    if (value > 0xffffffffn) throw damaged('a length in a page is too large');
    return Number(value);
  }

  zigzag(): bigint {
    const value = this.#varBigInt();
    return (value >> 1n) ^ -(value & 1n);
  }

  #varBigInt(): bigint {
    const first = this.#bytes[this.offset];
    if (first !== undefined && first < 128) {
      this.offset++;
      return BigInt(first);
    }
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.offset++];
      if (byte === undefined) throw damaged(SHORT);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asUintN(64, value);
    }
    throw damaged('a number in a page does not end');
  }
}

/** Reads numbers of some bits, lowest bit first. */
class BitReader {
  #bit = 0;
  readonly #bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Up to 32 bits. */
  read(width: number): number {
    const end = this.#bit + width;
    if (end > this.#bytes.length * 8) throw damaged(SHORT);
    let at = this.#bit >> 3;
    let value = this.#bytes[at++]! >> (this.#bit & 7);
    let have = 8 - (this.#bit & 7);
    // Beyond 24 bits shifts would pass 32, so powers of two carry the rest.
    for (; have < width; have += 8) value += this.#bytes[at++]! * 2 ** have;
    this.#bit = end;
    return width > 24 ? value % 2 ** width : value & ((1 << width) - 1);
  }

  /** More than 32 bits. */
  readBig(width: number): bigint {
    const low = this.read(32);
    return BigInt(low) | (BigInt(this.read(width - 32)) << 32n);
  }
}
