import { threefry2x32 } from '@posttrain/interfaces/random';

/**
 * The value of the `randomBits` primitive: element i is word i mod 2 of the block with counter (floor(i / 2), 0).
 * Every engine gives these numbers, bit for bit.
 */
export function threefryBits(key: ArrayLike<number>, size: number): Int32Array {
  const words = new Int32Array(size + (size & 1));
  for (let block = 0; block * 2 < size; block++) threefry2x32(key[0]!, key[1]!, block, 0, words, block * 2);
  return size & 1 ? words.slice(0, size) : words;
}
