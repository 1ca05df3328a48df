import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isPosttrainError } from '@posttrain/interfaces';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '../../src/index.js';
import type { TensorToWrite } from '../../src/io/index.js';
import {
  DTypeConversionError,
  InvalidHeaderError,
  InvalidOffsetsError,
  InvalidTensorError,
  MissingTensorError,
  openSafetensors,
  parseSafetensorsHeader,
  TruncatedFileError,
  UnsupportedDTypeError,
  writeSafetensors,
} from '../../src/io/index.js';

const goldens = join(import.meta.dirname, '../goldens/safetensors');
const expected = JSON.parse(readFileSync(join(goldens, 'expected.json'), 'utf8')) as Record<string, number[]>;
const bits = (data: ArrayBufferView) => [...new Uint32Array(data.buffer, data.byteOffset, data.byteLength / 4)];

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'safetensors-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A file with the given header object (or raw text) and data. */
function rawFile(header: unknown, data = new Uint8Array(0)): string {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  const path = join(folder, 'raw.safetensors');
  writeFileSync(path, Buffer.concat([prefix, text, data]));
  return path;
}

describe('reading what the reference implementation wrote', () => {
  it('gives every engine dtype bit for bit', async () => {
    const file = await openSafetensors(join(goldens, 'engine-dtypes.safetensors'));
    expect(file.metadata).toEqual({ format: 'pt' });
    expect(bits((await file.read('float32')).data)).toEqual(expected.float32_bits);
    expect(await file.read('int32')).toEqual({
      dtype: 'int32',
      shape: [1, 3],
      data: Int32Array.of(-2147483648, 2147483647, 0),
    });
    expect((await file.read('int8')).data).toEqual(Int8Array.of(-128, 127, 5));
    expect((await file.read('uint8')).data).toEqual(Uint8Array.of(0, 255));
    expect(await file.read('bool')).toEqual({ dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) });
    expect(await file.read('empty')).toEqual({ dtype: 'float32', shape: [0, 3], data: new Float32Array(0) });
    expect(await file.read('scalar')).toEqual({ dtype: 'float32', shape: [], data: Float32Array.of(2.5) });
    expect((await file.read('ünïcode "name"')).data).toEqual(Float32Array.of(1, 1));
    await file.close();
  });

  it('widens and rounds to float32 as torch does', async () => {
    const file = await openSafetensors(join(goldens, 'engine-dtypes.safetensors'));
    expect(bits((await file.read('float16', { as: 'float32' })).data)).toEqual(expected.float16_widened_bits);
    expect(bits((await file.read('bfloat16', { as: 'float32' })).data)).toEqual(expected.bfloat16_widened_bits);
    const float32 = (await file.read('float32')).data as Float32Array;
    const nan = float32.findIndex(Number.isNaN);
    const half = (await file.read('float16')).data as Uint16Array;
    const brain = (await file.read('bfloat16')).data as Uint16Array;
    const without = (data: Uint16Array) => [...data].filter((_, i) => i !== nan);
    expect(without(float32ToFloat16(float32))).toEqual(without(half));
    expect(without(float32ToBfloat16(float32))).toEqual(without(brain));
    expect(float16ToFloat32(float32ToFloat16(Float32Array.of(Number.NaN)))[0]).toBeNaN();
    expect(bfloat16ToFloat32(float32ToBfloat16(Float32Array.of(Number.NaN)))[0]).toBeNaN();
    await file.close();
  });

  it('converts F64 when asked and I64 when it fits, and refuses the rest by name', async () => {
    const file = await openSafetensors(join(goldens, 'other-dtypes.safetensors'));
    expect(bits((await file.read('float64', { as: 'float32' })).data)).toEqual(expected.float64_rounded_bits);
    expect(await file.read('int64')).toMatchObject({
      dtype: 'int32',
      data: Int32Array.of(-2147483648, 2147483647, 0, -1),
    });
    await expect(file.read('float64')).rejects.toThrow(UnsupportedDTypeError);
    await expect(file.read('int64-large')).rejects.toThrow(DTypeConversionError);
    await expect(file.read('int64-large')).rejects.toThrow(/2147483648/);
    await expect(file.read('int64-small')).rejects.toThrow(/-2147483649/);
    await expect(file.read('float8')).rejects.toThrow(/F8_E4M3.*Read it with \{ as: 'float32' \}/);
    await expect(file.read('int16')).rejects.toThrow(UnsupportedDTypeError);
    await expect(file.read('int64', { as: 'float32' })).rejects.toThrow(UnsupportedDTypeError);
    await file.close();
  });

  it('reads into the caller’s buffer, and only into one that fits', async () => {
    const file = await openSafetensors(join(goldens, 'engine-dtypes.safetensors'));
    const into = new Float32Array(expected.float32_bits!.length);
    expect((await file.read('bfloat16', { as: 'float32', into })).data).toBe(into);
    expect(bits(into)).toEqual(expected.bfloat16_widened_bits);
    await expect(file.read('float32', { into: new Float32Array(3) })).rejects.toThrow(InvalidTensorError);
    await expect(file.read('int32', { into: new Float32Array(3) })).rejects.toThrow(/Int32Array of 3/);
    await file.close();
  });

  it('converts in chunks without a seam', async () => {
    const path = join(folder, 'large.safetensors');
    const data = Uint16Array.from({ length: 1_300_001 }, (_, i) => i % 65536);
    await writeSafetensors(path, [{ name: 'x', dtype: 'bfloat16', shape: [data.length], data }]);
    const file = await openSafetensors(path);
    const { data: read } = await file.read('x', { as: 'float32' });
    expect(Buffer.compare(Buffer.from(read.buffer), Buffer.from(bfloat16ToFloat32(data).buffer))).toBe(0);
    // A part of it, across the seam, and what is no part.
    const part = await file.read('x', { as: 'float32', range: [524_280, 524_300] });
    expect(part.shape).toEqual([20]);
    expect(part.data).toEqual(read.slice(524_280, 524_300));
    expect((await file.read('x', { range: [7, 7] })).data).toHaveLength(0);
    for (const range of [
      [-1, 2],
      [2, 1],
      [0, data.length + 1],
      [0.5, 2],
    ] as const) {
      await expect(file.read('x', { range })).rejects.toThrow(/is not within its 1300001 elements/);
    }
    await file.close();
  });
});

