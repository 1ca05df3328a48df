import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadKernels } from '../src/engines/onnxruntime/native/kernels.js';
import {
  applyKernel,
  cachedAttention,
  compile,
  type Engine,
  flashAttention,
  flashAttentionKernel,
  grad,
  iota,
  Key,
  normal,
  realize,
  referenceEngine,
  type SelfAttentionOptions,
  selfAttention,
  setEngine,
  type Tensor,
  tensor,
  valueAndGrad,
  zeros,
} from '../src/index.js';
import { openSafetensors } from '../src/io/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { expectClose } from '../src/testing/check-case.js';
import { onEngine } from '../src/testing/on-engine.js';
import { peakBytes } from './peak-bytes.js';

const folder = join(import.meta.dirname, '../../../goldens/kernels');

interface GoldenCase extends Omit<SelfAttentionOptions, 'segments' | 'sinks'> {
  readonly heads: readonly [number, number];
  readonly segments?: true;
  readonly sinks?: true;
}
const cases = Object.entries(
  JSON.parse(readFileSync(join(folder, 'attention.json'), 'utf8')) as Record<string, GoldenCase>,
);

const paths = {
  'all scores at once': { scoreBytes: Number.POSITIVE_INFINITY },
  'blocks of 3': { scoreBytes: 0, blockSize: 3 },
  'one block': { scoreBytes: 0 },
};
const ways = Object.entries(paths);

const engines: readonly (readonly [string, () => Engine])[] = [
  ['onnxruntime', () => onnxruntimeEngine({ threads: 1 })],
  ['reference', referenceEngine],
];

afterAll(() => setEngine(onnxruntimeEngine({ threads: 1 })));

describe.each(engines)('self-attention as torch and transformers compute it, on %s', (_, create) => {
  const golden = new Map<string, Tensor>();
  beforeAll(async () => {
    setEngine(create());
    const file = await openSafetensors(join(folder, 'attention.safetensors'));
    for (const name of file.tensors.keys()) {
      const { data, shape } = await file.read(name);
      golden.set(name, tensor(data, shape));
    }
    await file.close();
  });

  it.each(cases.flatMap(([name, one]) => ways.map(([way, path]) => [name, way, one, path] as const)))(
    '%s, %s',
    async (name, __, { heads: ___, segments, sinks: hasSinks, ...options }, path) => {
      const of = (key: string) => golden.get(`${name}.${key}`)!;
      const [q, k, v] = [of('q'), of('k'), of('v')];
      const outputOf = (inputs: { q: Tensor; k: Tensor; v: Tensor; sinks?: Tensor }) =>
        selfAttention(inputs.q, inputs.k, inputs.v, {
          ...options,
          ...path,
          scale: options.scale ?? 0.5,
          ...(segments ? { segments: golden.get('segments')! } : {}),
          ...(inputs.sinks ? { sinks: inputs.sinks } : {}),
        });
      const inputs = { q, k, v, ...(hasSinks ? { sinks: of('sinks') } : {}) };
      const step = compile((all: typeof inputs) =>
        valueAndGrad((x: typeof inputs) => {
          const out = outputOf(x);
          return [out.mul(of('weights')).sum(), out] as const;
        })(all),
      );
      const { value, gradient } = await step(inputs);
      const same = async (key: string, got: Tensor) =>
        expectClose(`${name} ${key}`, await got.toArray(), await of(key).toArray(), 2e-6);
      await same('out', value[1]);
      for (const [key, got] of Object.entries(gradient)) await same(`d${key}`, got as Tensor);
    },
  );
});

