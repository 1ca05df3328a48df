import { nativeUnzstd, nativeZstd, nativeZstdCompressed } from './zstd-native.js';

/** Output pieces that are still taken of a stream that nobody reads on, so that the decompressor frees what it holds. */
const DRAIN = 64;

/**
 * The content of a zstd file (RFC 8878): of all its frames, with windows of up to 128 MiB, checksums compared. One that is empty, cut short
 * or damaged is an error.
 */
export function unzstd(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  return nativeZstd === undefined ? wasmUnzstd(chunks) : nativeUnzstd(nativeZstd, chunks);
}

async function* wasmUnzstd(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { ZSTDDecoder } = await import('zstddec/stream');
  const decoder = new ZSTDDecoder();
  await decoder.init();
  const source = chunks[Symbol.asyncIterator]();
  let waiting: Uint8Array | undefined;
  let ended = false;
  /** Pieces without bytes since a chunk was taken, and how many there can be: each takes at least one byte of the chunk. */
  let [empty, mostEmpty] = [0, 0];
  const refill = async (): Promise<void> => {
    while (waiting === undefined && !ended) {
      const { done, value } = await source.next();
      if (done) ended = true;
      else if (value.length > 0) waiting = value;
    }
  };
  function* given(): Generator<Uint8Array> {
    while (waiting !== undefined) {
      const chunk = waiting;
      waiting = undefined;
      [empty, mostEmpty] = [0, chunk.length];
      yield chunk;
    }
  }
  await refill();
  if (waiting === undefined) throw new Error('it is empty, and a zstd file has at least one frame');
  const pieces = decoder.decodeStreaming(given());
  let finished = false;
  try {
    for (;;) {
      // The decompressor takes one chunk at most before it gives a piece.
      await refill();
      const { done, value } = next(pieces);
      if (done) {
        finished = true;
        return;
      }
      if (value.length > 0) yield value;
      // It does not say that it has failed, but stays where it is.
      else if (++empty > mostEmpty) throw new Error('it is damaged, or no zstd file');
    }
  } finally {
    waiting = undefined;
    for (let i = 0; !finished && i < DRAIN && empty <= mostEmpty; i++) finished = hasEnded(pieces);
    await source.return?.();
  }
}

function next(pieces: Generator<Uint8Array>): IteratorResult<Uint8Array> {
  try {
    return pieces.next();
  } catch (cause) {
    throw new Error('it ends in the middle of a frame, or is damaged', { cause });
  }
}

function hasEnded(pieces: Generator<Uint8Array>): boolean {
  try {
    return pieces.next().done === true;
  } catch {
    return true;
  }
}

const LEVEL = 3;

/** A compressor of its own for every file that is written: the package has one for the process, and shares its state. */
interface Stream {
  compressChunk(data: Uint8Array): Uint8Array;
  compressEnd(): Uint8Array;
  setCompressionLevel(level: number): void;
  readonly _zstd: { delete(): void };
}

/**
 * Blocks as one zstd frame, level 3: readers in Python (`zstandard`, fsspec and so `datasets` and datatrove) read the first frame of a
 * file and take it for all. Node's own zstd from 22.15 on, elsewhere WebAssembly: the bytes may be others, what they hold is the same.
 */
export function zstdCompressed(blocks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  return nativeZstd === undefined ? wasmCompressed(blocks) : nativeZstdCompressed(nativeZstd, blocks, LEVEL);
}

async function* wasmCompressed(blocks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const stream = await newStream();
  try {
    stream.setCompressionLevel(LEVEL);
    for await (const block of blocks) {
      const bytes = stream.compressChunk(block);
      if (bytes.length > 0) yield bytes;
    }
    yield stream.compressEnd();
  } finally {
    stream._zstd.delete();
  }
}

interface Shared {
  readonly _zstdClass: new () => Stream['_zstd'];
  readonly _mainModule: Heap;
}
interface Heap {
  heapView(of: object): Uint8Array;
}

async function newStream(): Promise<Stream> {
  const { Zstd } = await import('@hpcc-js/wasm-zstd');
  const shared = (await Zstd.load()) as unknown as Shared;
  // The package copies byte by byte through an array, which takes longer than to compress them.
  const heap = Object.assign(Object.create(shared._mainModule) as Heap, {
    heapToUint8Array(this: Heap, of: object): Uint8Array {
      return this.heapView(of).slice();
    },
  });
  return Object.assign(Object.create(shared) as object, {
    _zstd: new shared._zstdClass(),
    _mainModule: heap,
  }) as unknown as Stream;
}
