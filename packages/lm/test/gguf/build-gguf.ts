/** Bytes of a GGUF file, field by field, so that a test can write what no writer would. */
export class GgufBytes {
  readonly #chunks: Uint8Array[] = [];

  uint32(value: number): this {
    return this.#push(new Uint8Array(Uint32Array.of(value).buffer));
  }

  uint64(value: bigint | number): this {
    return this.#push(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  float32(value: number): this {
    return this.#push(new Uint8Array(Float32Array.of(value).buffer));
  }

  text(text: string): this {
    const bytes = new TextEncoder().encode(text);
    return this.uint64(bytes.length).bytes(bytes);
  }

  bytes(bytes: Uint8Array): this {
    return this.#push(bytes);
  }

  magic(version = 3): this {
    return this.bytes(new TextEncoder().encode('GGUF')).uint32(version);
  }

  /** `shape` is row-major. */
  tensor(name: string, shape: readonly (number | bigint)[], type: number, offset: bigint | number): this {
    this.text(name).uint32(shape.length);
    for (const size of [...shape].reverse()) this.uint64(size);
    return this.uint32(type).uint64(offset);
  }

  /** Zeros up to a multiple of `alignment`. */
  pad(alignment = 32): this {
    const missing = (alignment - (this.length % alignment)) % alignment;
    return this.bytes(new Uint8Array(missing));
  }

  get length(): number {
    return this.#chunks.reduce((sum, { length }) => sum + length, 0);
  }

  build(): Uint8Array {
    return Buffer.concat(this.#chunks);
  }

  #push(bytes: Uint8Array): this {
    this.#chunks.push(bytes);
    return this;
  }
}

export const ValueType = { uint32: 4, float32: 6, text: 8, array: 9, uint64: 10 } as const;

/** A file with every kind of metadata and three tensors: [2, 4] F32, [32] Q4_0 and [3] F16. */
export function smallGguf(): Uint8Array {
  return new GgufBytes()
    .magic()
    .uint64(3)
    .uint64(4)
    .text('general.alignment')
    .uint32(ValueType.uint32)
    .uint32(32)
    .text('texts')
    .uint32(ValueType.array)
    .uint32(ValueType.text)
    .uint64(2)
    .text('one')
    .text('two')
    .text('numbers')
    .uint32(ValueType.array)
    .uint32(ValueType.float32)
    .uint64(2)
    .float32(1)
    .float32(2)
    .text('name')
    .uint32(ValueType.text)
    .text('small')
    .tensor('a', [2, 4], 0, 0)
    .tensor('b', [32], 2, 32)
    .tensor('c', [3], 1, 64)
    .pad()
    .bytes(new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8).buffer))
    .bytes(Uint8Array.of(0, 60, ...new Array(16).fill(0x98)))
    .pad()
    .bytes(Uint8Array.of(0, 60, 0, 64, 0, 66))
    .build();
}
