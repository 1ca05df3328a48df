import { copyBlocks, pagedAttention } from '../kernels/paged-attention.js';
import { type ConformanceCase, defineCase, given, sample } from './case.js';

/** Two rows of a pool of five blocks of four tokens; their new tokens cross from one block into the next. */
function pagedCase(
  heads: number,
  keyValueHeads: number,
  newTokens: number,
  lengths: readonly number[],
): ConformanceCase {
  const d = 8;
  const pool = (seed: number) => sample([keyValueHeads, 5 * 4, d], 'float32', { seed });
  return defineCase(
    'pagedAttention',
    [
      sample([2, heads, newTokens, d]),
      sample([2, keyValueHeads, newTokens, d], 'float32', { seed: 1 }),
      sample([2, keyValueHeads, newTokens, d], 'float32', { seed: 2 }),
      pool(3),
      pool(4),
      given([3, 1, 2, 4], 'int32', [2, 2]),
      given(lengths, 'int32'),
    ],
    (q, k, v, keys, values, table, lengths) => {
      const result = pagedAttention(
        { q: q!, k: k!, v: v!, keys: keys!, values: values!, table: table!, lengths: lengths! },
        { scale: 0.3, blockSize: 4 },
      );
      return [result.output, result.keys, result.values];
    },
    { note: `lengths ${lengths}` },
  );
}

export const pagedCases = {
  pagedAttention: () => [pagedCase(2, 2, 1, [0, 7]), pagedCase(4, 2, 3, [5, 2])],
  copyBlocks: () => [
    defineCase('copyBlocks', [sample([2, 20, 3]), given([1, 4], 'int32'), given([2, 0], 'int32')], (pool, from, to) =>
      copyBlocks(pool!, from!, to!, 4),
    ),
  ],
};
