/** Which numbers are among the k largest: those above `threshold`, and of those equal to it the first `equal`. */
export interface Largest {
  readonly threshold: number;
  readonly equal: number;
}

/**
 * The k largest of float32 numbers that are not negative, exactly, without holding or sorting them: their bits grow with
 * them, so that two counts of half of the bits find the k-th.
 *
 * @param values gives all of them again at each call, in parts
 */
export async function largest(values: () => AsyncIterable<Float32Array>, k: number): Promise<Largest> {
  if (k <= 0) return { threshold: Number.POSITIVE_INFINITY, equal: 0 };
  let [left, prefix] = [k, 0];
  for (const shift of [16, 0]) {
    const counts = new Float64Array(2 ** 16);
    for await (const part of values()) {
      const words = new Uint32Array(part.buffer, part.byteOffset, part.length);
      for (const word of words) if (shift === 16 || word >>> 16 === prefix) counts[(word >>> shift) & 0xffff]! += 1;
    }
    let digit = 0xffff;
    while (digit > 0 && counts[digit]! < left) left -= counts[digit--]!;
    prefix = shift === 16 ? digit : (prefix << 16) | digit;
  }
  return { threshold: new Float32Array(Uint32Array.of(prefix).buffer)[0]!, equal: left };
}

/** Says of the numbers, one after another from the first, whether each is among the k largest. */
export function among({ threshold, equal }: Largest): (value: number) => boolean {
  let left = equal;
  return (value) => value > threshold || (value === threshold && left-- > 0);
}
