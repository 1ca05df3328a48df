import { closeSync, openSync, readSync, rmSync, write } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { TypedArray } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import { makeFolder, temporaryName, writing } from '@posttrain/interfaces/node';
import type { StateStore } from './state-store.js';

type ArrayOf = new (buffer: ArrayBuffer) => TypedArray;

/** Where an array is in the file. */
interface Place {
  readonly at: number;
  readonly bytes: number;
  readonly kind: ArrayOf;
}

const writeTo = promisify(write);
/** Linux reads and writes less than 2 GiB in one call. */
const LARGEST_CALL = 2 ** 30;

const closed = new FinalizationRegistry<number>((file) => closeSync(file));

/**
 * In a file without a name in a folder, which the system takes back when nobody uses it or the process ends, however it ends: what a
 * run goes on from are its checkpoints. An array has its place from when it is first written, and keeps its length.
 *
 * @throws FileError where the folder cannot be written
 */
export async function fileStore(folder: string): Promise<StateStore> {
  await makeFolder(folder);
  const path = temporaryName(folder, 'optimizer');
  const file = await writing(folder, async () => openSync(path, 'wx+', 0o600));
  rmSync(path);
  const places = new Map<number, Place>();
  let end = 0;
  const store: StateStore = {
    read(slot) {
      const { at, bytes, kind } = places.get(slot)!;
      const buffer = new ArrayBuffer(bytes);
      for (let done = 0; done < bytes; ) {
        const count = readSync(file, new Uint8Array(buffer), done, Math.min(bytes - done, LARGEST_CALL), at + done);
        if (count === 0)
          throw new PosttrainError('OFFLOAD', `${join(folder, 'optimizer')}: ends before the states do.`);
        done += count;
      }
      return new kind(buffer);
    },
    async write(slot, data) {
      const present = places.get(slot);
      const place = present ?? { at: end, bytes: data.byteLength, kind: data.constructor as ArrayOf };
      if (!present) {
        places.set(slot, place);
        end += data.byteLength;
      }
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      await writing(folder, async () => {
        for (let done = 0; done < bytes.length; ) {
          const length = Math.min(bytes.length - done, LARGEST_CALL);
          done += (await writeTo(file, bytes, done, length, place.at + done)).bytesWritten;
        }
      });
    },
  };
  closed.register(store, file);
  return store;
}
