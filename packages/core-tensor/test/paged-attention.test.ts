import { describe, expect, it } from 'vitest';
import {
  cachedAttention,
  compile,
  concat,
  copyBlocks,
  currentEngine,
  fromInt8Rows,
  Key,
  KvBlocks,
  OutOfBlocksError,
  pagedAttention,
  perEngine,
  referenceEngine,
  selfAttention,
  type Tensor,
  tensor,
  toInt8Rows,
  zerosBuffer,
} from '../src/index.js';
import { attentionBehind, biasBehind } from '../src/kernels/attention.js';
import { type Columns, columnBlocks } from '../src/kernels/running-softmax.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { onEngine } from '../src/testing/on-engine.js';

const HEADS = 4;
const KV = 2;
const D = 8;
const BLOCK = 4;
const CAPACITY = 32;
const WIDTH = CAPACITY / BLOCK;
const SHAPE = { blockSize: BLOCK, heads: KV };

const int32 = (values: readonly number[] | Int32Array, shape: readonly number[]): Tensor =>
  tensor(Int32Array.from(values), shape, 'int32');
const noise = (shape: readonly number[], seed: number): Tensor =>
  tensor(Key.fromSeed(seed).normalHost(shape.reduce((a, b) => a * b, 1)), shape);

interface Pools {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Compiled for the engine of each test. */
const stepsOf = perEngine(() => ({
  paged: compile(
    (pools: Pools, q: Tensor, k: Tensor, v: Tensor, table: Tensor, lengths: Tensor, slots: Tensor) => {
      const { output, keys, values } = pagedAttention(
        { q, k, v, ...pools, table, lengths, slots },
        { scale: 0.35, blockSize: BLOCK },
      );
      return { output, pools: { keys, values } };
    },
    { donate: { 0: 'pools' } },
  ),
  copy: compile(
    (pools: Pools, from: Tensor, to: Tensor) => ({
      pools: { keys: copyBlocks(pools.keys, from, to, SHAPE), values: copyBlocks(pools.values, from, to, SHAPE) },
    }),
    { donate: { 0: 'pools' } },
  ),
  contiguous: compile(
    (cache: { keys: Tensor; values: Tensor }, q: Tensor, k: Tensor, v: Tensor, lengths: Tensor) => {
      const { output, keys, values } = cachedAttention(
        { q, k, v, pastKeys: cache.keys, pastValues: cache.values, lengths },
        { scale: 0.35 },
      );
      return { output, cache: { keys, values } };
    },
    { donate: { 0: 'cache' } },
  ),
}));
const steps = () => stepsOf(currentEngine());

/** One sequence over both kinds of cache at once. */
class Twin {
  private constructor(
    readonly id: number,
    private cache: { keys: Tensor; values: Tensor },
  ) {}

  static create(blocks: KvBlocks): Twin {
    const cache = () => zerosBuffer([1, KV, CAPACITY, D]);
    return new Twin(blocks.create(), { keys: cache(), values: cache() });
  }

  async fork(blocks: KvBlocks): Promise<Twin> {
    const again = async (x: Tensor) => tensor(Float32Array.from(await x.data()), x.shape);
    const cache = { keys: await again(this.cache.keys), values: await again(this.cache.values) };
    return new Twin(blocks.fork(this.id), cache);
  }

