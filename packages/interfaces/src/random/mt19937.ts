const N = 624;
const M = 397;

/**
 * Mersenne Twister MT19937 (Matsumoto and Nishimura 1998): 32-bit draws as NumPy's `RandomState(seed)`, C++'s `std::mt19937` and PyTorch's
 * generator make them of one 32-bit number, and CPython's `random` of a list of them (`init_by_array`). Only for what must agree with those;
 * everything else draws from `createRandom`.
 */
export function mt19937(seed: number | readonly number[]): () => number {
  const state = typeof seed === 'number' ? stateOf(seed) : stateOfKey(seed);
  let at = N;
  const twist = (): void => {
    for (let i = 0; i < N; i++) {
      const y = (state[i]! & 0x80000000) | (state[(i + 1) % N]! & 0x7fffffff);
      state[i] = state[(i + M) % N]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    at = 0;
  };
  return () => {
    if (at === N) twist();
    let y = state[at++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return y >>> 0;
  };
}

function stateOf(seed: number): Uint32Array {
  const state = new Uint32Array(N);
  state[0] = seed % 2 ** 32;
  for (let i = 1; i < N; i++) {
    const previous = state[i - 1]! ^ (state[i - 1]! >>> 30);
    state[i] = Math.imul(1812433253, previous) + i;
  }
  return state;
}

/** `init_by_array` of the authors' code. */
function stateOfKey(key: readonly number[]): Uint32Array {
  const state = stateOf(19650218);
  const mixed = (i: number, by: number) => state[i]! ^ Math.imul(state[i - 1]! ^ (state[i - 1]! >>> 30), by);
  let i = 1;
  const next = () => {
    i++;
    if (i < N) return;
    state[0] = state[N - 1]!;
    i = 1;
  };
  for (let k = 0; k < Math.max(N, key.length); k++) {
    const j = k % key.length;
    state[i] = mixed(i, 1664525) + key[j]! + j;
    next();
  }
  for (let k = 0; k < N - 1; k++) {
    state[i] = mixed(i, 1566083941) - i;
    next();
  }
  state[0] = 0x80000000;
  return state;
}
