import { mt19937 } from '@posttrain/interfaces/random';

/**
 * The first `count` entries of `torch.randperm(size)` with a generator of its own on the CPU and this seed: a shuffle by
 * the Mersenne Twister, of which only the places are kept that moved. What PEFT draws so is not in its files.
 */
export function torchPermutation(size: number, seed: number, count: number): Int32Array {
  const next = mt19937(seed);
  const moved = new Map<number, number>();
  return Int32Array.from({ length: count }, (_, i) => {
    const other = i + (next() % (size - i));
    const drawn = moved.get(other) ?? other;
    moved.set(other, moved.get(i) ?? i);
    return drawn;
  });
}
