import type { Cut } from './candidates.js';

/** The upper bits of a float32 in [0, 1]: sign, exponent and 7 bits of the fraction. They order as the numbers do. */
const BINS = 0x3f80 + 1;
const counts = new Int32Array(BINS);
const sums = new Float64Array(BINS);
let border = new Float32Array(1024);

/**
 * Where to cut a falling order without sorting it: a histogram of the numbers' upper bits finds the bin of the cut, and
 * only that bin is sorted.
 *
 * @param keys what the order is by, in [0, 1]
 * @param weights what is summed, one per key
 * @param until `count`: the cut is the key of this rank, with all its equals; `mass`: the first where the sum of weights,
 *   among equals in their own order, reaches this
 */
export function radixCut(
  keys: Float32Array,
  weights: Float32Array,
  size: number,
  until: { readonly count: number } | { readonly mass: number },
): Cut {
  const bits = new Uint32Array(keys.buffer, keys.byteOffset, keys.length);
  const isCount = 'count' in until;
  counts.fill(0);
  if (isCount) {
    for (let i = 0; i < size; i++) counts[bits[i]! >>> 16]!++;
  } else {
    sums.fill(0);
    for (let i = 0; i < size; i++) {
      const bin = bits[i]! >>> 16;
      counts[bin]!++;
      sums[bin]! += weights[i]!;
    }
  }
  let bin = BINS - 1;
  let above = 0;
  for (; bin > 0; bin--) {
    const here = isCount ? counts[bin]! : sums[bin]!;
    if (counts[bin]! > 0 && above + here >= (isCount ? until.count : until.mass)) break;
    above += here;
  }
  if (isCount) {
    const values = gather(keys, bits, size, bin, counts[bin]!).sort();
    const least = values[Math.max(0, values.length - (until.count - above))] ?? 0;
    return { least, equals: Infinity };
  }
  return cutInBin(keys, weights, bits, size, bin, until.mass - above);
}

/** The keys of one bin. */
function gather(keys: Float32Array, bits: Uint32Array, size: number, bin: number, count: number): Float32Array {
  if (border.length < count) border = new Float32Array(2 * count);
  let found = 0;
  for (let i = 0; i < size; i++) if (bits[i]! >>> 16 === bin) border[found++] = keys[i]!;
  return border.subarray(0, found);
}

function cutInBin(
  keys: Float32Array,
  weights: Float32Array,
  bits: Uint32Array,
  size: number,
  bin: number,
  mass: number,
): Cut {
  const members: number[] = [];
  for (let i = 0; i < size; i++) if (bits[i]! >>> 16 === bin) members.push(i);
  members.sort((a, b) => keys[b]! - keys[a]! || a - b);
  let sum = 0;
  let equals = 0;
  let least = 0;
  for (const member of members) {
    equals = keys[member] === least ? equals + 1 : 1;
    least = keys[member]!;
    sum += weights[member]!;
    if (sum >= mass) break;
  }
  return { least, equals };
}