describe('attention in blocks', () => {
  beforeAll(() => setEngine(onnxruntimeEngine({ threads: 1 })));
  const draw = (seed: number, b: number, h: number, kv: number, s: number, d: number) =>
    ([h, kv, kv, h] as const).map((n, i) => normal(Key.fromSeed(seed).child(i).toTensor(), [b, n, s, d])) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];

  it.each([
    [1, 1, 1, 64, 8, 16],
    [2, 4, 2, 50, 8, 16],
    [1, 6, 1, 33, 4, 10],
    [3, 2, 2, 17, 3, 32],
  ])(
    'equals attention at once, forward and gradients: b %i, h %i, kv %i, s %i, d %i, blocks of %i',
    async (...shape) => {
      const [b, h, kv, s, d, blockSize] = shape;
      const [q, k, v, weights] = draw(s, b, h, kv, s, d);
      const segments = iota([b, s], 1).mul(3).greater(s).cast('int32');
      const options = { scale: d ** -0.5, segments, softCap: 3, slidingWindow: Math.ceil(s / 2) };
      const run = (path: object) => {
        const f = (x: Tensor[]) => selfAttention(x[0]!, x[1]!, x[2]!, { ...options, ...path });
        return compile((x: Tensor[]) => [f(x), ...grad((y: Tensor[]) => f(y).mul(weights).sum())(x)])([q, k, v]);
      };
      const wanted = await run({ scoreBytes: Number.POSITIVE_INFINITY });
      const got = await run({ scoreBytes: 0, blockSize });
      for (const [i, x] of got.entries()) expectClose(`${i}`, await x.toArray(), await wanted[i]!.toArray(), 3e-6);
    },
  );

  it('does not depend on the order of the keys where every position sees all', async () => {
    const [q, k, v] = draw(5, 1, 2, 2, 12, 4);
    const order = tensor(Int32Array.from({ length: 12 }, (_, i) => (i * 5) % 12));
    const options = { scale: 0.5, causal: false, blockSize: 5 };
    const straight = flashAttention(q, k, v, options);
    const mixed = flashAttention(q, k.gather(order, 2), v.gather(order, 2), options);
    expectClose('permuted keys', await mixed.toArray(), await straight.toArray(), 2e-6);
  });

  it('gives each segment what it gets alone', async () => {
    const [q, k, v] = draw(6, 1, 2, 1, 11, 4);
    const segments = tensor(Int32Array.from([0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4]), [1, 11]);
    const packed = flashAttention(q, k, v, { scale: 0.5, segments, blockSize: 4 });
    const part = (x: Tensor) => x.slice(2, 4);
    const alone = flashAttention(part(q), part(k), part(v), { scale: 0.5 });
    expectClose('second segment', await part(packed).toArray(), await alone.toArray(), 2e-6);
  });

  it('stays finite and right for scores far apart', async () => {
    const [q, k, v] = draw(7, 1, 1, 1, 20, 4).map((x) => x.mul(60)) as [Tensor, Tensor, Tensor];
    const at = (path: object) => selfAttention(q, k, v, { scale: 1, ...path }).toArray();
    const [got, wanted] = [await at({ scoreBytes: 0, blockSize: 4 }), await at({})];
    expect(got.every(Number.isFinite)).toBe(true);
    expectClose('far apart', got, wanted, 1e-5);
  });

  it('holds a fraction of the memory, in training, over several layers', () => {
    const [layers, shape] = [3, [1, 4, 512, 16]];
    const step = (path: object) => (x: Tensor) =>
      grad((y: Tensor) => {
        let h = y;
        for (let i = 0; i < layers; i++) {
          h = selfAttention(h, h, h, { scale: 0.25, segments: iota([1, 512], 0), ...path }).add(h);
        }
        return h.square().sum();
      })(x);
    const scores = 4 * 512 * 512 * 4;
    const atOnce = peakBytes(step({ scoreBytes: Number.POSITIVE_INFINITY }), zeros(shape));
    const inBlocks = peakBytes(step({ scoreBytes: 0, blockSize: 64 }), zeros(shape));
    expect(atOnce).toBeGreaterThan(layers * scores);
    expect(inBlocks).toBeLessThan(scores);
  });

  it('computes only the blocks that are seen', async () => {
    const products = (options: object) => {
      const q = zeros([1, 1, 64, 4]);
      let count = 0;
      peakBytes(
        (x) => flashAttention(x, x, x, { scale: 1, blockSize: 8, ...options }),
        q,
        ({ op }) => {
          if (op === 'matmul') count++;
        },
      );
      return count;
    };
    expect(products({ causal: false })).toBe(2 * 64);
    expect(products({})).toBe(2 * 36);
    expect(products({ slidingWindow: 9 })).toBe(2 * (8 + 7));
  });
});

