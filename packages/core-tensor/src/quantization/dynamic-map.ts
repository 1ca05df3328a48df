/** Elements that share one scale where the scales of a 4-bit weight are themselves quantised. */
export const NESTED_BLOCK_SIZE = 256;

/** `signed`: levels of [-1, 1]; `unsigned`: of [0, 1], twice as many of them. */
export type DynamicMapKind = 'signed' | 'unsigned';

const maps = new Map<DynamicMapKind, Float32Array>();
let codeOfGrid: Uint8Array | undefined;

/**
 * The 256 levels of the dynamic 8-bit type (arXiv 1511.04561), smallest first: seven decades from 1e-6 to 1, the decade of
 * size 10^(i - 6) holding 2^i levels of each sign, in the middles of 2^i equal parts of [0.1, 1]; and 0 and 1. Without a
 * sign every decade holds 2^(i + 1) levels.
 */
export function dynamicMap(kind: DynamicMapKind = 'signed'): Float32Array {
  const known = maps.get(kind);
  if (known) return known;
  const levels = [0, 1];
  for (let decade = 0; decade < 7; decade++) {
    const count = 2 ** (kind === 'signed' ? decade : decade + 1);
    const edges = linspace(0.1, 1, count + 1);
    for (let i = 0; i < count; i++) {
      const middle = Math.fround(Math.fround(edges[i]! + edges[i + 1]!) / 2);
      // A Python float times a float32 tensor is a float32 product.
      const level = Math.fround(Math.fround(10 ** (decade - 6)) * middle);
      levels.push(level);
      if (kind === 'signed') levels.push(-level);
    }
  }
  const map = Float32Array.from(levels).sort();
  maps.set(kind, map);
  return map;
}

/** torch.linspace in float32, which counts from both ends. */
function linspace(start: number, end: number, count: number): Float32Array {
  const step = Math.fround(Math.fround(Math.fround(end) - Math.fround(start)) / (count - 1));
  return Float32Array.from({ length: count }, (_, i) =>
    i < count / 2 ? Math.fround(start) + step * i : Math.fround(end) - step * (count - 1 - i),
  );
}

const GRID = 65535;

/** The level nearest to each of 65536 evenly spaced numbers from -1 to 1; between two equally near, the lower. */
function codes(): Uint8Array {
  if (codeOfGrid) return codeOfGrid;
  const map = dynamicMap();
  const table = new Uint8Array(GRID + 1);
  let code = 0;
  for (let i = 0; i <= GRID; i++) {
    const value = Math.fround(-1 + Math.fround((2 * i) / GRID));
    while (code < 255 && Math.fround(0.5 * Math.fround(map[code]! + map[code + 1]!)) < value) code++;
    table[i] = code;
  }
  codeOfGrid = table;
  return table;
}

/**
 * Codes of the dynamic map for blocks of 256 numbers scaled by their largest absolute value, with the rounding of
 * bitsandbytes on a CPU: a number is put on a grid of 65536 before its level is looked up, and a block of zeros has code 0.
 */
export function quantizeDynamic(values: Float32Array): { readonly codes: Uint8Array; readonly absmax: Float32Array } {
  const table = codes();
  const absmax = new Float32Array(Math.ceil(values.length / NESTED_BLOCK_SIZE));
  const result = new Uint8Array(values.length);
  for (let block = 0; block < absmax.length; block++) {
    const start = block * NESTED_BLOCK_SIZE;
    const end = Math.min(start + NESTED_BLOCK_SIZE, values.length);
    let largest = 0;
    for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(values[i]!));
    absmax[block] = largest;
    if (largest === 0) continue;
    const inverse = Math.fround(1 / largest);
    for (let i = start; i < end; i++) {
      const scaled = Math.min(1, Math.max(-1, Math.fround(values[i]! * inverse)));
      const half = Math.fround(Math.fround(scaled + 1) * 0.5);
      result[i] = table[Math.trunc(Math.fround(half * GRID + 0.5))]!;
    }
  }
  return { codes: result, absmax };
}
