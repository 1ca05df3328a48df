import type { Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { throughStream } from './through-stream.js';

/** zstd of Node.js itself, from 22.15 on. */
interface NativeZstd {
  createZstdCompress(options: { readonly params: Readonly<Record<number, number>> }): Transform;
  createZstdDecompress(): Transform;
  readonly constants: { readonly ZSTD_c_compressionLevel: number };
}

/** Node's own zstd, where it has one. */
export const nativeZstd: NativeZstd | undefined =
  'createZstdDecompress' in zlib ? (zlib as unknown as NativeZstd) : undefined;

/** Blocks as one frame. */
export function nativeZstdCompressed(
  { createZstdCompress, constants }: NativeZstd,
  blocks: AsyncIterable<Uint8Array>,
  level: number,
): AsyncGenerator<Uint8Array> {
  return throughStream(createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: level } }), blocks);
}

/** A piece of a frame, and whether the frame ends with it. */
interface Piece {
  readonly bytes: Uint8Array;
  readonly ends: boolean;
}

/**
 * The content of all frames. Node's decompressor stops behind the first one without a word, so that each is given one of its own.
 */
export async function* nativeUnzstd(
  { createZstdDecompress }: NativeZstd,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const pieces = zstdFrames(chunks);
  try {
    for (;;) {
      const first = await pieces.next();
      if (first.done) return;
      async function* frame(): AsyncGenerator<Uint8Array> {
        let piece = first.value as Piece;
        while (!piece.ends) {
          yield piece.bytes;
          const next = await pieces.next();
          if (next.done) return;
          piece = next.value;
        }
        yield piece.bytes;
      }
      yield* throughStream(createZstdDecompress(), frame());
    }
  } finally {
    await pieces.return(undefined);
  }
}

const MAGIC = 0xfd2fb528;
const MAGIC_BYTES = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);
const little = (bytes: readonly number[], at: number, length: number): number => {
  let value = 0;
  for (let i = 0; i < length; i++) value += bytes[at + i]! * 2 ** (8 * i);
  return value;
};

/** Where a reader of a frame is: how many bytes of which head it needs, and what it goes on with. */
type Place = 'magic' | 'skippable' | 'header' | 'block' | 'content';

/** The frames of a zstd file (RFC 8878 §3.1) in pieces; those that are to be skipped are left out. @throws Error for what is no frame, or is cut short */
export async function* zstdFrames(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Piece> {
  let place = 'magic' as Place;
  let [head, needed, content]: [number[], number, number] = [[], 4, 0];
  let [isLast, hasChecksum, skips, any] = [false, false, false, false];
  /** Goes on after a head that is whole, and says whether the frame ends here. */
  const advance = (): boolean => {
    if (place === 'magic') {
      const magic = little(head, 0, 4);
      skips = magic >= 0x184d2a50 && magic <= 0x184d2a5f;
      if (!skips && magic !== MAGIC) throw new Error('it is damaged, or no zstd file');
      any = true;
      [place, needed] = skips ? ['skippable', 4] : ['header', 1];
    } else if (place === 'skippable') {
      [place, content, isLast, hasChecksum] = ['content', little(head, 0, 4), true, false];
    } else if (place === 'header') {
      const flags = head[0]!;
      hasChecksum = (flags & 4) !== 0;
      const single = (flags & 32) !== 0;
      content = (single ? 0 : 1) + [0, 1, 2, 4][flags & 3]! + [single ? 1 : 0, 2, 4, 8][flags >> 6]!;
      [place, isLast] = ['content', false];
    } else {
      const bits = little(head, 0, 3);
      isLast = (bits & 1) !== 0;
      content = (((bits >> 1) & 3) === 1 ? 1 : bits >> 3) + (isLast && hasChecksum ? 4 : 0);
      place = 'content';
    }
    head = [];
    return place === 'content' && content === 0 && behindContent();
  };
  const behindContent = (): boolean => {
    [place, needed] = isLast ? ['magic', 4] : ['block', 3];
    return isLast;
  };
  for await (const chunk of chunks) {
    let start = 0;
    for (let at = 0; at < chunk.length; ) {
      let ends = false;
      if (place === 'content') {
        const taken = Math.min(content, chunk.length - at);
        content -= taken;
        at += taken;
        ends = content === 0 && behindContent();
      } else {
        head.push(chunk[at++]!);
        if (head.length < needed) continue;
        const begins = place === 'magic';
        ends = advance();
        if (begins) {
          // Which may be of two chunks.
          if (!skips) yield { bytes: MAGIC_BYTES, ends: false };
          start = at;
        }
      }
      if (!ends) continue;
      if (!skips) yield { bytes: chunk.subarray(start, at), ends: true };
      start = at;
    }
    if (start < chunk.length && !skips && place !== 'magic') yield { bytes: chunk.subarray(start), ends: false };
  }
  if (!any) throw new Error('it is empty, and a zstd file has at least one frame');
  if (place !== 'magic' || head.length > 0) throw new Error('it ends in the middle of a frame, or is damaged');
}