  /** Appends tokens to both caches and compares what they give. */
  async append(blocks: KvBlocks, pools: Pools, count: number, seed: number): Promise<Pools> {
    const [q, k, v] = [
      noise([1, HEADS, count, D], seed),
      noise([1, KV, count, D], seed + 1),
      noise([1, KV, count, D], seed + 2),
    ];
    const past = blocks.length(this.id);
    const lengths = int32([past], [1]);
    let current = pools;
    for (const { from, to } of blocks.extend(this.id, count)) {
      current = (await steps().copy(current, int32([from], [1]), int32([to], [1]))).pools;
    }
    const table = int32(blocks.table([this.id], WIDTH), [1, WIDTH]);
    const slots = int32(blocks.slots(this.id, past, count), [1, count]);
    const got = await steps().paged(current, q, k, v, table, lengths, slots);
    const wanted = await steps().contiguous(this.cache, q, k, v, lengths);
    this.cache = wanted.cache;
    const numbers = await wanted.output.toArray();
    (await got.output.toArray()).forEach((x, i) => {
      expect(Math.abs(x - numbers[i]!)).toBeLessThan(1e-5);
    });
    return got.pools;
  }
}

const newPools = (blocks: number): Pools => ({
  keys: zerosBuffer([KV * blocks * BLOCK, D]),
  values: zerosBuffer([KV * blocks * BLOCK, D]),
});

describe('pagedAttention', () => {
  it.each([1, 3])('with ALiBi and a window gives what a contiguous cache gives, for %i new tokens', async (count) => {
    const how = { scale: 0.35, slidingWindow: 6, alibi: true };
    const [q, past] = [noise([1, HEADS, count, D], 1), 7];
    const [k, v] = [noise([1, KV, count, D], 2), noise([1, KV, count, D], 3)];
    const [pastKeys, pastValues] = [noise([1, KV, CAPACITY, D], 4), noise([1, KV, CAPACITY, D], 5)];
    const lengths = int32([past], [1]);
    const wanted = cachedAttention({ q, k, v, pastKeys, pastValues, lengths }, how).output;
    // Block 0 is nobody's; the row has the blocks behind it in order.
    const pool = (cache: Tensor) =>
      concat([zerosBuffer([KV, BLOCK, D]), cache.reshape([KV, CAPACITY, D])], 1).reshape([KV * (BLOCK + CAPACITY), D]);
    const table = int32(
      Array.from({ length: WIDTH }, (_, i) => i + 1),
      [1, WIDTH],
    );
    const slots = int32(
      Array.from({ length: count }, (_, i) => BLOCK + past + i),
      [1, count],
    );
    const inputs = { q, k, v, keys: pool(pastKeys), values: pool(pastValues), table, lengths, slots };
    const got = pagedAttention(inputs, { ...how, blockSize: BLOCK }).output;
    const [a, b] = [await got.toArray(), await wanted.toArray()];
    expect(Math.max(...a.map((x, i) => Math.abs(x - b[i]!)))).toBeLessThan(1e-5);
    const plain = await pagedAttention(inputs, { scale: 0.35, slidingWindow: 6, blockSize: BLOCK }).output.toArray();
    expect(Math.max(...plain.map((x, i) => Math.abs(x - b[i]!)))).toBeGreaterThan(1e-3);
  });

  it('gives what a contiguous cache gives, over forks that share a prefix and diverge', async () => {
    const total = 24;
    const blocks = new KvBlocks({ blocks: total, blockSize: BLOCK });
    let pools = newPools(total);
    const random = Key.fromSeed(5).uniformHost(200);
    let drawn = 0;
    const below = (n: number) => Math.floor(random[drawn++]! * n);
    let live = [Twin.create(blocks)];
    pools = await live[0]!.append(blocks, pools, 6, 1000);
    for (let i = 0; i < 40; i++) {
      const one = live[below(live.length)]!;
      const action = below(4);
      if (action === 0 && live.length < 4) live.push(await one.fork(blocks));
      else if (action === 1 && live.length > 1) {
        blocks.free(one.id);
        live = live.filter((twin) => twin !== one);
      } else if (blocks.length(one.id) < 24) pools = await one.append(blocks, pools, 1 + below(5), 10 * i);
    }
    expect(live.length).toBeGreaterThan(0);
    for (const { id } of live) blocks.free(id);
    expect(blocks.freeBlocks).toBe(total - 1);
    for (let block = 0; block < total; block++) expect(blocks.references(block)).toBe(0);
  });

  it('takes rows of different length in one call', async () => {
    const blocks = new KvBlocks({ blocks: 12, blockSize: BLOCK });
    let pools = newPools(12);
    const caches = [];
    const ids = [];
    for (const [i, length] of [3, 9].entries()) {
      const id = blocks.create();
      blocks.extend(id, length);
      const [q, k, v] = [
        noise([1, HEADS, length, D], i),
        noise([1, KV, length, D], i + 10),
        noise([1, KV, length, D], i + 20),
      ];
      const slots = int32(blocks.slots(id, 0, length), [1, length]);
      pools = (
        await steps().paged(pools, q, k, v, int32(blocks.table([id], WIDTH), [1, WIDTH]), int32([0], [1]), slots)
      ).pools;
      const cache = { keys: zerosBuffer([1, KV, CAPACITY, D]), values: zerosBuffer([1, KV, CAPACITY, D]) };
      caches.push((await steps().contiguous(cache, q, k, v, int32([0], [1]))).cache);
      ids.push(id);
    }
    for (const id of ids) blocks.extend(id, 1);
    const [q, k, v] = [noise([2, HEADS, 1, D], 30), noise([2, KV, 1, D], 31), noise([2, KV, 1, D], 32)];
    const slots = int32([...blocks.slots(ids[0]!, 3, 1), ...blocks.slots(ids[1]!, 9, 1)], [2, 1]);
    const got = await steps().paged(
      pools,
      q,
      k,
      v,
      int32(blocks.table(ids, WIDTH), [2, WIDTH]),
      int32([3, 9], [2]),
      slots,
    );
    for (const [i, length] of [3, 9].entries()) {
      const row = (x: Tensor) => x.slice(0, i, i + 1);
      const wanted = await steps().contiguous(caches[i]!, row(q), row(k), row(v), int32([length], [1]));
      const numbers = await wanted.output.toArray();
      const own = (await got.output.toArray()).slice(i * HEADS * D, (i + 1) * HEADS * D);
      own.forEach((x, at) => {
        expect(Math.abs(x - numbers[at]!)).toBeLessThan(1e-5);
      });
    }
  });
});

describe.each([
  ['reference', referenceEngine],
  ['onnxruntime', onnxruntimeEngine],
] as const)('what memory held before has no effect: %s', (_, makeEngine) => {
  const STALE = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  const filled = (shape: readonly number[], value: number) =>
    tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value), shape);
  /** Rows of 2 and 7 tokens get `real` new ones each, padded to `width`. */
  const rows = [2, 7];
  const tokens = (width: number) =>
    [HEADS, KV, KV].map((heads, i) => noise([2, heads, width, D], 40 + i)) as [Tensor, Tensor, Tensor];
  const firstOf = async (output: Tensor, real: readonly number[]) => {
    const parts = real.map((count, row) => output.slice(0, row, row + 1).slice(2, 0, count));
    return Promise.all(parts.map((part) => part.toArray()));
  };