describe('the shared goldens', () => {
  const shared = join(import.meta.dirname, '../../../../goldens/safetensors');
  type Golden = {
    metadata: Record<string, string> | null;
    tensors: Record<string, { dtype: string; shape: number[]; values: (number | string)[] }>;
  };
  const files = JSON.parse(readFileSync(join(shared, 'expected.json'), 'utf8')) as Record<string, Golden>;

  it.each(Object.keys(files))('%s', async (name) => {
    const { metadata, tensors } = files[name]!;
    const file = await openSafetensors(join(shared, name.endsWith('.safetensors') ? name : `${name}.safetensors`));
    expect(file.metadata).toEqual(metadata ?? {});
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(tensors).sort());
    for (const [tensor, { dtype, shape, values }] of Object.entries(tensors)) {
      expect(file.tensors.get(tensor)).toMatchObject({ dtype, shape });
      const readable = ['F32', 'F16', 'BF16', 'F64', 'I64', 'I32', 'I8', 'U8', 'BOOL'].includes(dtype);
      const as = ['F32', 'F16', 'BF16', 'F64'].includes(dtype) ? { as: 'float32' as const } : {};
      const numbers = values.map(Number);
      const fits = dtype !== 'I64' || numbers.every((value) => value === (value | 0));
      if (!readable || !fits) {
        await expect(file.read(tensor, as)).rejects.toThrow(fits ? UnsupportedDTypeError : DTypeConversionError);
      } else {
        const { data } = await file.read(tensor, as);
        expect([...data], `${tensor} ${dtype}`).toEqual(dtype === 'F64' ? numbers.map(Math.fround) : numbers);
      }
    }
    await file.close();
  });
});

