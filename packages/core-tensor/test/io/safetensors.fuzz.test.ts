import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PosttrainError } from '@posttrain/interfaces';
import fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { InvalidHeaderError, openSafetensors, parseSafetensorsHeader } from '../../src/io/index.js';

const golden = join(import.meta.dirname, '../../../../goldens/safetensors/dtypes.safetensors');

async function temporaryFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'posttrain-safetensors-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return join(folder, 'model.safetensors');
}

/** Opens a file and reads all of it; errors of ours count as an answer, others are thrown. */
async function readAll(path: string, bytes: Uint8Array): Promise<boolean> {
  await writeFile(path, bytes);
  try {
    const file = await openSafetensors(path);
    for (const { name, byteLength, byteOffset } of file.tensors.values()) {
      expect(byteOffset + byteLength).toBeLessThanOrEqual(bytes.length);
      await file.read(name).catch(passOurs);
    }
    await file.close();
    return true;
  } catch (error) {
    passOurs(error);
    return false;
  }
}

function passOurs(error: unknown): void {
  if (!(error instanceof PosttrainError)) throw error;
}

/** Ways to damage a file: a bit, bytes in a row, the length of the header, the end. */
const damage = (length: number): fc.Arbitrary<(bytes: Uint8Array) => Uint8Array> => {
  const at = fc.nat(length - 1);
  const text = fc.constantFrom('-1', '1e99', '9007199254740993', '[[', '}', '"', '\\u0000', ',"a":', '1.5', 'null');
  const put = (bytes: Uint8Array, what: Uint8Array, i: number) => {
    bytes.set(what.subarray(0, bytes.length - i), i);
    return bytes;
  };
  return fc.oneof(
    fc.tuple(at, fc.nat(7)).map(
      ([i, bit]) =>
        (bytes: Uint8Array) =>
          put(bytes, Uint8Array.of(bytes[i]! ^ (1 << bit)), i),
    ),
    fc
      .tuple(
        at,
        fc.oneof(
          text.map((t) => Buffer.from(t)),
          fc.uint8Array({ minLength: 1, maxLength: 6 }),
        ),
      )
      .map(
        ([i, what]) =>
          (bytes: Uint8Array) =>
            put(bytes, what, i),
      ),
    fc
      .bigInt(0n, 2n ** 64n - 1n)
      .map((size) => (bytes: Uint8Array) => put(bytes, new Uint8Array(BigUint64Array.of(size).buffer), 0)),
    at.map((i) => (bytes: Uint8Array) => bytes.subarray(0, i)),
  );
};

it('a damaged file: tensors within it, or an error of ours', async () => {
  const [whole, path] = [await readFile(golden), await temporaryFile()];
  expect(await readAll(path, whole)).toBe(true);
  const headerBytes = 8 + Number(whole.readBigUInt64LE());
  await fc.assert(
    fc.asyncProperty(damage(headerBytes), async (change) => {
      await readAll(path, change(Uint8Array.from(whole)));
    }),
    { numRuns: 400 },
  );
});

it('a file cut anywhere is refused', async () => {
  const [whole, path] = [await readFile(golden), await temporaryFile()];
  for (let length = 0; length < whole.length; length += 7) {
    expect(await readAll(path, whole.subarray(0, length)), `${length} bytes`).toBe(false);
  }
});

it('a header of long texts or deep lists is read or refused like others', () => {
  const long = 'x'.repeat(20_000_000);
  const parse = (text: string) => parseSafetensorsHeader(new TextEncoder().encode(text), 0, 'file');
  expect(parse(`{"__metadata__":{"a":"${long}"}}`).metadata.a).toBe(long);
  expect(() => parse(`{"${long}":1}`)).toThrow(InvalidHeaderError);
  expect(() => parse(`{"${long}":1}`)).toThrow(/x…" is not an object/);
  expect(() => parse(`{"a":${'['.repeat(300_000)}${']'.repeat(300_000)}}`)).toThrow(InvalidHeaderError);
});
