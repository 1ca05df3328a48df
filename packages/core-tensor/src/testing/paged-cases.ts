import { tensor } from '../create.js';
import { copyBlocks, pagedAttention } from '../kernels/paged-attention.js';
import { putRows } from '../kernels/put-rows.js';
import { type ConformanceCase, defineCase, given, sample } from './case.js';

/** Two rows of a pool of five blocks of four tokens; their new tokens cross from one block into the next. */
function pagedCase(
  heads: number,
  keyValueHeads: number,
  newTokens: number,
  lengths: readonly number[],
  how: { readonly slidingWindow?: number; readonly softCap?: number; readonly sinks?: readonly number[] } = {},
  parents?: readonly (readonly number[])[],
): ConformanceCase {
  const { sinks, ...options } = how;
  const d = 8;
  const table = [
    [3, 1],
    [2, 4],
  ];
  const slots = lengths.flatMap((length, row) =>
    Array.from({ length: newTokens }, (_, i) => table[row]![Math.floor((length + i) / 4)]! * 4 + ((length + i) % 4)),
  );
  const tree = parents?.map(treeOf);
  const pool = (seed: number) => sample([keyValueHeads * 5 * 4, d], 'float32', { seed });
  return defineCase(
    'pagedAttention',
    [
      sample([2, heads, newTokens, d]),
      sample([2, keyValueHeads, newTokens, d], 'float32', { seed: 1 }),
      sample([2, keyValueHeads, newTokens, d], 'float32', { seed: 2 }),
      pool(3),
      pool(4),
      given(table.flat(), 'int32', [2, 2]),
      given(lengths, 'int32'),
      given(slots, 'int32', [2, newTokens]),
      ...(tree
        ? [
            given(
              tree.flatMap(({ depths }) => depths),
              'int32',
              [2, newTokens],
            ),
            given(
              tree.flatMap(({ visible }) => visible),
              'int32',
              [2, newTokens, newTokens],
            ),
          ]
        : []),
    ],
    (q, k, v, keys, values, table, lengths, slots, depths, visible) => {
      const result = pagedAttention(
        {
          ...{ q: q!, k: k!, v: v!, keys: keys!, values: values!, table: table!, lengths: lengths!, slots: slots! },
          ...(depths && visible && { tree: { depths, visible } }),
          ...(sinks && { sinks: tensor(Float32Array.from(sinks)) }),
        },
        { scale: 0.3, blockSize: 4, ...options },
      );
      return [result.output, result.keys, result.values];
    },
    { note: `lengths ${lengths} ${JSON.stringify(how)}${parents ? ` tree ${JSON.stringify(parents)}` : ''}` },
  );
}

/** Depths, and who sees whom, of tokens by the token that each follows; −1: the cache. */
function treeOf(parents: readonly number[]): { readonly depths: number[]; readonly visible: number[] } {
  const paths = parents.map((_, i) => {
    const path: number[] = [];
    for (let at = i; at >= 0; at = parents[at]!) path.push(at);
    return path;
  });
  const visible = paths.flatMap((path) => parents.map((_, i) => Number(path.includes(i))));
  return { depths: paths.map(({ length }) => length - 1), visible };
}

export const pagedCases = {
  pagedAttention: () => [
    pagedCase(2, 2, 1, [0, 7]),
    pagedCase(4, 2, 3, [5, 2]),
    pagedCase(4, 2, 1, [1, 6], { slidingWindow: 3, softCap: 1.5 }),
    pagedCase(4, 2, 1, [3, 6], { sinks: [0.3, -0.7, 1.2, 0] }),
    pagedCase(2, 2, 3, [4, 2], { slidingWindow: 2, sinks: [0.5, -1] }),
    pagedCase(2, 2, 2, [6, 3], { slidingWindow: 3, softCap: 1.5 }),
    pagedCase(4, 2, 4, [4, 2], {}, [
      [-1, 0, 0, 2],
      [-1, -1, 1, 0],
    ]),
    pagedCase(2, 2, 3, [3, 5], { slidingWindow: 2 }, [
      [-1, 0, 0],
      [-1, -1, -1],
    ]),
  ],
  putRows: () => [
    defineCase(
      'putRows',
      [sample([5, 3]), given([4, 1], 'int32'), sample([2, 3], 'float32', { seed: 1 })],
      (x, at, v) => putRows(x!, at!, v!),
    ),
    defineCase('putRows', [sample([3, 2, 2]), given([2], 'int32'), sample([1, 2, 2])], (x, at, v) =>
      putRows(x!, at!, v!),
    ),
    defineCase('putRows', [sample([3, 2]), given([], 'int32', [0]), sample([0, 2])], (x, at, v) =>
      putRows(x!, at!, v!),
    ),
  ],
  copyBlocks: () => [
    defineCase('copyBlocks', [sample([2 * 20, 3]), given([1, 4], 'int32'), given([2, 0], 'int32')], (pool, from, to) =>
      copyBlocks(pool!, from!, to!, { blockSize: 4, heads: 2 }),
    ),
  ],
};
