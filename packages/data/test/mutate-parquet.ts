import { seededRandom } from '../../../testing/mutate.js';
import { isStruct, ThriftReader, type ThriftStruct, type ThriftValue } from '../src/io/parquet/thrift.js';

const HOSTILE = [0, 1, 2, 7, 100, 127, 128, 255, 65_535, 2 ** 26, 2 ** 31 - 1, 2 ** 31, 2 ** 40, 2 ** 53 - 1, -1];

/**
 * A Parquet file with one or two numbers of its footer, or of a page header, replaced: what random bytes seldom reach, for they
 * break the encoding of the numbers first. `index` chooses which.
 */
export function mutateParquet(file: Uint8Array, seed: number, index: number): Uint8Array {
  const random = seededRandom(seed, index);
  const below = (n: number) => Math.floor(random() * n);
  const buffer = Buffer.from(file);
  const footer = file.length - 8 - buffer.readUInt32LE(file.length - 8);
  const metadata = new ThriftReader(file.subarray(footer, file.length - 8)).struct();
  if (random() < 0.6) {
    for (let times = 1 + below(2); times > 0; times--) change(metadata);
    return close(buffer.subarray(0, footer), metadata);
  }
  // A page header grows or shrinks, so that what lies behind it moves: then only headers that keep their length are put in.
  const pages = pageOffsets(metadata);
  for (let attempt = 0; attempt < 50; attempt++) {
    const offset = pages[below(pages.length)]!;
    const reader = new ThriftReader(file, offset);
    const header = reader.struct();
    change(header);
    const bytes = Uint8Array.from(writeStruct(header));
    if (bytes.length === reader.offset - offset) buffer.set(bytes, offset);
  }
  return Uint8Array.from(buffer);

  function change(struct: ThriftStruct): void {
    const numbers: { readonly holder: Map<number, ThriftValue>; readonly id: number }[] = [];
    const visit = (value: ThriftValue): void => {
      if (Array.isArray(value)) for (const item of value) visit(item);
      if (!isStruct(value)) return;
      for (const [id, field] of value) {
        if (typeof field === 'number') numbers.push({ holder: value as Map<number, ThriftValue>, id });
        else visit(field);
      }
    };
    visit(struct);
    const { holder, id } = numbers[below(numbers.length)]!;
    const before = holder.get(id) as number;
    const near = [before - 1, before + 1, before * 2, before + 2 ** 20];
    holder.set(id, random() < 0.4 ? near[below(near.length)]! : HOSTILE[below(HOSTILE.length)]!);
  }
}

function pageOffsets(metadata: ThriftStruct): number[] {
  const groups = metadata.get(4) as readonly ThriftStruct[];
  const chunks = groups.flatMap((group) => group.get(1) as readonly ThriftStruct[]);
  return chunks.flatMap((chunk) => {
    const column = chunk.get(3) as ThriftStruct;
    return [column.get(9), column.get(11)].filter(
      (offset): offset is number => typeof offset === 'number' && offset > 0,
    );
  });
}

function close(pages: Uint8Array, metadata: ThriftStruct): Uint8Array {
  const bytes = writeStruct(metadata);
  const tail = Buffer.alloc(8);
  tail.writeUInt32LE(bytes.length);
  tail.write('PAR1', 4);
  return Uint8Array.from([...pages, ...bytes, ...tail]);
}

/** The compact protocol, every integer as one of 64 bits. */
function writeStruct(struct: ThriftStruct): number[] {
  const out: number[] = [];
  let before = 0;
  for (const [id, value] of struct) {
    out.push(((id - before) << 4) | typeOf(value), ...(typeof value === 'boolean' ? [] : writeValue(value)));
    before = id;
  }
  return [...out, 0];
}

function typeOf(value: ThriftValue): number {
  if (typeof value === 'boolean') return value ? 1 : 2;
  if (typeof value === 'number' || typeof value === 'bigint') return 6;
  if (value instanceof Uint8Array) return 8;
  return isStruct(value) ? 12 : 9;
}

function writeValue(value: ThriftValue): number[] {
  if (typeof value === 'boolean') return [value ? 1 : 2];
  if (typeof value === 'number' || typeof value === 'bigint') {
    const big = BigInt(value);
    return varint(BigInt.asUintN(64, (big << 1n) ^ (big >> 63n)));
  }
  if (value instanceof Uint8Array) return [...varint(BigInt(value.length)), ...value];
  if (isStruct(value)) return writeStruct(value);
  const items = value as readonly ThriftValue[];
  const type = items.length === 0 ? 6 : typeOf(items[0]!);
  return [0xf0 | type, ...varint(BigInt(items.length)), ...items.flatMap(writeValue)];
}

function varint(value: bigint): number[] {
  const out: number[] = [];
  for (; value > 127n; value >>= 7n) out.push(Number(value & 127n) | 128);
  return [...out, Number(value)];
}
