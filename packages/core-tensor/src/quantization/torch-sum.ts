/** Lanes of the vectors and number of accumulators of torch's sum on x86 processors. */
const LANES = 8;
const ACCUMULATORS = 4;
const LEVELS = 4;

/**
 * The sum of float32 numbers, rounded as torch's `sum` of a contiguous vector rounds on an x86 processor with one
 * thread: 32 running sums side by side, each cascading through four levels. The mean of the scales of a quantised weight
 * is such a sum, and its last bit is in bitsandbytes' files.
 */
export function torchSum(values: Float32Array): number {
  const lanes = values.length < LANES ? 1 : LANES;
  const vectors = Math.floor(values.length / lanes);
  const partial = cascade(values, vectors, lanes);
  // With vectors, what is left over is summed first and the lanes are added to it.
  if (lanes === 1) return partial[0]!;
  let sum = 0;
  for (let i = vectors * lanes; i < values.length; i++) sum = Math.fround(sum + values[i]!);
  for (const lane of partial) sum = Math.fround(sum + lane);
  return sum;
}

/** Sums `vectors` vectors of `lanes` numbers, lane by lane. */
function cascade(values: Float32Array, vectors: number, lanes: number): Float32Array {
  const width = ACCUMULATORS * lanes;
  const rows = Math.floor(vectors / ACCUMULATORS);
  const power = Math.max(4, Math.floor(Math.ceil(Math.log2(Math.max(1, rows))) / LEVELS));
  const step = 2 ** power;
  const levels = Array.from({ length: LEVELS }, () => new Float32Array(width));
  const [first] = levels as [Float32Array];
  let row = 0;
  for (; row + step <= rows; ) {
    for (const end = row + step; row < end; row++) add(first, values, row * width);
    for (let level = 1; level < LEVELS; level++) {
      add(levels[level]!, levels[level - 1]!, 0);
      levels[level - 1]!.fill(0);
      if (row % 2 ** ((level + 1) * power) !== 0) break;
    }
  }
  for (; row < rows; row++) add(first, values, row * width);
  for (const higher of levels.slice(1)) add(first, higher, 0);
  const total = first.subarray(0, lanes);
  for (let vector = rows * ACCUMULATORS; vector < vectors; vector++) add(total, values, vector * lanes);
  for (let k = 1; k < ACCUMULATORS; k++) add(total, first, k * lanes);
  return total;
}

function add(sums: Float32Array, values: Float32Array, start: number): void {
  for (let i = 0; i < sums.length; i++) sums[i] = sums[i]! + values[start + i]!;
}
