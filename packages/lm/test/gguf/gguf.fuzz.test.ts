import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PosttrainError } from '@posttrain/interfaces';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CausalLM, InvalidGgufError, openGguf, UnsupportedGgufError } from '../../src/index.js';
import { temporaryFolder } from '../support.js';
import { GgufBytes, smallGguf, ValueType } from './build-gguf.js';
import { goldenFile } from './support.js';

const header = (version?: number) => new GgufBytes().magic(version);

async function fileOf(bytes: Uint8Array): Promise<string> {
  const path = join(await temporaryFolder(), 'model.gguf');
  await writeFile(path, bytes);
  return path;
}

/** What a file holds, or the error of ours that it gives; anything else is thrown. */
async function contentsOf(
  path: string,
  bytes: Uint8Array,
): Promise<ReadonlyMap<string, readonly number[]> | undefined> {
  await writeFile(path, bytes);
  try {
    const file = await openGguf(path);
    const contents = new Map<string, readonly number[]>();
    for (const { name, byteOffset, byteLength, shape } of file.tensors.values()) {
      expect(byteOffset + byteLength).toBeLessThanOrEqual(bytes.length);
      const values = await file.read(name);
      expect(values.length).toBe(shape.reduce((product, dim) => product * dim, 1));
      contents.set(name, [...values]);
    }
    await file.close();
    return contents;
  } catch (error) {
    if (error instanceof PosttrainError) return undefined;
    throw error;
  }
}

/** Ways to damage a file: bits, bytes in a row, and numbers as large as the format can write. */
const damage = (length: number): fc.Arbitrary<(bytes: Uint8Array) => Uint8Array> => {
  const at = fc.nat(length - 1);
  const hostile = fc.constantFrom(0n, 1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n);
  return fc.oneof(
    fc.tuple(at, fc.nat(7)).map(([i, bit]) => (bytes: Uint8Array) => {
      bytes[i]! ^= 1 << bit;
      return bytes;
    }),
    fc.tuple(at, fc.uint8Array({ minLength: 1, maxLength: 12 })).map(([i, put]) => (bytes: Uint8Array) => {
      bytes.set(put.subarray(0, bytes.length - i), i);
      return bytes;
    }),
    fc.tuple(at, hostile).map(([i, value]) => (bytes: Uint8Array) => {
      bytes.set(new Uint8Array(BigUint64Array.of(value).buffer).subarray(0, bytes.length - i), i);
      return bytes;
    }),
    at.map((i) => (bytes: Uint8Array) => bytes.subarray(0, i)),
  );
};

describe('a damaged GGUF file', () => {
  it('gives its tensors when it is whole', async () => {
    const contents = await contentsOf(await fileOf(new Uint8Array()), smallGguf());
    expect(contents).toEqual(
      new Map([
        ['a', [1, 2, 3, 4, 5, 6, 7, 8]],
        ['b', [...new Array(16).fill(0), ...new Array(16).fill(1)]],
        ['c', [1, 2, 3]],
      ]),
    );
  });

  it('is refused wherever it is cut', async () => {
    const [whole, path] = [smallGguf(), await fileOf(new Uint8Array())];
    for (let length = 0; length < whole.length; length++) {
      expect(await contentsOf(path, whole.subarray(0, length)), `${length} bytes`).toBeUndefined();
    }
  });

  it('gives tensors within the file, or an error of ours', async () => {
    const [whole, path] = [smallGguf(), await fileOf(new Uint8Array())];
    const changes = fc.array(damage(whole.length), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(changes, async (all) => {
        let bytes: Uint8Array = whole.slice();
        for (const change of all) if (bytes.length === whole.length) bytes = change(bytes);
        await contentsOf(path, bytes);
      }),
      { numRuns: 600 },
    );
  });

  it('any bytes behind a good beginning: tensors within the file, or an error of ours', async () => {
    const path = await fileOf(new Uint8Array());
    const small = fc.nat(3);
    await fc.assert(
      fc.asyncProperty(small, small, fc.uint8Array({ maxLength: 200 }), async (tensors, entries, rest) => {
        await contentsOf(path, header().uint64(tensors).uint64(entries).bytes(rest).build());
      }),
      { numRuns: 300 },
    );
  });

  it.each(['bpe-q4_0', 'spm-q8_0', 'mixtral'])(
    '%s with a damaged header: a model, or an error of ours',
    async (name) => {
      const [whole, path] = [await readFile(goldenFile(name)), await fileOf(new Uint8Array())];
      const file = await openGguf(goldenFile(name));
      await file.close();
      const headerBytes = Math.min(...[...file.tensors.values()].map(({ byteOffset }) => byteOffset));
      // Where the sizes are; the rest of the header is texts of tokens.
      const anywhere = damage(headerBytes);
      const atSizes = damage(1100);
      const atTensors = damage(1500).map((change) => (bytes: Uint8Array) => {
        const tail = change(bytes.slice(headerBytes - 1500, headerBytes));
        bytes.set(tail, headerBytes - 1500);
        return bytes;
      });
      await fc.assert(
        fc.asyncProperty(fc.oneof(anywhere, atSizes, atTensors), async (change) => {
          await writeFile(path, change(Uint8Array.from(whole)));
          try {
            await CausalLM.load(path);
          } catch (error) {
            if (!(error instanceof PosttrainError)) throw error;
          }
        }),
        { numRuns: 50 },
      );
    },
  );
});

