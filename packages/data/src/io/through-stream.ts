import type { Transform } from 'node:stream';
import { messageOf } from '../errors.js';

/** What a stream of Node.js makes of blocks. What makes the blocks may fail with an error of its own, which is thrown as it is. */
export async function* throughStream(stream: Transform, blocks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let failure: unknown;
  const fed = (async () => {
    try {
      for await (const block of blocks) {
        if (stream.destroyed) return;
        if (!stream.write(block)) await new Promise((resolve) => stream.once('drain', resolve).once('close', resolve));
      }
      stream.end();
    } catch (error) {
      failure = error;
      stream.destroy(new Error(messageOf(error)));
    }
  })();
  try {
    for await (const chunk of stream) yield chunk as Uint8Array;
  } catch (error) {
    throw failure ?? error;
  } finally {
    stream.destroy();
    await fed;
  }
}
