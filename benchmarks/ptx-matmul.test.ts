import { describe, expect, it } from 'vitest';
import { fromBfloat16, largestError, toBfloat16 } from './gpu/native.js';
import { emulateBlock } from './gpu/ptx-emulator.js';
import { ptxMatmul } from './gpu/ptx-matmul.js';

const [m, n] = [128, 256];

function factors(k: number) {
  const numbers = (size: number) => toBfloat16(Float32Array.from({ length: size }, () => Math.random() - 0.5));
  return { a: numbers(m * k), b: numbers(n * k), c: new Float32Array(m * n) };
}

describe('the PTX product, run by an emulator of the instructions it uses', () => {
  for (const late of [false, true]) {
    for (const k of [64, 160]) {
      it(`multiplies, k = ${k}, copies that arrive ${late ? 'as late' : 'as early'} as they may`, () => {
        const memory = factors(k);
        const ptx = ptxMatmul();
        for (const column of [0, 1]) emulateBlock(ptx, memory, { n, k, block: [column, 0], late });
        const entry = (bits: Uint16Array) => (i: number) => fromBfloat16(bits[i]!);
        const error = largestError(memory.c, { a: entry(memory.a), b: entry(memory.b), m, n, k });
        expect(error).toBeLessThan(1e-6);
      });
    }
  }

  it('would notice a wrong chunk', () => {
    const memory = factors(64);
    emulateBlock(ptxMatmul().replace('xor.b32', 'and.b32'), memory, { n, k: 64, block: [0, 0], late: false });
    const entry = (bits: Uint16Array) => (i: number) => fromBfloat16(bits[i]!);
    const first = { a: entry(memory.a), b: entry(memory.b), m, n, k: 64 };
    expect(largestError(memory.c, first)).toBeGreaterThan(1e-3);
  });
});

it('rounds to bfloat16 to nearest even', () => {
  const bits = toBfloat16(Float32Array.of(1, -2.5, 1 + 2 ** -8, 1 + 3 * 2 ** -8));
  expect(Array.from(bits, fromBfloat16)).toEqual([1, -2.5, 1, 1 + 2 ** -6]);
});
