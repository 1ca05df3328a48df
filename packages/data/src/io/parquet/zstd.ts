import { randomBytes } from 'node:crypto';
import { decompress as decompressFrame } from 'fzstd';
import { damaged, ParquetProblem } from './problem.js';

/** Offsets that reach further back are read wrongly by the decompressor. */
const MAX_REACH = (1 << 26) - 4;

/** A frame without a content size, a dictionary or a checksum, with a window of 128 KiB, which is only a bound of its blocks. */
const HEADER = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0x38);
const MARK_LENGTH = 16;

/**
 * The `size` bytes of the frames of zstd (RFC 8878).
 *
 * The decompressor writes into what it is given, uses what is behind the result as scratch, and does not say how far it came. So
 * each frame gets one more block, of random bytes as they are: where they stand in the output, the frame's content ends.
 */
export function zstd(bytes: Uint8Array, size: number): Uint8Array {
  const mark = randomBytes(MARK_LENGTH);
  const output = Buffer.alloc(size + MARK_LENGTH);
  let written = 0;
  for (let offset = 0; offset < bytes.length; ) {
    const frame = readFrame(bytes, offset, size);
    offset = frame.end;
    if (frame.blocks === undefined) continue;
    const rest = output.subarray(written);
    decompressFrame(withMark(frame.blocks, frame.lastBlock, mark), rest);
    const length = rest.indexOf(mark);
    if (length === -1) throw damaged('a page is longer than its header says');
    written += length;
  }
  if (written < size) throw damaged('a page is shorter than its header says');
  return new Uint8Array(output.buffer, output.byteOffset, size);
}

interface Frame {
  /** `undefined` for a frame that is to be skipped. */
  readonly blocks: Uint8Array | undefined;
  /** Where the last block begins. */
  readonly lastBlock: number;
  readonly end: number;
}

function readFrame(bytes: Uint8Array, start: number, size: number): Frame {
  const little = (at: number, length: number): number => {
    if (at + length > bytes.length) throw damaged('a zstd frame is cut short');
    let value = 0;
    for (let i = 0; i < length; i++) value += bytes[at + i]! * 2 ** (8 * i);
    return value;
  };
  const magic = little(start, 4);
  if (magic >= 0x184d2a50 && magic <= 0x184d2a5f) {
    const end = start + 8 + little(start + 4, 4);
    if (end > bytes.length) throw damaged('a zstd frame is cut short');
    return { blocks: undefined, lastBlock: 0, end };
  }
  if (magic !== 0xfd2fb528) throw damaged('a page is no zstd frame');
  const flags = little(start + 4, 1);
  if (flags & 8) throw damaged('a zstd frame has a reserved flag');
  const single = (flags & 32) !== 0;
  const dictionaryLength = [0, 1, 2, 4][flags & 3]!;
  const sizeLength = [single ? 1 : 0, 2, 4, 8][flags >> 6]!;
  const dictionary = start + (single ? 5 : 6);
  const blocks = dictionary + dictionaryLength + sizeLength;
  if (little(dictionary, dictionaryLength) !== 0) throw new ParquetProblem('a zstd frame needs a dictionary.');
  const descriptor = single ? 0 : little(start + 5, 1);
  const window = single
    ? little(blocks - sizeLength, sizeLength)
    : 2 ** (10 + (descriptor >> 3)) * (1 + (descriptor & 7) / 8);
  if (Math.min(window, size) > MAX_REACH) {
    throw new ParquetProblem(
      `a zstd page of ${size} bytes with a window of ${window} is not supported; write smaller pages, or at most level 20.`,
    );
  }
  for (let block = blocks; ; ) {
    const head = little(block, 3);
    const kind = (head >> 1) & 3;
    if (kind === 3) throw damaged('a zstd block has a reserved type');
    const end = block + 3 + (kind === 1 ? 1 : head >> 3);
    if (end > bytes.length) throw damaged('a zstd frame is cut short');
    if (head & 1) {
      const after = end + (flags & 4 ? 4 : 0);
      if (after > bytes.length) throw damaged('a zstd frame is cut short');
      return { blocks: bytes.subarray(blocks, end), lastBlock: block - blocks, end: after };
    }
    block = end;
  }
}

function withMark(blocks: Uint8Array, lastBlock: number, mark: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER.length + blocks.length + 3 + mark.length);
  frame.set(HEADER);
  frame.set(blocks, HEADER.length);
  frame[HEADER.length + lastBlock]! &= 0xfe;
  // The last block, as it is, of so many bytes.
  frame[HEADER.length + blocks.length] = (mark.length << 3) | 1;
  frame.set(mark, HEADER.length + blocks.length + 3);
  return frame;
}