  it.each([
    ['one new token', 1, [1, 1]],
    ['several, padded', 4, [3, 4]],
  ] as const)('in blocks, %s', async (__, width, real) => {
    await onEngine(makeEngine(), async () => {
      const run = async (stale: number) => {
        const blocks = new KvBlocks({ blocks: 8, blockSize: BLOCK });
        let pools = { keys: filled([KV * 8 * BLOCK, D], stale), values: filled([KV * 8 * BLOCK, D], stale) };
        const ids = rows.map(() => blocks.create());
        for (const [i, id] of ids.entries()) {
          const count = rows[i]!;
          blocks.extend(id, count);
          const [q, k, v] = [HEADS, KV, KV].map((heads, j) => noise([1, heads, count, D], 10 * i + j)) as Tensor[];
          const slots = int32(blocks.slots(id, 0, count), [1, count]);
          const table = int32(blocks.table([id], WIDTH), [1, WIDTH]);
          pools = (await steps().paged(pools, q!, k!, v!, table, int32([0], [1]), slots)).pools;
        }
        ids.forEach((id, i) => {
          blocks.extend(id, real[i]!);
        });
        const slots = new Int32Array(2 * width);
        ids.forEach((id, i) => {
          slots.set(blocks.slots(id, rows[i]!, real[i]!), i * width);
        });
        const table = int32(blocks.table(ids, WIDTH), [2, WIDTH]);
        const got = await steps().paged(pools, ...tokens(width), table, int32(rows, [2]), int32(slots, [2, width]));
        return firstOf(got.output, real);
      };
      const wanted = await run(0);
      expect(wanted.flat().every(Number.isFinite)).toBe(true);
      for (const stale of STALE) expect(await run(stale)).toEqual(wanted);
    });
  });

