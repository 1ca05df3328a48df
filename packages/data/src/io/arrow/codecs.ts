import type { CompressionType } from 'apache-arrow';
import { lz4 } from '../parquet/decompress.js';

type Arrow = typeof import('apache-arrow');

/** Gives apache-arrow the codecs of buffers, LZ4 (the default of Feather) and zstd, unless somebody has. */
export async function registerCodecs({ compressionRegistry, CompressionType }: Arrow): Promise<void> {
  const missing = (codec: CompressionType) => compressionRegistry.get(codec)?.decode === undefined;
  if (missing(CompressionType.LZ4_FRAME)) compressionRegistry.set(CompressionType.LZ4_FRAME, { decode: lz4Frame });
  if (!missing(CompressionType.ZSTD)) return;
  const { ZSTDDecoder } = await import('zstddec/stream');
  const decoder = new ZSTDDecoder();
  await decoder.init();
  compressionRegistry.set(CompressionType.ZSTD, { decode: (bytes) => decoder.decode(bytes) });
}

const MAGIC = 0x184d2204;
const UNCOMPRESSED = 0x8000_0000;

/** An LZ4 frame whose blocks stand for themselves, or go on from those before. */
function lz4Frame(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const broken = (what: string) => new Error(`a buffer is no LZ4 frame: ${what}`);
  if (bytes.length < 7 || view.getUint32(0, true) !== MAGIC) throw broken('it does not begin as one');
  const flags = bytes[4]!;
  if (flags & 1) throw broken('it needs a dictionary');
  if (!(flags & 32)) throw broken('its blocks depend on one another, which is not supported; write it with pyarrow');
  const largest = 1 << (8 + 2 * ((bytes[5]! >> 4) & 7));
  let at = 7 + (flags & 8 ? 8 : 0);
  const blocks: Uint8Array[] = [];
  for (;;) {
    if (at + 4 > bytes.length) throw broken('it is cut short');
    const head = view.getUint32(at, true);
    at += 4;
    if (head === 0) break;
    const length = head & 0x7fff_ffff;
    if (at + length > bytes.length) throw broken('it is cut short');
    const block = bytes.subarray(at, at + length);
    blocks.push(head & UNCOMPRESSED ? block : lz4(block, sizeOf(block, largest)));
    at += length + (flags & 16 ? 4 : 0);
  }
  return Buffer.concat(blocks);
}

/** How long the content of an LZ4 block is: the sum of the lengths of its literals and copies. */
function sizeOf(block: Uint8Array, largest: number): number {
  let [at, total] = [0, 0];
  const length = (nibble: number): number => {
    let sum = nibble;
    if (nibble === 15) for (let byte = 255; byte === 255; sum += byte) byte = block[at++] ?? 0;
    return sum;
  };
  while (at < block.length) {
    const token = block[at++]!;
    const literals = length(token >> 4);
    at += literals;
    total += literals;
    if (at >= block.length) break;
    at += 2;
    total += length(token & 15) + 4;
  }
  if (total > largest) throw new Error('a buffer is no LZ4 frame: a block is longer than its header says');
  return total;
}
