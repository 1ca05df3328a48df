import { crc32 } from 'node:zlib';
import type { ParquetWriter } from 'hyparquet-writer';
import { count, ThriftReader } from './thrift.js';

/** Head of a 32-bit integer field whose number is the last one's plus 1. */
const NEXT_INT32 = 0x15;

/**
 * The bytes of a row group that hyparquet-writer has just written, with a checksum (CRC-32 of the compressed page) in each
 * page's header, which it leaves out. `base` is where `bytes` begin in the file. The headers grow, so the offsets and
 * sizes that the writer keeps for its footer are moved.
 */
export function addChecksums(bytes: Uint8Array, base: number, writer: ParquetWriter): Uint8Array {
  const group = writer.row_groups.at(-1)!;
  const pieces: Uint8Array[] = [];
  let grown = 0;
  let copied = 0;
  const indexes = writer.pendingIndexes.slice(-group.columns.length);
  for (const [i, chunk] of group.columns.entries()) {
    const metadata = chunk.meta_data!;
    const locations = indexes[i]!.offsetIndex?.page_locations ?? [];
    const start = Number(metadata.dictionary_page_offset ?? metadata.data_page_offset) - base;
    const end = start + Number(metadata.total_compressed_size);
    const grownBefore = grown;
    const moved = new Map<bigint, number>();
    for (let offset = start; offset < end; ) {
      const reader = new ThriftReader(bytes, offset);
      const header = reader.struct();
      const next = reader.offset + count(header, 3, 'a page size');
      // Fields 1 to 3 are 32-bit integers, which are there; the checksum, field 4, goes behind them.
      const place = afterThreeInt32(bytes, offset);
      const checksum = int32(crc32(bytes.subarray(reader.offset, next)) | 0);
      pieces.push(bytes.subarray(copied, place), checksum, Uint8Array.of(bytes[place]! - 0x10));
      copied = place + 1;
      moved.set(BigInt(base + offset), grown);
      for (const location of locations) {
        if (location.offset === BigInt(base + offset)) location.compressed_page_size += checksum.length;
      }
      grown += checksum.length;
      offset = next;
    }
    const shift = (offset: bigint): bigint => offset + BigInt(moved.get(offset) ?? grownBefore);
    for (const location of locations) location.offset = shift(location.offset);
    if (metadata.dictionary_page_offset !== undefined) {
      metadata.dictionary_page_offset = shift(metadata.dictionary_page_offset);
    }
    metadata.data_page_offset = shift(metadata.data_page_offset);
    chunk.file_offset += BigInt(grownBefore);
    metadata.total_compressed_size += BigInt(grown - grownBefore);
    metadata.total_uncompressed_size += BigInt(grown - grownBefore);
  }
  group.total_byte_size += BigInt(grown);
  if (group.total_compressed_size !== undefined) group.total_compressed_size += BigInt(grown);
  pieces.push(bytes.subarray(copied));
  writer.writer.offset += grown;
  return Buffer.concat(pieces);
}

function afterThreeInt32(bytes: Uint8Array, offset: number): number {
  for (let field = 0; field < 3; field++) {
    if (bytes[offset++] !== NEXT_INT32) throw new Error('a page header is not as hyparquet-writer writes it');
    while (bytes[offset++]! > 127);
  }
  return offset;
}

/** A field that follows the one before, with a zigzag variable-length integer. */
function int32(value: number): Uint8Array {
  const encoded = [NEXT_INT32];
  let rest = ((value << 1) ^ (value >> 31)) >>> 0;
  for (; rest > 127; rest >>>= 7) encoded.push((rest & 127) | 128);
  encoded.push(rest);
  return Uint8Array.from(encoded);
}