  it.each([
    ['one new token in place', 1],
    ['several', 3],
  ])('in a contiguous cache, %s', async (__, width) => {
    await onEngine(makeEngine(), async () => {
      const run = async (stale: number) => {
        const past = (seed: number) => {
          const numbers = Key.fromSeed(seed).normalHost(2 * KV * CAPACITY * D);
          const isOwn = (i: number) => Math.floor(i / D) % CAPACITY < rows[Math.floor(i / (KV * CAPACITY * D))]!;
          return tensor(
            Float32Array.from(numbers, (x, i) => (isOwn(i) ? x : stale)),
            [2, KV, CAPACITY, D],
          );
        };
        const got = await steps().contiguous({ keys: past(60), values: past(61) }, ...tokens(width), int32(rows, [2]));
        return got.output.toArray();
      };
      const wanted = await run(0);
      expect(wanted.every(Number.isFinite)).toBe(true);
      for (const stale of STALE) expect(await run(stale)).toEqual(wanted);
    });
  });
});

describe('KvBlocks', () => {
  it('gives blocks back that lie before a window, and still knows where the others are', () => {
    const blocks = new KvBlocks({ blocks: 8, blockSize: 4 });
    const one = blocks.create();
    blocks.extend(one, 18);
    expect(blocks.freeBlocks).toBe(2);
    const all = blocks.slots(one, 0, 18);
    blocks.dropBefore(one, 11);
    expect([blocks.firstKept(one), blocks.freeBlocks, blocks.length(one)]).toEqual([8, 4, 18]);
    expect(blocks.slots(one, 8, 10)).toEqual(all.slice(8));
    expect(blocks.slots(one, 6, 2)).toEqual([2, 3]);
    const fork = blocks.fork(one, 13);
    expect([blocks.firstKept(fork), blocks.blocksOf(fork).length]).toEqual([8, 2]);
    // 13 tokens: the last block is shared and written to.
    expect([blocks.needed(fork, 1), blocks.needed(one, 3)]).toEqual([1, 1]);
    expect(() => blocks.truncate(one, 7)).toThrow(/has given back its first 8 tokens; it cannot be cut to 7/);
    blocks.dropBefore(one, 16);
    expect(blocks.references(blocks.blocksOf(fork)[0]!)).toBe(1);
    blocks.truncate(one, 16);
    expect(blocks.blocksOf(one)).toEqual([]);
    blocks.extend(one, 2);
    expect(blocks.slots(one, 16, 2)[0]! % 4).toBe(0);
    blocks.free(one);
    blocks.free(fork);
    expect(blocks.freeBlocks).toBe(7);
  });

  it('shares full blocks, copies a shared last block when it is written to, and only then', () => {
    const blocks = new KvBlocks({ blocks: 8, blockSize: 4 });
    const a = blocks.create();
    expect(blocks.extend(a, 6)).toEqual([]);
    const b = blocks.fork(a);
    expect(blocks.freeBlocks).toBe(5);
    const [copied] = blocks.extend(b, 1);
    const [first, second] = blocks.table([a], 2);
    expect(copied!.from).toBe(second);
    expect([...blocks.table([b], 2)]).toEqual([first, copied!.to]);
    // The other holder is alone with its block now.
    expect(blocks.extend(a, 1)).toEqual([]);
    const full = blocks.create();
    blocks.extend(full, 4);
    const fork = blocks.fork(full);
    expect(blocks.extend(fork, 1)).toEqual([]);
  });

  it('refuses clearly when it is full, and changes nothing', () => {
    const blocks = new KvBlocks({ blocks: 3, blockSize: 4 });
    const a = blocks.create();
    blocks.extend(a, 8);
    expect(() => blocks.extend(a, 1)).toThrow(OutOfBlocksError);
    expect(blocks.length(a)).toBe(8);
    blocks.free(a);
    expect(blocks.freeBlocks).toBe(2);
    expect(() => blocks.length(a)).toThrow(/no sequence 0/);
    expect(() => blocks.table([blocks.create()], 0)).not.toThrow();
  });
});

it('rows in 8 bits are off by at most 1/254 of their largest, and zeros stay zeros', async () => {
  const x = concat([noise([50, 16], 3).mul(7), tensor(new Float32Array(16), [1, 16])], 0);
  const rows = toInt8Rows(x);
  expect([rows.codes.dtype, rows.scales.shape]).toEqual(['uint8', [51, 1]]);
  const [wanted, got] = [await x.toArray(), await fromInt8Rows(rows).toArray()];
  for (let row = 0; row < 51; row++) {
    const own = wanted.slice(16 * row, 16 * (row + 1));
    const largest = Math.max(...own.map(Math.abs));
    own.forEach((value, i) => {
      expect(Math.abs(value - got[16 * row + i]!)).toBeLessThanOrEqual((largest / 254) * 1.00001);
    });
  }
});

