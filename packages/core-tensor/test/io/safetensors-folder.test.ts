import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PosttrainError } from '@posttrain/interfaces';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import {
  InvalidHeaderError,
  MissingShardError,
  MissingTensorError,
  openSafetensors,
  openSafetensorsFolder,
  parseSafetensorsHeader,
  saveSafetensors,
  type TensorToWrite,
  writeSafetensors,
} from '../../src/io/index.js';

describe('folders', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'safetensors-folder-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const tensor = (name: string, ...values: number[]): TensorToWrite => ({
    name,
    dtype: 'float32',
    shape: [values.length],
    data: Float32Array.from(values),
  });
  const three = [tensor('a', 1, 2), tensor('b', 3), tensor('c', 4, 5, 6)];
  const indexPath = () => join(folder, 'model.safetensors.index.json');

  it('one file when it fits, shards and an index when not, and no file of an earlier save', async () => {
    expect(await saveSafetensors(folder, three)).toEqual(['model.safetensors']);
    const files = await saveSafetensors(folder, three, { maxShardBytes: 12 });
    expect(files).toEqual([
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
    ]);
    expect(readdirSync(folder).sort()).toEqual(files);
    expect(JSON.parse(readFileSync(indexPath(), 'utf8'))).toEqual({
      metadata: { total_size: 24 },
      weight_map: { a: files[0], b: files[0], c: files[1] },
    });
    const source = await openSafetensorsFolder(folder);
    expect([...source.tensors.keys()]).toEqual(['a', 'b', 'c']);
    for (const { name, dtype, shape, data } of three) expect(await source.read(name)).toEqual({ dtype, shape, data });
    await expect(source.read('d')).rejects.toThrow(MissingTensorError);
    await source.close();
    writeFileSync(join(folder, 'model-card.safetensors'), 'not ours');
    await saveSafetensors(folder, three);
    expect(readdirSync(folder).sort()).toEqual(['model-card.safetensors', 'model.safetensors']);
  });

  const cases = JSON.parse(
    readFileSync(join(import.meta.dirname, '../../../../goldens/safetensors/shards.json'), 'utf8'),
  ) as {
    readonly bytes: readonly number[];
    readonly limit: number | string;
    readonly files: Readonly<Record<string, readonly string[]>>;
    readonly metadata: object;
  }[];
  it.each(cases)(
    '$bytes in shards of $limit: as huggingface_hub splits them',
    async ({ bytes, limit, ...expected }) => {
      const tensors = bytes.map((size, i) => tensor(`t${i}`, ...new Array<number>(size / 4).fill(i)));
      const options = { maxShardBytes: limit, parameters: 7 };
      const files = (await saveSafetensors(folder, tensors, options)).filter((name) => name.endsWith('.safetensors'));
      const names = files.map((file) => {
        const header = readFileSync(join(folder, file));
        const { tensors: found } = parseSafetensorsHeader(
          header.subarray(8, 8 + Number(header.readBigUInt64LE(0))),
          header.length - 8 - Number(header.readBigUInt64LE(0)),
          file,
        );
        return [file, [...found.keys()].sort()] as const;
      });
      const sorted = Object.entries(expected.files).map(([file, list]) => [file, [...list].sort()] as const);
      expect(Object.fromEntries(names)).toEqual(Object.fromEntries(sorted));
      if (files.length > 1) {
        const { metadata } = JSON.parse(readFileSync(indexPath(), 'utf8'));
        expect(metadata).toEqual({ total_parameters: 7, ...expected.metadata });
      }
    },
  );

  it('refuses sizes that are none', async () => {
    for (const maxShardBytes of ['5 potatoes', '0GB', 'GB', -1]) {
      await expect(saveSafetensors(folder, three, { maxShardBytes })).rejects.toThrow(/maxShardBytes is .*it must be/);
    }
  });

  it('a tensor larger than the limit gets its own shard', async () => {
    const files = await saveSafetensors(folder, three, { maxShardBytes: 1, baseName: 'adapter_model' });
    expect(files).toHaveLength(4);
    const source = await openSafetensorsFolder(folder, { baseName: 'adapter_model' });
    expect((await source.read('c')).data).toEqual(Float32Array.of(4, 5, 6));
    await source.close();
    await expect(saveSafetensors(folder, three, { maxShardBytes: 0 })).rejects.toThrow(
      /maxShardBytes is 0; it must be/,
    );
  });

  it('a disk full in the second shard leaves the earlier save whole', async () => {
    await saveSafetensors(folder, three);
    const before = readFileSync(join(folder, 'model.safetensors'));
    let writes = 0;
    const full = async () => {
      if (++writes === 5) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    };
    await expect(saveSafetensors(folder, three, { maxShardBytes: 12 }, full)).rejects.toThrow(
      /model-00002-of-00002.safetensors: cannot be written \(ENOSPC\)/,
    );
    expect(writes).toBe(5);
    expect(readdirSync(folder)).toEqual(['model.safetensors']);
    expect(readFileSync(join(folder, 'model.safetensors')).equals(before)).toBe(true);
  });

  it('names what is missing or malformed', async () => {
    await expect(openSafetensorsFolder(folder)).rejects.toThrow(/neither model.safetensors nor/);
    await saveSafetensors(folder, three, { maxShardBytes: 12 });
    const index = JSON.parse(readFileSync(indexPath(), 'utf8'));

    writeFileSync(
      indexPath(),
      JSON.stringify({ ...index, weight_map: { ...index.weight_map, d: index.weight_map.a } }),
    );
    await expect(openSafetensorsFolder(folder)).rejects.toThrow(MissingTensorError);

    writeFileSync(indexPath(), JSON.stringify({ weight_map: { a: '../outside.safetensors' } }));
    await expect(openSafetensorsFolder(folder)).rejects.toThrow(InvalidHeaderError);
    writeFileSync(indexPath(), JSON.stringify({ metadata: {} }));
    await expect(openSafetensorsFolder(folder)).rejects.toThrow(/weight_map/);
    writeFileSync(indexPath(), 'null');
    await expect(openSafetensorsFolder(folder)).rejects.toThrow(InvalidHeaderError);
    writeFileSync(indexPath(), '{');
    await expect(openSafetensorsFolder(folder)).rejects.toThrow(/not JSON/);

    writeFileSync(indexPath(), JSON.stringify(index));
    rmSync(join(folder, 'model-00002-of-00002.safetensors'));
    await expect(openSafetensorsFolder(folder)).rejects.toThrow(MissingShardError);
    await expect(openSafetensorsFolder(folder)).rejects.toThrow(/model-00002-of-00002/);
  });

  it('keeps a tensor that the index forgot', async () => {
    await writeSafetensors(join(folder, 'part.safetensors'), three);
    writeFileSync(indexPath(), JSON.stringify({ weight_map: { a: 'part.safetensors' } }));
    const source = await openSafetensorsFolder(folder);
    expect((await source.read('b')).data).toEqual(Float32Array.of(3));
    await source.close();
  });

  it('a tensor that two shards have is read where they agree, and refused where they do not', async () => {
    const files = await saveSafetensors(folder, three, { maxShardBytes: 12 });
    const again = (...values: number[]) =>
      writeSafetensors(join(folder, files[1]!), [three[2]!, tensor('b', ...values)]);
    await again(3);
    const same = await openSafetensorsFolder(folder);
    expect((await same.read('b')).data).toEqual(Float32Array.of(3));
    await same.close();
    for (const values of [[4], [3, 3]]) {
      await again(...values);
      const other = await openSafetensorsFolder(folder);
      await expect(other.read('b')).rejects.toThrow(/index\.json: tensor "b" is in two shards with different values/);
      expect((await other.read('c')).data).toEqual(three[2]!.data);
      await other.close();
    }
  });
});

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
