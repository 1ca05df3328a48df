/** The smallest 2ⁿ, for n ≥ 0, that is at least `value`. */
export const roundUpToPowerOfTwo = (value: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, value)));

export const roundUpToPowerOfFour = (value: number): number => 4 ** Math.ceil(Math.log2(Math.max(1, value)) / 2);

/**
 * The next of step · {1, 1.5, 2, 3, 4, 6, 8, …}. Every size is traced and compiled for itself, so there should be few,
 * and little padding.
 */
export function roundUpToSize(value: number, step: number): number {
  const octave = step * 2 ** Math.max(0, Math.floor(Math.log2(value / step)));
  return [octave, 1.5 * octave, 2 * octave].find((size) => size >= value)!;
}