describe('attention block by block', () => {
  it.each([
    ['plain', {}],
    ['a soft cap, ALiBi and a window', { softCap: 1.5, alibi: true, slidingWindow: 5 }],
    ['sinks', { sinks: true }],
  ])('with %s is attention at once', async (_, { sinks: hasSinks, ...how }: Record<string, unknown>) => {
    const [b, s, capacity] = [2, 3, 11];
    const [q, k, v] = [noise([b, HEADS, s, D], 1), noise([b, KV, capacity, D], 2), noise([b, KV, capacity, D], 3)];
    const sinks = hasSinks ? tensor(Float32Array.of(0.3, -2, 1, 0.1)) : undefined;
    const row = int32([6, 2], [2, 1, 1]).add(int32([0, 1, 2], [1, s, 1]));
    const blockAt = ([start, end]: Columns) => {
      const distance = row.sub(
        int32(
          Array.from({ length: end - start }, (_, i) => start + i),
          [1, 1, end - start],
        ),
      );
      const bias = biasBehind({ distance, seen: distance.greaterEqual(0) }, q, how as { scale: number });
      return { keys: k.slice(2, start, end), values: v.slice(2, start, end), bias };
    };
    const of = (columns: Columns[]) => attentionBehind(q, columns, blockAt, { scale: 0.4, ...how }, sinks).toArray();
    const wanted = await of([[0, capacity]]);
    for (const columns of [
      [
        [0, 4],
        [4, 8],
        [8, 11],
      ],
      [
        [0, 1],
        [1, 11],
      ],
    ] as Columns[][]) {
      (await of(columns)).forEach((x, i) => {
        expect(Math.abs(x - wanted[i]!)).toBeLessThan(1e-6);
      });
    }
  });

  it('holds scores of 32 MiB at most at once, or of 16 blocks', () => {
    expect(columnBlocks([1, 8, 1024, 1024], 16)).toEqual([[0, 1024]]);
    const cut = columnBlocks([1, 8, 1024, 1040], 16);
    expect(cut).toEqual([
      [0, 512],
      [512, 1024],
      [1024, 1040],
    ]);
    const long = columnBlocks([1, 8, 1024, 32768], 16);
    expect(long).toHaveLength(16);
    expect(long.at(-1)).toEqual([30720, 32768]);
    for (const [start] of columnBlocks([1, 32, 1024, 98304 + 64], 16)) expect(start % 16).toBe(0);
  });

  it('in the graph of a large pass over blocks is what whole sequences give', () =>
    onEngine(onnxruntimeEngine(), async () => {
      const [heads, past, s, block] = [4, 4096, 512, 16];
      const total = past + s;
      const [q, k, v] = [1, 2, 3].map((seed) => noise([1, heads, total, D], seed)) as [Tensor, Tensor, Tensor];
      const pool = (x: Tensor) =>
        concat([zerosBuffer([heads, block, D]), x.reshape([heads, total, D])], 1).reshape([heads * (block + total), D]);
      const width = total / block;
      const last = (x: Tensor) => x.slice(2, past, total);
      const inputs = {
        ...{ q: last(q), k: last(k), v: last(v), keys: pool(k), values: pool(v), lengths: int32([past], [1]) },
        table: int32(
          Array.from({ length: width }, (_, i) => i + 1),
          [1, width],
        ),
        slots: int32(
          Array.from({ length: s }, (_, i) => block + past + i),
          [1, s],
        ),
      };
      expect(columnBlocks([1, heads, s, total], block).length).toBeGreaterThan(1);
      const got = await pagedAttention(inputs, { scale: 0.35, blockSize: block }).output.toArray();
      const wanted = await last(selfAttention(q, k, v, { scale: 0.35 })).toArray();
      expect(Math.max(...got.map((x, i) => Math.abs(x - wanted[i]!)))).toBeLessThan(2e-5);
    }));
});