describe('a hostile GGUF file', () => {
  const tensors = (...list: Parameters<GgufBytes['tensor']>[]) => {
    const bytes = header().uint64(list.length).uint64(0);
    for (const tensor of list) bytes.tensor(...tensor);
    return bytes.pad().bytes(new Uint8Array(128));
  };
  const value = (type: number) => header().uint64(0).uint64(1).text('key').uint32(type);
  const aligned = (alignment: GgufBytes) => alignment.tensor('a', [4], 0, 0).pad().bytes(new Uint8Array(64));
  const alignment = () => header().uint64(1).uint64(1).text('general.alignment');

  it.each<[string, GgufBytes, typeof InvalidGgufError | typeof UnsupportedGgufError, RegExp]>([
    ['another kind of file', new GgufBytes().text('PK').uint64(0), InvalidGgufError, /does not begin with "GGUF"/],
    ['an old version', header(1).uint64(0).uint64(0), UnsupportedGgufError, /version 1 of the format/],
    [
      'big-endian',
      header(3 << 24)
        .uint64(0)
        .uint64(0),
      UnsupportedGgufError,
      /big-endian/,
    ],
    [
      'countless tensors',
      header()
        .uint64(2n ** 63n)
        .uint64(0),
      InvalidGgufError,
      /count of tensors is 9223372036854775808/,
    ],
    [
      'countless metadata',
      header()
        .uint64(0)
        .uint64(2n ** 40n),
      InvalidGgufError,
      /count of metadata is 1099511627776/,
    ],
    [
      'an endless key',
      header()
        .uint64(0)
        .uint64(1)
        .uint64(2n ** 62n)
        .uint64(0),
      InvalidGgufError,
      /a metadata key is/,
    ],
    ['an endless text', value(ValueType.text).uint64(2n ** 60n), InvalidGgufError, /more than the file has room for/],
    [
      'an endless array',
      value(ValueType.array)
        .uint32(4)
        .uint64(2n ** 61n),
      InvalidGgufError,
      /the length of "key"/,
    ],
    ['arrays of arrays', value(ValueType.array).uint32(9).uint64(0), InvalidGgufError, /an array of arrays/],
    ['an unknown type', value(13).uint64(0), InvalidGgufError, /has the type 13/],
    ['an unknown element', value(ValueType.array).uint32(99).uint64(0), InvalidGgufError, /has the type 99/],
    [
      'a key twice',
      header().uint64(0).uint64(2).text('k').uint32(4).uint32(1).text('k').uint32(4).uint32(2),
      InvalidGgufError,
      /the key "k" twice/,
    ],
    ['a long name', tensors(['x'.repeat(256), [1], 0, 0]), InvalidGgufError, /the name of a tensor is 256/],
    ['no dimension', tensors(['a', [], 0, 0]), InvalidGgufError, /0 dimensions/],
    ['many dimensions', tensors(['a', [1, 1, 1, 1, 1], 0, 0]), InvalidGgufError, /5 dimensions/],
    ['an empty tensor', tensors(['a', [0], 0, 0]), InvalidGgufError, /no whole number of F32 blocks/],
    ['a giant size', tensors(['a', [2n ** 63n], 0, 0]), InvalidGgufError, /./],
    ['sizes with a giant product', tensors(['a', [2n ** 32n, 2n ** 32n], 0, 0]), InvalidGgufError, /no whole number/],
    ['half a block', tensors(['a', [2, 16], 2, 0]), InvalidGgufError, /no whole number of Q4_0 blocks of 32/],
    [
      'an unknown format',
      tensors(['a', [32], 39, 0]),
      UnsupportedGgufError,
      /number format 39; read are F32, F16, Q4_0/,
    ],
    [
      'a format that has a name',
      tensors(['a', [256], 16, 0]),
      UnsupportedGgufError,
      /"a" is IQ2_XXS, number format 16/,
    ],
    ['a format without one', tensors(['a', [256], 99, 0]), UnsupportedGgufError, /"a" has the number format 99/],
    ['a tensor behind the end', tensors(['a', [4], 0, 128]), InvalidGgufError, /ends at byte/],
    ['a tensor far behind the end', tensors(['a', [4], 0, 2n ** 62n]), InvalidGgufError, /ends at byte/],
    ['a crooked offset', tensors(['a', [4], 0, 8]), InvalidGgufError, /no multiple of the alignment 32/],
    [
      'tensors that overlap',
      tensors(['a', [9], 0, 0], ['b', [4], 0, 32]),
      InvalidGgufError,
      /"b" overlap those of "a"/,
    ],
    ['a tensor twice', tensors(['a', [4], 0, 0], ['a', [4], 0, 32]), InvalidGgufError, /listed twice/],
    ['no alignment', aligned(alignment().uint32(4).uint32(0)), InvalidGgufError, /./],
    ['a crooked alignment', aligned(alignment().uint32(4).uint32(12)), InvalidGgufError, /a multiple of 8, not 12/],
    ['an alignment of text', aligned(alignment().uint32(8).text('32')), InvalidGgufError, /a number/],
    [
      'a part of a model',
      header().uint64(0).uint64(1).text('split.count').uint32(4).uint32(3),
      UnsupportedGgufError,
      /one of 3 parts/,
    ],
  ])('with %s is refused by name', async (_, bytes, error, message) => {
    const path = await fileOf(bytes.build());
    await expect(openGguf(path)).rejects.toThrow(error);
    await expect(openGguf(path)).rejects.toThrow(message);
  });

  it('with countless experts or layers is refused before anything is made for each', async () => {
    const whole = await readFile(goldenFile('mixtral'));
    for (const key of ['llama.expert_count', 'llama.block_count']) {
      const bytes = Buffer.from(whole);
      bytes.writeUInt32LE(2 ** 31, bytes.indexOf(key) + key.length + 4);
      await expect(CausalLM.load(await fileOf(bytes))).rejects.toThrow(InvalidGgufError);
    }
  });

  it('with a header of zeros behind large counts is refused, and not read as empty tensors', async () => {
    const zeros = new Uint8Array(4 << 20);
    await expect(openGguf(await fileOf(header().uint64(90_000).uint64(0).bytes(zeros).build()))).rejects.toThrow(
      /tensor "" has 0 dimensions/,
    );
  });
});

describe('a long header', () => {
  // The parser looks whether it has read enough before each value, and takes what it has of one that is longer.
  const seam = 2_000_000;
  const before = (key: string) => {
    const bytes = header().uint64(0).uint64(2);
    bytes.text('filler').uint32(ValueType.text).text('x'.repeat(1_400_000));
    return bytes.text(key);
  };

  it('keeps a text whole that lies across a seam of what the parser reads', async () => {
    const text = 'the whole text '.repeat(50_000);
    const file = await openGguf(await fileOf(before('text').uint32(ValueType.text).text(text).build()));
    expect(file.metadata.text('text') === text).toBe(true);
    await file.close();
  });

  it('keeps the last text of a list whole that lies across a seam', async () => {
    const bytes = before('list').uint32(ValueType.array).uint32(ValueType.text).uint64(2);
    const list = ['y'.repeat(seam - bytes.length - 120), 'the whole text '.repeat(20)];
    for (const text of list) bytes.text(text);
    const file = await openGguf(await fileOf(bytes.build()));
    expect(file.metadata.texts('list')!.map(({ length }) => length)).toEqual(list.map(({ length }) => length));
    expect(file.metadata.texts('list')![1]).toBe(list[1]);
    await file.close();
  });
});