describe.each(['plain', 'avx2', 'avx512', 'neon'] as const)('attention by kernels of our own, %s', (arithmetic) => {
  const wave = (shape: readonly number[], seed: number) => {
    const size = shape.reduce((n, dim) => n * dim, 1);
    return tensor(
      Float32Array.from({ length: size }, (_, i) => Math.sin(i * i * 0.37 + seed)),
      shape,
    );
  };
  /** The operators that ran. */
  const ops: string[] = [];
  const engine = async (skip: (note: string) => never) => {
    const found = await loadKernels();
    if ('missing' in found) return skip(`no kernels: ${found.missing}`);
    if (!found.has.has(arithmetic)) return skip(`this processor has no ${arithmetic}`);
    ops.length = 0;
    return onnxruntimeEngine({
      threads: 2,
      cpuKernels: arithmetic,
      onAssignment: (nodes) => ops.push(...nodes.map(({ op }) => op)),
    });
  };
  interface Sizes {
    readonly heads: readonly [number, number];
    readonly length: number;
    readonly widths: readonly [number, number];
    readonly batch?: number;
    readonly packed?: boolean;
  }
  /** The output and the gradients of q, k, v and sinks; of the log-sum-exp too. */
  async function all({ batch = 1, heads, length, widths, packed }: Sizes, options: object) {
    const q = wave([batch, heads[0], length, widths[0]], 1);
    const k = wave([batch, heads[1], length, widths[0]], 2);
    const v = wave([batch, heads[1], length, widths[1]], 3);
    const weights = wave([batch, heads[0], length, widths[1]], 4);
    const parts = Int32Array.from({ length: batch * length }, (_, i) => Math.floor((i % length) / 40));
    const segments = packed ? tensor(parts, [batch, length]) : undefined;
    const sinks = packed ? wave([heads[0]], 5) : undefined;
    const config = { scale: 0.6, blockSize: 64, hasSegments: packed === true, hasSinks: packed === true, ...options };
    const step = compile((x: Tensor[]) => {
      const f = (y: Tensor[]) => {
        const inputs = [y[0]!, y[1]!, y[2]!, ...(segments ? [segments, y[3]!] : [])];
        return applyKernel(flashAttentionKernel, inputs, config);
      };
      const loss = (y: Tensor[]) => {
        const [output, logSum] = f(y);
        return output!.mul(weights).sum().add(logSum!.square().sum());
      };
      return [...f(x), ...grad(loss)(x)];
    });
    const results = await step([q, k, v, ...(sinks ? [sinks] : [])]);
    return Promise.all(results.map((y) => y.toArray()));
  }

  it.for<[string, Sizes, object]>([
    ['one position', { heads: [1, 1], length: 1, widths: [1, 1] }, {}],
    ['odd sizes', { batch: 2, heads: [3, 1], length: 37, widths: [5, 7] }, {}],
    ['several blocks of rows and columns', { heads: [2, 1], length: 301, widths: [16, 16] }, {}],
    ['every position', { heads: [2, 2], length: 131, widths: [8, 4] }, { causal: false }],
    ['a window', { heads: [2, 1], length: 257, widths: [8, 8] }, { slidingWindow: 19 }],
    ['a window both ways', { heads: [1, 1], length: 211, widths: [3, 8] }, { slidingWindow: 100, causal: false }],
    ['packed rows and sinks', { batch: 2, heads: [4, 2], length: 103, widths: [8, 8], packed: true }, {}],
    [
      'packed rows, sinks and a window',
      { heads: [2, 1], length: 290, widths: [8, 8], packed: true },
      { slidingWindow: 9 },
    ],
  ])('is the definition, forward and gradients: %s', async ([, sizes, options], { skip }) => {
    const own = await engine(skip);
    const got = await onEngine(own, () => all(sizes, options));
    expect(ops).toEqual(expect.arrayContaining(['Attention', 'AttentionGradient']));
    const wanted = await onEngine(onnxruntimeEngine({ cpuKernels: 'off' }), () => all(sizes, options));
    for (const [i, values] of got.entries()) expectClose(`${i}`, values, wanted[i]!, 1e-5);
  });

  it('says that a number is none to the rows that see it, and a row is the same whatever rows follow it', async ({
    skip,
  }) => {
    const own = await engine(skip);
    const [length, bad] = [150, 70];
    const output = (q: Tensor, v: Tensor) =>
      onEngine(own, () => flashAttention(q, wave([1, 1, q.shape[2]!, 8], 2), v, { scale: 0.5 }).data());
    const [q, v] = [wave([1, 1, length, 8], 1), wave([1, 1, length, 8], 3)];
    const right = await output(q, v);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const spoilt = Float32Array.from(await v.toArray());
      spoilt[bad * 8] = value;
      const got = await output(q, tensor(spoilt, [1, 1, length, 8]));
      // Rows just above it share a panel, in which what a row does not see is times 0.
      for (let row = 0; row < length; row++)
        if (row >= bad || row < bad - 32) expect([row, Number.isFinite(got[row * 8]!)]).toEqual([row, row < bad]);
      const query = Float32Array.from(await q.toArray());
      query[bad * 8] = value;
      const ofQuery = await output(tensor(query, [1, 1, length, 8]), v);
      for (let row = 0; row < length; row++) expect([row, Number.isNaN(ofQuery[row * 8]!)]).toEqual([row, row === bad]);
    }
    const part = (x: Tensor) => x.slice(2, 0, 101);
    const alone = await output(part(q), part(v));
    expect([...alone]).toEqual([...right.slice(0, alone.length)]);
  });
});

