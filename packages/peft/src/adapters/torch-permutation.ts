/**
 * The first `count` entries of `torch.randperm(size)` with a generator of its own on the CPU and this seed: a shuffle by
 * the Mersenne Twister, of which only the places are kept that moved. What PEFT draws so is not in its files.
 */
export function torchPermutation(size: number, seed: number, count: number): Int32Array {
  const next = mersenneTwister(seed);
  const moved = new Map<number, number>();
  return Int32Array.from({ length: count }, (_, i) => {
    const other = i + (next() % (size - i));
    const drawn = moved.get(other) ?? other;
    moved.set(other, moved.get(i) ?? i);
    return drawn;
  });
}

const [STATE, MIDDLE] = [624, 397];

/** MT19937, 32 bits at a time; of the seed its low 32 bits count, as in torch. */
function mersenneTwister(seed: number): () => number {
  const state = new Uint32Array(STATE);
  state[0] = seed % 2 ** 32;
  for (let i = 1; i < STATE; i++) {
    const previous = state[i - 1]!;
    state[i] = Math.imul(1_812_433_253, previous ^ (previous >>> 30)) + i;
  }
  const refill = () => {
    for (let k = 0; k < STATE; k++) {
      const y = (state[k]! & 0x80000000) | (state[(k + 1) % STATE]! & 0x7fffffff);
      state[k] = state[(k + MIDDLE) % STATE]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
  };
  let at = STATE;
  return () => {
    if (at === STATE) {
      refill();
      at = 0;
    }
    let y = state[at++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}