describe('half precision', () => {
  it('widening then narrowing is the identity on every non-NaN pattern', () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const numbers = (wide: Float32Array, patterns: Uint16Array) =>
      [...patterns].filter((_, i) => !Number.isNaN(wide[i]));
    const half = float16ToFloat32(all);
    expect(numbers(half, float32ToFloat16(half))).toEqual(numbers(half, all));
    const brain = bfloat16ToFloat32(all);
    expect(numbers(brain, float32ToBfloat16(brain))).toEqual(numbers(brain, all));
  });

  it('narrowing picks a nearest neighbour', () => {
    fc.assert(
      fc.property(fc.float({ min: Math.fround(-65000), max: Math.fround(65000), noNaN: true }), (value) => {
        const code = float32ToFloat16(Float32Array.of(value))[0]!;
        const at = (pattern: number) => float16ToFloat32(Uint16Array.of(pattern))[0]!;
        const distance = Math.abs(at(code) - value);
        for (const neighbour of [code - 1, code + 1]) {
          if ((neighbour & 0x7fff) > 0x7c00 || neighbour < 0) continue;
          expect(distance).toBeLessThanOrEqual(Math.abs(at(neighbour) - value));
        }
      }),
    );
  });
});

describe('writing', () => {
  it('gives the reference implementation’s file byte for byte', async () => {
    const original = join(goldens, 'engine-dtypes.safetensors');
    const file = await openSafetensors(original);
    const tensors: TensorToWrite[] = [];
    for (const name of file.tensors.keys()) tensors.unshift({ name, ...(await file.read(name)) });
    await file.close();
    const path = join(folder, 'copy.safetensors');
    await writeSafetensors(path, tensors);
    expect(readFileSync(path).equals(readFileSync(original))).toBe(true);
  });

  it('round-trips any tensors', async () => {
    const tensor = fc
      .tuple(fc.constantFrom('float32' as const, 'int32' as const), fc.array(fc.nat(3), { maxLength: 3 }))
      .map(([dtype, shape]) => {
        const length = shape.reduce((a, b) => a * b, 1);
        const data = dtype === 'float32' ? new Float32Array(length).fill(1.5) : new Int32Array(length).fill(-7);
        return { dtype, shape, data };
      });
    const names = fc.dictionary(
      fc.string().filter((name) => name !== '__metadata__'),
      tensor,
    );
    await fc.assert(
      fc.asyncProperty(names, async (entries) => {
        const path = join(folder, 'any.safetensors');
        const tensors = Object.entries(entries).map(([name, value]) => ({ name, ...value }) as TensorToWrite);
        await writeSafetensors(path, tensors);
        const file = await openSafetensors(path);
        expect([...file.tensors.keys()].sort()).toEqual(Object.keys(entries).sort());
        for (const { name, dtype, shape, data } of tensors)
          expect(await file.read(name)).toEqual({ dtype, shape, data });
        await file.close();
      }),
      { numRuns: 40 },
    );
  });

  it('asks lazy data once, in its turn', async () => {
    const path = join(folder, 'lazy.safetensors');
    let calls = 0;
    await writeSafetensors(path, [
      { name: 'a', dtype: 'int8', shape: [2], data: async () => Int8Array.of(++calls, 2) },
    ]);
    const file = await openSafetensors(path);
    expect((await file.read('a')).data).toEqual(Int8Array.of(1, 2));
    await file.close();
  });

  it('takes a tensor in parts, as many numbers as its shape says', async () => {
    const path = join(folder, 'parts.safetensors');
    const parts = (...sizes: number[]) =>
      async function* () {
        let next = 0;
        for (const size of sizes) yield Float32Array.from({ length: size }, () => next++);
      };
    const one = { name: 'a', dtype: 'float32' as const, shape: [2, 3] };
    await writeSafetensors(path, [{ ...one, data: () => parts(4, 0, 2)() }]);
    const file = await openSafetensors(path);
    expect((await file.read('a')).data).toEqual(Float32Array.of(0, 1, 2, 3, 4, 5));
    await file.close();
    for (const sizes of [[4], [4, 3]]) {
      const wrong = writeSafetensors(join(folder, 'wrong.safetensors'), [{ ...one, data: () => parts(...sizes)() }]);
      await expect(wrong).rejects.toThrow(/the parts have [47] elements; shape \[2, 3\] has 6/);
    }
    expect(readdirSync(folder)).toEqual(['parts.safetensors']);
  });

  it('refuses data that does not fit, twice-given names and unknown options', async () => {
    const path = join(folder, 'bad.safetensors');
    const one = { name: 'a', dtype: 'float32' as const, shape: [1], data: Float32Array.of(1) };
    await expect(writeSafetensors(path, [one, one])).rejects.toThrow(/given twice/);
    await expect(writeSafetensors(path, [{ ...one, shape: [2] }])).rejects.toThrow(InvalidTensorError);
    await expect(writeSafetensors(path, [{ ...one, data: () => Int8Array.of(1) }])).rejects.toThrow(InvalidTensorError);
    await expect(writeSafetensors(path, [one], { metdata: {} } as object)).rejects.toThrow(/"metadata"/);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('leaves the old file and nothing else when the disk is full', async () => {
    const path = join(folder, 'model.safetensors');
    const tensor = { name: 'a', dtype: 'float32' as const, shape: [4], data: new Float32Array(4) };
    await writeSafetensors(path, [tensor]);
    const before = readFileSync(path);
    let writes = 0;
    const full = async () => {
      if (++writes === 2) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    };
    await expect(writeSafetensors(path, [{ ...tensor, name: 'b' }], {}, full)).rejects.toThrow(
      /model.safetensors: cannot be written \(ENOSPC\). The disk is full/,
    );
    expect(readdirSync(folder)).toEqual(['model.safetensors']);
    expect(readFileSync(path).equals(before)).toBe(true);
  });
});

describe('files that lie', () => {
  const entry = (begin: number, end: number, shape = [(end - begin) / 4], dtype = 'F32') => ({
    dtype,
    shape,
    data_offsets: [begin, end],
  });
  const cases: [string, unknown, number, new (...args: never[]) => Error, RegExp][] = [
    ['not JSON', '{"a": nope', 0, InvalidHeaderError, /not JSON/],
    ['not an object', '[1, 2]', 0, InvalidHeaderError, /not a JSON object/],
    ['leading space', ' {}', 0, InvalidHeaderError, /not a JSON object/],
    [
      'duplicate name',
      '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      0,
      InvalidHeaderError,
      /"a" twice/,
    ],
    ['metadata of numbers', { __metadata__: { a: 1 } }, 0, InvalidHeaderError, /__metadata__/],
    ['entry is null', { a: null }, 0, InvalidHeaderError, /not an object/],
    ['no dtype', { a: { shape: [], data_offsets: [0, 4] } }, 4, InvalidHeaderError, /no dtype/],
    ['negative size', { a: entry(0, 4, [-1]) }, 4, InvalidHeaderError, /shape/],
    ['fractional offset', { a: entry(0, 1.5, [1]) }, 4, InvalidHeaderError, /data_offsets/],
    ['three offsets', { a: { dtype: 'F32', shape: [1], data_offsets: [0, 4, 8] } }, 8, InvalidHeaderError, /pair/],
    ['unknown dtype', { a: entry(0, 4, [1], 'F33') }, 4, UnsupportedDTypeError, /"F33".*BF16/],
    ['inherited dtype name', { a: entry(0, 4, [1], 'toString') }, 4, UnsupportedDTypeError, /toString/],
    ['shape does not fit', { a: entry(0, 4, [2]) }, 4, InvalidOffsetsError, /needs 8 bytes.*span 4/],
    ['shape overflows', { a: entry(0, 4, [2 ** 40, 2 ** 40]) }, 4, InvalidOffsetsError, /impossible/],
    ['end before begin', { a: entry(4, 0, [1]) }, 4, InvalidOffsetsError, /span -4/],
    ['overlap', { a: entry(0, 8), b: entry(4, 12) }, 12, InvalidOffsetsError, /"b" overlap those of "a"/],
    ['alias', { a: entry(0, 8), b: entry(0, 8) }, 8, InvalidOffsetsError, /overlap/],
    ['hole', { a: entry(0, 4), b: entry(8, 12) }, 12, InvalidOffsetsError, /4 to 8.*no tensor/],
    ['hole at the start', { a: entry(4, 8) }, 8, InvalidOffsetsError, /0 to 4/],
    ['trailing bytes', { a: entry(0, 4) }, 9, InvalidOffsetsError, /5 bytes after/],
    ['data cut off', { a: entry(0, 4), b: entry(4, 12) }, 11, TruncatedFileError, /fetch it again/],
  ];
  it.each(cases)('%s', async (_, header, dataBytes, errorClass, message) => {
    const opening = openSafetensors(rawFile(header, new Uint8Array(dataBytes)));
    await expect(opening).rejects.toThrow(errorClass);
    await expect(opening).rejects.toThrow(message);
  });

  it('absurd, too long and missing header lengths', async () => {
    const path = join(folder, 'length.safetensors');
    writeFileSync(path, Buffer.alloc(16, 0xff));
    await expect(openSafetensors(path)).rejects.toThrow(/more than the 100000000/);
    writeFileSync(path, Buffer.from([100, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d]));
    await expect(openSafetensors(path)).rejects.toThrow(TruncatedFileError);
    writeFileSync(path, Buffer.alloc(5));
    await expect(openSafetensors(path)).rejects.toThrow(TruncatedFileError);
    await expect(openSafetensors(join(folder, 'none.safetensors'))).rejects.toThrow(/ENOENT/);
  });

  it('a file cut short while it is open', async () => {
    const path = join(folder, 'cut.safetensors');
    await writeSafetensors(path, [{ name: 'a', dtype: 'float32', shape: [4], data: new Float32Array(4) }]);
    const file = await openSafetensors(path);
    truncateSync(path, 80);
    await expect(file.read('a')).rejects.toThrow(TruncatedFileError);
    await file.close();
  });

  it('names the nearest tensor when one is missing', async () => {
    const path = join(folder, 'names.safetensors');
    await writeSafetensors(path, [{ name: 'model.norm.weight', dtype: 'int8', shape: [0], data: new Int8Array(0) }]);
    const file = await openSafetensors(path);
    await expect(file.read('model.norm.wieght')).rejects.toThrow(MissingTensorError);
    await expect(file.read('model.norm.wieght')).rejects.toThrow(/Nearest name: "model.norm.weight"/);
    await expect(file.read('norm.weight')).rejects.toThrow(/Nearest name: "model.norm.weight"/);
    await file.close();
  });

  it('any bytes as a header: parsed and consistent, or an error of ours', () => {
    const anEntry = fc.record(
      {
        dtype: fc.constantFrom('F32', 'U8', 'F4', 'F99', 3),
        shape: fc.oneof(fc.array(fc.integer({ min: -1, max: 4 }), { maxLength: 3 }), fc.constant('x')),
        data_offsets: fc.array(fc.integer({ min: -1, max: 40 }), { maxLength: 3 }),
      },
      { requiredKeys: [] },
    );
    const plausible = fc.dictionary(fc.constantFrom('a', 'b', 'c', '__metadata__', '__proto__'), anEntry);
    const header = fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => Buffer.from(text)),
      plausible.map((object) => Buffer.from(JSON.stringify(object))),
    );
    fc.assert(
      fc.property(header, fc.nat(40), (bytes, dataBytes) => {
        try {
          const { tensors } = parseSafetensorsHeader(bytes, dataBytes, 'fuzz');
          const covered = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
          expect(covered).toBe(dataBytes);
        } catch (error) {
          if (!isPosttrainError(error)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });
});
