/** A stream of pseudo-random numbers; the same seed gives the same numbers on every machine. */
export interface RandomStream {
  /** Uniform in [0, 1), 32 bits. */
  next(): number;
  /** Uniform integer in [0, below). */
  integer(below: number): number;
}

/** xoshiro128** (Blackman & Vigna, arXiv 1805.01407), its state filled from the 32-bit seed by splitmix32. */
export function createRandom(seed: number): RandomStream {
  let mixer = seed >>> 0;
  const mix = (): number => {
    mixer = (mixer + 0x9e3779b9) >>> 0;
    let z = mixer;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
  let [s0, s1, s2, s3] = [mix(), mix(), mix(), mix()];
  const rotate = (x: number, by: number): number => (x << by) | (x >>> (32 - by));
  const next = (): number => {
    const output = Math.imul(rotate(Math.imul(s1, 5), 7), 9) >>> 0;
    const shifted = s1 << 9;
    s2 ^= s0;
    s3 ^= s1;
    s1 ^= s2;
    s0 ^= s3;
    s2 ^= shifted;
    s3 = rotate(s3, 11);
    return output / 2 ** 32;
  };
  return { next, integer: (below) => Math.floor(next() * below) };
}
