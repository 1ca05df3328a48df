import { damaged } from './problem.js';

/** A value of Thrift's compact protocol. 64-bit integers that are no safe integers stay bigints. */
export type ThriftValue = boolean | number | bigint | Uint8Array | readonly ThriftValue[] | ThriftStruct;

/** Field number to value. */
export type ThriftStruct = ReadonlyMap<number, ThriftValue>;

const MAX_DEPTH = 16;

/**
 * Reads structs of Thrift's compact protocol, which Parquet's footer and page headers are. Every length is checked against
 * what is left of the bytes before anything is made of it, and structs may lie 16 deep.
 */
export class ThriftReader {
  offset: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, offset = 0) {
    this.#bytes = bytes;
    this.offset = offset;
  }

  struct(depth = 0): ThriftStruct {
    if (depth > MAX_DEPTH) throw damaged('the metadata is nested too deeply');
    const fields = new Map<number, ThriftValue>();
    let id = 0;
    for (;;) {
      const head = this.#byte();
      if (head === 0) return fields;
      const step = head >> 4;
      id = step === 0 ? Number(this.#zigzag()) : id + step;
      fields.set(id, this.#value(head & 15, depth, false));
    }
  }

  #value(type: number, depth: number, inList: boolean): ThriftValue {
    switch (type) {
      case 1:
      case 2:
        return inList ? this.#byte() === 1 : type === 1;
      case 3:
        return (this.#byte() << 24) >> 24;
      case 4:
      case 5:
      case 6: {
        const value = this.#zigzag();
        const number = Number(value);
        return Number.isSafeInteger(number) ? number : value;
      }
      case 7:
        return this.#take(8);
      case 8:
        return this.#take(this.#varint());
      case 9:
      case 10: {
        const head = this.#byte();
        const count = head >> 4 === 15 ? this.#varint() : head >> 4;
        if (count > this.#bytes.length - this.offset) throw damaged('a list of the metadata is longer than the file');
        const items: ThriftValue[] = [];
        for (let i = 0; i < count; i++) items.push(this.#value(head & 15, depth + 1, true));
        return items;
      }
      case 12:
        return this.struct(depth + 1);
      default:
        throw damaged(`the metadata has a field of the unknown type ${type}`);
    }
  }

  #byte(): number {
    const value = this.#bytes[this.offset++];
    if (value === undefined) throw damaged('the metadata ends too early');
    return value;
  }

  #take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.offset) throw damaged('a text of the metadata is longer than the file');
    this.offset += length;
    return this.#bytes.subarray(this.offset - length, this.offset);
  }

  #varint(): number {
    const value = this.#varBigInt();
    if (value > 0x7fffffffn) throw damaged('a length in the metadata is too large');
    return Number(value);
  }

  #zigzag(): bigint {
    const value = this.#varBigInt();
    return (value >> 1n) ^ -(value & 1n);
  }

  #varBigInt(): bigint {
    // Up to 28 bits fit into a number; longer ones are rare.
    let low = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte();
      low |= (byte & 127) << shift;
      if (byte < 128) return BigInt(low);
    }
    let value = BigInt(low);
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asUintN(64, value);
    }
    throw damaged('a number in the metadata does not end');
  }
}

/** The integer in a field; `fallback` where the field is absent. Anything else there, or a negative one, is damage. */
export function count(struct: ThriftStruct, id: number, what: string, fallback?: number): number {
  const value = struct.get(id) ?? fallback;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw damaged(`${what} is ${value === undefined ? 'missing' : 'impossible'}`);
}

export function text(value: ThriftValue | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (!(value instanceof Uint8Array)) throw damaged('a name in the metadata is no text');
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value);
  } catch {
    throw damaged('a name in the metadata is not UTF-8');
  }
}

export function isStruct(value: ThriftValue | undefined): value is ThriftStruct {
  return value instanceof Map;
}

export function structs(value: ThriftValue | undefined, what: string): readonly ThriftStruct[] {
  if (Array.isArray(value) && value.every(isStruct)) return value as readonly ThriftStruct[];
  throw damaged(`${what} is no list`);
}
