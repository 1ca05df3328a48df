import { float16ToFloat32, float32ToFloat16 } from '@posttrain/core-tensor';

let numbers: Float32Array | undefined;

/** The number of two little-endian bytes of IEEE float16. */
export function float16At(bytes: Uint8Array, at: number): number {
  numbers ??= float16ToFloat32(Uint16Array.from({ length: 65536 }, (_, bits) => bits));
  return numbers[bytes[at]! | (bytes[at + 1]! << 8)]!;
}

const [one, bits] = [new Float32Array(1), new Uint16Array(1)];

/** Writes a number as two little-endian bytes of IEEE float16. */
export function toFloat16(value: number, bytes: Uint8Array, at: number): void {
  one[0] = value;
  float32ToFloat16(one, bits);
  bytes[at] = bits[0]!;
  bytes[at + 1] = bits[0]! >> 8;
}