describe('the family agrees', () => {
  beforeAll(() => setEngine(onnxruntimeEngine({ threads: 1 })));
  it.each<[string, Partial<SelfAttentionOptions>]>([
    ['causal', {}],
    ['sliding window', { slidingWindow: 3 }],
    ['soft cap', { softCap: 1.5 }],
    ['ALiBi', { alibi: true }],
    ['sinks', { sinks: tensor([0.5, -1, 0.2, 1]) }],
  ])('a prompt through an empty cache is self-attention: %s', async (_, { sinks, ...config }) => {
    const [q, k, v] = [4, 2, 2].map((n, i) => normal(Key.fromSeed(i).toTensor(), [2, n, 6, 8])) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const pastKeys = zeros([2, 2, 9, 8]);
    const inputs = {
      q,
      k,
      v,
      pastKeys,
      pastValues: pastKeys,
      lengths: zeros([2], 'int32'),
      ...(sinks ? { sinks } : {}),
    };
    const { output } = cachedAttention(inputs, { scale: 0.4, ...config });
    const whole = selfAttention(q, k, v, { scale: 0.4, ...config, ...(sinks ? { sinks } : {}) });
    await realize([output, whole]);
    expectClose('prompt', await output.toArray(), await whole.toArray(), 2e-6);
  });

  it('decodes with a soft cap in place as without donation', async () => {
    const draw = (seed: number, heads: number, s: number) =>
      normal(Key.fromSeed(seed).toTensor(), [1, heads, s, 8]).mul(3);
    const body = (cache: { keys: Tensor; values: Tensor }, at: Tensor) => {
      const tokens = { q: draw(1, 4, 1), k: draw(2, 2, 1), v: draw(3, 2, 1) };
      const past = { pastKeys: cache.keys, pastValues: cache.values };
      const { output, ...rest } = cachedAttention({ ...tokens, ...past, lengths: at }, { scale: 1, softCap: 2 });
      return { output, cache: rest };
    };
    const cache = () => ({ keys: draw(4, 2, 5), values: draw(5, 2, 5) });
    const at = tensor(Int32Array.from([3]));
    const plain = await compile(body)(cache(), at);
    const donated = await compile(body, { donate: { 0: 'cache' } })(cache(), at);
    expectClose('output', await donated.output.toArray(), await plain.output.toArray(), 2e-6);
  });
});

describe('wrong attention calls', () => {
  const [q, k] = [zeros([1, 4, 3, 2]), zeros([1, 2, 3, 2])];
  it.each([
    ['an unknown option', () => selfAttention(q, k, k, { scale: 1, window: 3 } as never), /unknown option "window"/],
    ['an option of another kind', () => flashAttention(q, k, k, { scale: 1, blockSize: 0 }), /blockSize must be/],
    ['a cap that is not positive', () => selfAttention(q, k, k, { scale: 1, softCap: 0 }), /softCap must be positive/],
    ['a window of nothing', () => flashAttention(q, k, k, { scale: 1, slidingWindow: 0 }), /slidingWindow must be/],
    ['a window of nothing', () => selfAttention(q, k, k, { scale: 1, slidingWindow: 0 }), /slidingWindow must be/],
    ['sinks of other heads', () => selfAttention(q, k, k, { scale: 1, sinks: zeros([2]) }), /one logit per head/],
    [
      'segments of other rows',
      () => flashAttention(q, k, k, { scale: 1, segments: zeros([1, 4], 'int32') }),
      /flashAttention.*segments must be \[b, s\]/,
    ],
    [
      'more keys than queries',
      () => flashAttention(q, zeros([1, 2, 5, 2]), zeros([1, 2, 5, 2]), { scale: 1 }),
      /a key/,
    ],
  ])('%s', (_, call, message) => {
    expect(call).toThrow(message);
  });
});
