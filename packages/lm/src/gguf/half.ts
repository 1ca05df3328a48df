import { float16ToFloat32 } from '@posttrain/core-tensor';

let numbers: Float32Array | undefined;

/** The number of two little-endian bytes of IEEE float16. */
export function float16At(bytes: Uint8Array, at: number): number {
  numbers ??= float16ToFloat32(Uint16Array.from({ length: 65536 }, (_, bits) => bits));
  return numbers[bytes[at]! | (bytes[at + 1]! << 8)]!;
}
