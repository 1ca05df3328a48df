/** Opcodes of WebAssembly (core specification, §5.4) that the loop below is made of. */
const OP = {
  block: 0x02,
  loop: 0x03,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  get: 0x20,
  set: 0x21,
  tee: 0x22,
  load: 0x29,
  store: 0x37,
  i32: 0x41,
  i64: 0x42,
  i32GeU: 0x4f,
  i64LtU: 0x54,
  i64GeU: 0x5a,
  i32Add: 0x6a,
  i64Add: 0x7c,
  i64Sub: 0x7d,
  i64Mul: 0x7e,
  i64And: 0x83,
  i64ShrU: 0x88,
  select: 0x1b,
} as const;
const [I32, I64, EMPTY] = [0x7f, 0x7e, 0x40];

/** Signed LEB128. */
function signed(value: bigint): number[] {
  const bytes: number[] = [];
  for (let left = value; ; ) {
    const byte = Number(left & 127n);
    left >>= 7n;
    if ((left === 0n && byte < 64) || (left === -1n && byte >= 64)) return [...bytes, byte];
    bytes.push(byte | 128);
  }
}

function unsigned(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)];
}

const section = (id: number, ...content: number[]): number[] => [id, ...unsigned(content.length), ...content];
const named = (name: string): number[] => [name.length, ...Buffer.from(name)];

/**
 * `minima(x, xEnd, ab, abEnd, out, mask)`, all addresses but the mask: of each pair (a, b) the least `((a·x + b mod 2^64) mod (2^61 − 1)) & mask`
 * over the 64-bit numbers x in `[x, xEnd)`, 8 bytes to `out` each. JavaScript has no 64-bit multiplication but that of BigInt, which allocates.
 */
function moduleBytes(): Uint8Array {
  const [x, xEnd, ab, abEnd, out, mask, at, a, b, best, value] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] as const;
  const prime = signed(2n ** 61n - 1n);
  const code = [
    ...[2, 1, I32, 4, I64],
    ...[OP.block, EMPTY, OP.loop, EMPTY],
    ...[OP.get, ab, OP.get, abEnd, OP.i32GeU, OP.brIf, 1],
    ...[OP.get, ab, OP.load, 3, 0, OP.set, a, OP.get, ab, OP.load, 3, 8, OP.set, b],
    ...[OP.i64, ...signed(-1n), OP.set, best, OP.get, x, OP.set, at],
    ...[OP.block, EMPTY, OP.loop, EMPTY],
    ...[OP.get, at, OP.get, xEnd, OP.i32GeU, OP.brIf, 1],
    // value = a · x + b
    ...[OP.get, at, OP.load, 3, 0, OP.get, a, OP.i64Mul, OP.get, b, OP.i64Add, OP.set, value],
    // 2^61 ≡ 1: the top three bits are added to the rest.
    ...[OP.get, value, OP.i64, ...prime, OP.i64And, OP.get, value, OP.i64, 61, OP.i64ShrU, OP.i64Add, OP.set, value],
    ...[OP.get, value, OP.i64, ...prime, OP.i64Sub, OP.get, value],
    ...[OP.get, value, OP.i64, ...prime, OP.i64GeU, OP.select, OP.get, mask, OP.i64And, OP.tee, value],
    ...[OP.get, best, OP.get, value, OP.get, best, OP.i64LtU, OP.select, OP.set, best],
    ...[OP.get, at, OP.i32, 8, OP.i32Add, OP.set, at, OP.br, 0, OP.end, OP.end],
    ...[OP.get, out, OP.get, best, OP.store, 3, 0, OP.get, out, OP.i32, 8, OP.i32Add, OP.set, out],
    ...[OP.get, ab, OP.i32, 16, OP.i32Add, OP.set, ab, OP.br, 0, OP.end, OP.end, OP.end],
  ];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, 1, 0x60, 6, I32, I32, I32, I32, I32, I64, 0),
    ...section(3, 1, 0),
    ...section(5, 1, 0, 1),
    ...section(7, 2, ...named('minima'), 0, 0, ...named('memory'), 2, 0),
    ...section(10, 1, ...unsigned(code.length), ...code),
  ]);
}

/** What the module exports. */
export interface Minima {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  minima(x: number, xEnd: number, ab: number, abEnd: number, out: number, mask: bigint): void;
}

/** What is used of `WebAssembly`, which the types of Node.js do not have. */
const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: {
    readonly Module: new (bytes: Uint8Array) => object;
    readonly Instance: new (module: object) => { readonly exports: unknown };
  };
};

let compiled: object | undefined;

/** The module, with a memory of its own. */
export function newMinima(): Minima {
  compiled ??= new WebAssembly.Module(moduleBytes());
  return new WebAssembly.Instance(compiled).exports as Minima;
}
