import type { Readable } from 'node:stream';

/** What a stream gave, up to a number of bytes. */
export interface BoundedOutput {
  readonly truncated: boolean;
  bytes(): Buffer;
}

/** Collects a stream and keeps no more than `limit` bytes; `onFull` is called once, when more comes. */
export function boundedOutput(stream: Readable, limit: number, onFull: () => void): BoundedOutput {
  const chunks: Buffer[] = [];
  let length = 0;
  let truncated = false;
  // A pipe that breaks ends; what had come stays.
  stream.on('error', () => {});
  stream.on('data', (chunk: Buffer) => {
    if (truncated) return;
    const kept = chunk.subarray(0, limit - length);
    // A copy: the chunk may be a small part of a large buffer.
    if (kept.length > 0) chunks.push(Buffer.from(kept));
    length += kept.length;
    if (kept.length === chunk.length) return;
    truncated = true;
    onFull();
  });
  return {
    get truncated() {
      return truncated;
    },
    bytes: () => Buffer.concat(chunks),
  };
}
