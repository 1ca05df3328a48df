import { createRequire } from 'node:module';

/** An address in native memory, or a handle. */
export type Pointer = bigint;
export type Native = (...args: readonly unknown[]) => unknown;

/** The part of koffi that is used. */
export interface Koffi {
  load(path: string): { func(signature: string): Native };
  address(array: NodeJS.ArrayBufferView): Pointer;
}

/** Loaded by name when a step needs it, so that the others run without it. */
export const koffi = (): Koffi => createRequire(import.meta.url)('koffi') as Koffi;

/** Functions of a library by name, from their C signatures; the library is kept loaded with them. */
export function bindAll<Names extends string>(
  path: string,
  signatures: Readonly<Record<Names, string>>,
): Record<Names, Native> & { readonly library: unknown } {
  const library = koffi().load(path);
  const entries = Object.entries(signatures).map(([name, signature]) => [name, library.func(signature as string)]);
  return { library, ...Object.fromEntries(entries) } as Record<Names, Native> & { library: unknown };
}

/** Calls with one output after `args`, and gives it. */
export function output(call: Native, ...args: readonly unknown[]): Pointer {
  const out: unknown[] = [null];
  call(...args, out);
  return BigInt(out[0] as bigint | number);
}

/** float32 to the upper half of its bits, to nearest even: bfloat16. */
export function toBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, (x) => (x + 0x7fff + ((x >>> 16) & 1)) >>> 16);
}

const WORD = new Uint32Array(1);
const WORD_AS_FLOAT = new Float32Array(WORD.buffer);

export function fromBfloat16(bits: number): number {
  WORD[0] = bits << 16;
  return WORD_AS_FLOAT[0]!;
}

/** The largest error of entries of c [m, n] = a [m, k] · bᵀ, b [n, k], relative to the sum of the absolute products. */
export function largestError(
  c: Float32Array,
  { a, b, m, n, k }: { a: (i: number) => number; b: (i: number) => number; m: number; n: number; k: number },
): number {
  let worst = 0;
  for (let sample = 0; sample < 400; sample++) {
    // The corners first, then spread over the matrix by two primes.
    const row = sample < 4 ? (sample & 1) * (m - 1) : (sample * 7919) % m;
    const column = sample < 4 ? (sample >> 1) * (n - 1) : (sample * 104_729) % n;
    let [exact, size] = [0, 0];
    for (let i = 0; i < k; i++) {
      const product = a(row * k + i) * b(column * k + i);
      exact += product;
      size += Math.abs(product);
    }
    const error = Math.abs(c[row * n + column]! - exact) / Math.max(size, 1e-30);
    if (!(error <= worst)) worst = error;
  }
  return worst;
}
