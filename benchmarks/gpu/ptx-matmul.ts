/**
 * A bfloat16 matrix product for tensor cores, written in PTX: c [m, n] float32 = a [m, k] · bᵀ with b [n, k], as a linear
 * layer has its weight. m and n are multiples of 128, k of 32 and at least 64.
 *
 * A block of four warps makes 128 × 128 of c, a warp 64 × 64 as 4 × 8 tiles of `mma.sync.m16n8k16`. 128 × 32 of a and of b
 * come to shared memory by `cp.async`, three stages deep, and from there to registers by `ldmatrix`. The four 16-byte
 * chunks of a row of 32 are permuted by chunk ^ (row / 2 mod 4), so that the eight rows that one `ldmatrix` reads lie in
 * eight different groups of banks. Compute capability 8.0 or newer.
 */
export const PTX_TILE = { m: 128, n: 128, k: 32, threads: 128 } as const;

const STAGES = 3;
/** Bytes of one stage of one factor: 128 rows of 32 entries of 2. */
const FACTOR_BYTES = 128 * 64;
const STAGE_BYTES = 2 * FACTOR_BYTES;

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

export function ptxMatmul(): string {
  const accumulator = (i: number, j: number) => range(4).map((r) => `%c${i}_${j}_${r}`);
  const left = (i: number) => range(4).map((r) => `%a${i}_${r}`);
  /** The b of tile j: half of what one ldmatrix brings for two tiles. */
  const right = (j: number) => [0, 1].map((r) => `%b${j >> 1}_${2 * (j & 1) + r}`);
  const list = (names: readonly string[]) => `{${names.join(', ')}}`;
  const tiles = range(4).flatMap((i) => range(8).map((j) => [i, j] as const));

  /** Starts the copy of the slice that %next points at to the stage that %write points at; moves both on. */
  const copySlice = (skip: string) => [
    `setp.ge.u32 %beyond, %next, %slices;`,
    `@%beyond bra ${skip};`,
    ...['a', 'b'].flatMap((factor, f) =>
      range(4).flatMap((i) => [
        // Four rows of 32 lie between a thread's chunks: 32 rows apart in memory, and the permutation is the same.
        `add.u32 %address, %write, ${f * FACTOR_BYTES + i * 32 * 64};`,
        `cp.async.cg.shared.global [%address], [%${factor}_from${i}], 16;`,
        `add.u64 %${factor}_from${i}, %${factor}_from${i}, 64;`,
      ]),
    ),
    `${skip}:`,
    'cp.async.commit_group;',
    'add.u32 %next, %next, 1;',
    `add.u32 %write, %write, ${STAGE_BYTES};`,
    'setp.eq.u32 %wrap, %write, %write_end;',
    `@%wrap sub.u32 %write, %write, ${STAGES * STAGE_BYTES};`,
  ];

  /** Half of a slice: 16 of k. `half` is 0 or 1, its chunks 2·half and 2·half + 1. */
  const multiplyHalf = (half: number) => [
    ...range(4).flatMap((i) => [
      `add.u32 %address, %read, %a_lane${half};`,
      `ldmatrix.sync.aligned.m8n8.x4.shared.b16 ${list(left(i))}, [%address+${i * 16 * 64}];`,
    ]),
    ...range(4).flatMap((i) => [
      `add.u32 %address, %read, %b_lane${half};`,
      `ldmatrix.sync.aligned.m8n8.x4.shared.b16 ${list(range(4).map((r) => `%b${i}_${r}`))}, [%address+${FACTOR_BYTES + i * 16 * 64}];`,
    ]),
    ...tiles.map(
      ([i, j]) =>
        `mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 ${list(accumulator(i, j))}, ${list(left(i))}, ${list(right(j))}, ${list(accumulator(i, j))};`,
    ),
  ];

  const body = [
    'ld.param.u64 %a, [a];',
    'ld.param.u64 %b, [b];',
    'ld.param.u64 %c, [c];',
    'ld.param.u32 %n, [n];',
    'ld.param.u32 %k, [k];',
    'cvta.to.global.u64 %a, %a;',
    'cvta.to.global.u64 %b, %b;',
    'cvta.to.global.u64 %c, %c;',
    'mov.u32 %thread, %tid.x;',
    'mov.u32 %row_block, %ctaid.y;',
    'mov.u32 %column_block, %ctaid.x;',
    'shl.b32 %row_block, %row_block, 7;',
    'shl.b32 %column_block, %column_block, 7;',
    'shr.u32 %slices, %k, 5;',
    'mov.u32 %shared_base, tiles;',

    // Copies: thread t brings chunk t mod 4 of the rows t / 4 + 0, 32, 64 and 96.
    'shr.u32 %row, %thread, 2;',
    'and.b32 %chunk, %thread, 3;',
    'shr.u32 %swap, %row, 1;',
    'and.b32 %swap, %swap, 3;',
    'xor.b32 %swap, %chunk, %swap;',
    'shl.b32 %write, %row, 6;',
    'shl.b32 %swap, %swap, 4;',
    'add.u32 %write, %write, %swap;',
    'add.u32 %write, %write, %shared_base;',
    `add.u32 %write_end, %write, ${STAGES * STAGE_BYTES};`,
    'shl.b32 %chunk, %chunk, 4;',
    'cvt.u64.u32 %wide_chunk, %chunk;',
    'shl.b32 %row_bytes, %k, 1;',
    ...['a', 'b'].flatMap((factor) =>
      range(4).flatMap((i) => [
        `add.u32 %index, %row, %${factor === 'a' ? 'row_block' : 'column_block'};`,
        `add.u32 %index, %index, ${32 * i};`,
        'mul.wide.u32 %offset, %index, %row_bytes;',
        `add.u64 %${factor}_from${i}, %${factor}, %offset;`,
        `add.u64 %${factor}_from${i}, %${factor}_from${i}, %wide_chunk;`,
      ]),
    ),

    // Reads: the warp at (w / 2, w mod 2) of the block.
    'and.b32 %lane, %thread, 31;',
    'shr.u32 %warp, %thread, 5;',
    'shr.u32 %warp_row, %warp, 1;',
    'and.b32 %warp_column, %warp, 1;',
    'shl.b32 %warp_row, %warp_row, 6;',
    'shl.b32 %warp_column, %warp_column, 6;',
    // a: lanes 0-15 give the 16 rows of chunk 0, lanes 16-31 those of chunk 1.
    'and.b32 %index, %lane, 15;',
    'add.u32 %index, %index, %warp_row;',
    'shr.u32 %chunk, %lane, 4;',
    ...laneAddresses('a'),
    // b: 8 rows of chunk 0, the same of chunk 1, the next 8 rows of chunk 0, of chunk 1.
    'and.b32 %index, %lane, 7;',
    'shr.u32 %swap, %lane, 4;',
    'shl.b32 %swap, %swap, 3;',
    'add.u32 %index, %index, %swap;',
    'add.u32 %index, %index, %warp_column;',
    'shr.u32 %chunk, %lane, 3;',
    'and.b32 %chunk, %chunk, 1;',
    ...laneAddresses('b'),

    ...tiles.flatMap(([i, j]) => accumulator(i, j).map((name) => `mov.f32 ${name}, 0f00000000;`)),
    'mov.u32 %next, 0;',
    ...copySlice('$first'),
    ...copySlice('$second'),
    'mov.u32 %read, %shared_base;',
    `add.u32 %read_end, %shared_base, ${STAGES * STAGE_BYTES};`,
    'mov.u32 %done, 0;',
    '$loop:',
    `cp.async.wait_group ${STAGES - 2};`,
    // Everybody sees the slice, and nobody reads any more the one that is written over next.
    'bar.sync 0;',
    ...copySlice('$more'),
    ...multiplyHalf(0),
    ...multiplyHalf(1),
    `add.u32 %read, %read, ${STAGE_BYTES};`,
    'setp.eq.u32 %wrap, %read, %read_end;',
    `@%wrap sub.u32 %read, %read, ${STAGES * STAGE_BYTES};`,
    'add.u32 %done, %done, 1;',
    'setp.lt.u32 %wrap, %done, %slices;',
    '@%wrap bra $loop;',

    // Lane l holds of each tile the entries (l / 4, 2 (l mod 4) + 0, 1) and those 8 rows below.
    'shr.u32 %row, %lane, 2;',
    'add.u32 %row, %row, %warp_row;',
    'add.u32 %row, %row, %row_block;',
    'and.b32 %index, %lane, 3;',
    'shl.b32 %index, %index, 1;',
    'add.u32 %index, %index, %warp_column;',
    'add.u32 %index, %index, %column_block;',
    'mul.wide.u32 %offset, %row, %n;',
    'cvt.u64.u32 %wide_chunk, %index;',
    'add.u64 %offset, %offset, %wide_chunk;',
    'shl.b64 %offset, %offset, 2;',
    'add.u64 %c, %c, %offset;',
    'mul.wide.u32 %offset, %n, 32;',
    ...range(4).flatMap((i) => [
      ...[0, 2].flatMap((half) => [
        ...range(8).map((j) => {
          const [x, y] = accumulator(i, j).slice(half);
          return `st.global.v2.f32 [%c+${j * 32}], {${x}, ${y}};`;
        }),
        'add.u64 %c, %c, %offset;',
      ]),
    ]),
    'ret;',
  ];

  const names = {
    u64: ['a', 'b', 'c', 'offset', 'wide_chunk', ...['a', 'b'].flatMap((f) => range(4).map((i) => `${f}_from${i}`))],
    u32: [
      ...['n', 'k', 'thread', 'row_block', 'column_block', 'slices', 'shared_base', 'row', 'chunk', 'swap', 'write'],
      ...['write_end', 'row_bytes', 'index', 'lane', 'warp', 'warp_row', 'warp_column', 'next', 'read', 'read_end'],
      ...['done', 'address', 'a_lane0', 'a_lane1', 'b_lane0', 'b_lane1'],
    ],
    b32: range(4).flatMap((i) => range(4).flatMap((r) => [`a${i}_${r}`, `b${i}_${r}`])),
    f32: tiles.flatMap(([i, j]) => accumulator(i, j).map((name) => name.slice(1))),
    pred: ['beyond', 'wrap'],
  };
  return [
    '.version 7.0',
    '.target sm_80',
    '.address_size 64',
    '.visible .entry matmul(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n, .param .u32 k)',
    '{',
    ...Object.entries(names).map(([type, all]) => `.reg .${type} ${all.map((name) => `%${name}`).join(', ')};`),
    `.shared .align 128 .b8 tiles[${STAGES * STAGE_BYTES}];`,
    ...body,
    '}',
    '',
  ].join('\n');

  /** From row %index and chunk %chunk of the first half: where the lane reads in a stage, for both halves. */
  function laneAddresses(factor: string): string[] {
    return [0, 1].flatMap((half) => [
      'shr.u32 %swap, %index, 1;',
      'and.b32 %swap, %swap, 3;',
      `add.u32 %address, %chunk, ${2 * half};`,
      'xor.b32 %swap, %swap, %address;',
      'shl.b32 %swap, %swap, 4;',
      `shl.b32 %${factor}_lane${half}, %index, 6;`,
      `add.u32 %${factor}_lane${half}, %${factor}_lane${half}, %swap;`,
    ]);
  }
}
