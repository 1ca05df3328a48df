import { describe, expect, it } from 'vitest';
import {
  addAlongAxis,
  attention,
  cachedAttention,
  compile,
  concat,
  DTYPES,
  type DType,
  full,
  iota,
  layerNorm,
  realize,
  referenceEngine,
  rmsNorm,
  rotary,
  scatterAdd,
  softmax,
  type Tensor,
  tensor,
  tokenLogProbs,
  valueAndGrad,
  where,
} from '../../index.js';
import { apply } from '../../tensor.js';
import { onEngine } from '../../testing/on-engine.js';
import { onnxruntimeEngine } from './engine.js';

const engine = onnxruntimeEngine();

/** Deterministic values in [-2, 2] without a pattern that an op could hide behind. */
function sample(shape: readonly number[], dtype: DType = 'float32', seed = 1): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  const numbers = Array.from({ length: size }, (_, i) => 2 * Math.sin(12.9898 * (i + 1) + 78.233 * seed));
  const scaled = numbers.map((x) => {
    if (dtype === 'bool') return x > 0 ? 1 : 0;
    if (dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16') return x;
    return Math.round(dtype === 'uint8' ? Math.abs(60 * x) : 60 * x);
  });
  return tensor(scaled, shape, dtype);
}

/** Both engines must agree, NaN for NaN, within `tolerance` relative to the size of the value. */
async function agrees(build: () => Tensor | readonly Tensor[], tolerance = 2e-6): Promise<void> {
  const values = async () => {
    const built = build();
    const list = Array.isArray(built) ? (built as readonly Tensor[]) : [built as Tensor];
    await realize(list);
    return Promise.all(list.map(async (x) => ({ shape: x.shape, dtype: x.dtype, numbers: await x.toArray() })));
  };
  const expected = await onEngine(referenceEngine(), values);
  const got = await onEngine(engine, values);
  got.forEach((x, k) => {
    const wanted = expected[k]!;
    expect(x.shape).toEqual(wanted.shape);
    expect(x.numbers.length).toBe(wanted.numbers.length);
    x.numbers.forEach((number, i) => {
      const want = wanted.numbers[i]!;
      const close = Object.is(number, want) || Math.abs(number - want) <= tolerance * (1 + Math.abs(want));
      const same = close || (Number.isNaN(number) && Number.isNaN(want));
      expect(same, `output ${k}, element ${i}: ${number}, reference ${want}`).toBe(true);
    });
  });
}

const tolerances: Partial<Record<DType, number>> = { float16: 2e-3, bfloat16: 0 };
const computable = ['float32', 'float16', 'int32', 'int8', 'uint8'] as const;
const shapes = [[2, 3], [1, 3], [3], [], [2, 0, 3], [4, 1, 2]] as const;
const broadcasts = [
  [
    [2, 3],
    [2, 3],
  ],
  [[2, 1], [3]],
  [[], [2, 2]],
  [
    [0, 3],
    [1, 3],
  ],
  [
    [1, 3],
    [4, 2, 1],
  ],
] as const;

describe('elementwise', () => {
  it.each(['exp', 'sqrt', 'log', 'reciprocal', 'sin', 'cos', 'tanh', 'erf', 'sigmoid', 'floor'] as const)(
    '%s',
    async (op) => {
      for (const dtype of ['float32', 'float16'] as const) {
        const x = (shape: readonly number[]) =>
          op === 'sqrt' || op === 'log' ? sample(shape, dtype).abs() : sample(shape, dtype);
        await agrees(() => shapes.map((shape) => x(shape)[op]()), tolerances[dtype] ?? 2e-6);
      }
    },
  );
  it.each(['neg', 'abs', 'sign'] as const)('%s', async (op) => {
    for (const dtype of ['float32', 'float16', 'int32', 'int8'] as const)
      await agrees(() => shapes.map((shape) => sample(shape, dtype)[op]()), tolerances[dtype] ?? 0);
  });
  it.each(['add', 'sub', 'mul', 'maximum', 'minimum', 'equal', 'less', 'lessEqual'] as const)(
    '%s broadcasts, for every number type, and integers wrap',
    async (op) => {
      for (const dtype of computable)
        await agrees(
          () => broadcasts.map(([a, b]) => sample(a, dtype, 3)[op](sample(b, dtype, 4))),
          tolerances[dtype] ?? 1e-6,
        );
    },
  );
  it('mul of int32 wraps at 32 bits', () =>
    agrees(
      () =>
        tensor([2 ** 30, -(2 ** 31), 123456789], undefined, 'int32').mul(tensor([5, 3, 987654321], undefined, 'int32')),
      0,
    ));
  it('mod has the sign of the divisor', () =>
    agrees(() => tensor([7, -7, 7, -7], undefined, 'int32').mod(tensor([3, 3, -3, -3], undefined, 'int32')), 0));
  it('div and pow', async () => {
    for (const dtype of ['float32', 'float16'] as const) {
      await agrees(() => sample([2, 3], dtype).div(sample([3], dtype, 2)), tolerances[dtype] ?? 2e-6);
      await agrees(
        () =>
          sample([2, 3], dtype)
            .abs()
            .pow(sample([3], dtype, 2)),
        tolerances[dtype] ?? 2e-6,
      );
    }
  });
  it('and, or, not, where, isNaN', () =>
    agrees(() => {
      const [a, b] = [sample([2, 3], 'bool'), sample([3], 'bool', 5)];
      const x = sample([2, 3]).log();
      return [
        a.and(b),
        a.or(b),
        a.not(),
        x.isNaN(),
        where(a, b.broadcastTo([2, 3]), a),
        ...DTYPES.map((d) => where(b, sample([2, 3], d), sample([1], d, 2))),
        where(tensor([1], undefined, 'bool'), full([], 1), 2),
      ];
    }, 0));
  it('NaN and infinities pass through maximum, max and where', () =>
    agrees(() => {
      const x = tensor([Number.NaN, Infinity, -Infinity, 1]);
      const y = tensor([1, Number.NaN, 2, -Infinity]);
      return [x.maximum(y), x.minimum(y), x.max(), where(x.equal(x), y, x), x.exp(), x.sigmoid(), x.tanh()];
    }));
  it('casts between all types', async () => {
    for (const from of DTYPES)
      await agrees(() => DTYPES.flatMap((to) => [sample([2, 3], from).cast(to), sample([0], from).cast(to)]), 0);
    await agrees(() => tensor([300, -129, 255.9, -1.5, 65536, 1e-8]).cast('int8'), 0);
    await agrees(() => tensor([1e6, -70000, 65519, 6e-8, 1.0009765625 + 2 ** -11]).cast('float16'), 0);
    await agrees(() => tensor([1.00390625, 1.01171875, 3.3e38, 1e-40]).cast('bfloat16').cast('float32'), 0);
  });
});

describe('movement', () => {
  it('for every dtype', async () => {
    for (const dtype of DTYPES)
      await agrees(() => {
        const x = sample([2, 3, 4], dtype);
        return [
          x.reshape([4, 6]),
          x.transpose([2, 0, 1]),
          x.transpose(),
          sample([3, 1], dtype).broadcastTo([2, 3, 4]),
          x.slice(1, 1, 3).slice(2, 0, 4, 3),
          x.slice(0, 1, 1),
          x.pad(1, 2, 0, 1),
          x.slice(0, 0, 0).pad(0, 1, 1, 1),
          concat([x, x.slice(1, 0, 0), x.slice(1, 2)], 1),
          x,
          full([2, 40], 1, dtype),
        ];
      }, 0);
  });
  it('iota along any axis', () =>
    agrees(() => [iota([2, 3], 0), iota([2, 3], 1), iota([1, 4], 1), iota([0]), iota([100, 2], 0, 'float32')], 0));
});

describe('reductions, products and indexing', () => {
  it('sum and max', async () => {
    for (const dtype of computable)
      await agrees(() => {
        const x = sample([2, 3, 4], dtype);
        return [x.sum(), x.sum(1), x.sum([0, 2], { keepDims: true })];
      }, tolerances[dtype] ?? 2e-6);
    for (const dtype of ['float32', 'float16', 'int32', 'uint8'] as const)
      await agrees(() => {
        const x = sample([2, 3, 4], dtype);
        return [x.max(), x.max(-1), x.max([0, 1], { keepDims: true })];
      }, 1e-6);
    await onEngine(engine, async () => {
      expect(await tensor([-5, -3, -128], undefined, 'int8').max().item()).toBe(-3);
    });
    await agrees(() => [sample([2, 0]).sum(1), sample([0, 2]).max(1), sample([0]).sum()]);
  });
  it('argMax, cumsum and topK take the first of equals', () =>
    agrees(() => {
      const x = tensor([1, 3, 3, 2, 2, 0, 2, 2], [2, 4]);
      const { values, indices } = x.topK(3);
      return [
        x.argMax(1),
        x.argMax(0, { keepDims: true }),
        sample([5], 'int8').argMax(0),
        values,
        indices,
        x.cumsum(1),
        x.cumsum(0, { exclusive: true }),
        x.cumsum(1, { reverse: true, exclusive: true }),
        sample([4], 'int32').cumsum(0),
      ];
    }));
  it('matmul with every flag, batches and scales', async () => {
    for (const dtype of ['float32', 'float16'] as const)
      await agrees(() => {
        const out: Tensor[] = [];
        for (const transposeA of [false, true])
          for (const transposeB of [false, true]) {
            const a = sample(transposeA ? [2, 5, 3] : [2, 3, 5], dtype);
            const b = sample(transposeB ? [4, 5] : [5, 4], dtype, 2);
            const batched = sample(transposeB ? [2, 4, 5] : [2, 5, 4], dtype, 2);
            out.push(a.matmul(b, { transposeA, transposeB }), a.matmul(batched, { transposeA, transposeB }).mul(0.5));
            out.push(a.transpose().matmul(b.transpose(), { transposeA: !transposeA, transposeB: !transposeB }).mul(3));
            out.push(a.matmul(batched, { transposeA, transposeB }).sum(0));
            out.push(a.matmul(batched, { transposeA, transposeB }).sum([0], { keepDims: true }));
          }
        out.push(sample([2, 1, 3, 5], dtype).matmul(sample([4, 5, 2], dtype)));
        const tall = sample([90, 5], dtype, 3);
        out.push(sample([2, 3, 5], dtype).matmul(tall, { transposeB: true }));
        out.push(sample([5], dtype).reshape([1, 5]).matmul(tall, { transposeB: true }).mul(2));
        out.push(sample([11, 5], dtype).matmul(tall.transpose()).mul(2));
        const shared = sample([3, 5], dtype).matmul(sample([5, 4], dtype));
        return [...out, shared.mul(2), shared.mul(sample([4], dtype)), shared];
      }, tolerances[dtype] ?? 4e-6);
    await agrees(() => [
      sample([2, 0]).matmul(sample([0, 3])),
      sample([0, 2]).matmul(sample([2, 3])),
      sample([2, 0])
        .matmul(sample([0, 3]))
        .mul(2),
      sample([2, 0, 3])
        .matmul(sample([2, 0, 4]), { transposeA: true })
        .sum(0),
    ]);
  });
  it('gather, scatterAdd and the along-axis ops', async () => {
    for (const dtype of computable)
      await agrees(() => {
        const x = sample([4, 3, 2], dtype);
        const indices = tensor([2, 0, 2, 1, 1, 2], [2, 3], 'int32');
        const along = tensor([2, 0, 0, 1], [2, 1, 2], 'int32');
        const rows = x.slice(0, 0, 2);
        return [
          x.gather(indices, 0),
          x.gather(indices, 1),
          scatterAdd(indices, sample([2, 3, 2], dtype), { axis: 0, size: 3 }),
          scatterAdd(indices, sample([2, 2, 3, 2], dtype), { axis: 1, size: 4 }),
          scatterAdd(indices.slice(0, 0, 0), sample([0, 3, 2], dtype), { axis: 0, size: 3 }),
          rows.takeAlongAxis(along, 1),
          addAlongAxis(along, sample([2, 1, 2], dtype), { axis: 1, size: 3 }),
          rows.putAlongAxis(along, sample([2, 1, 2], dtype, 7), 1),
          rows.putAlongAxis(along.slice(1, 0, 0), sample([2, 0, 2], dtype, 7), 1),
        ];
      }, tolerances[dtype] ?? 2e-6);
  });
  it('adds thousands of repeated rows without losing one', async () => {
    const indices = Array.from({ length: 20_000 }, (_, i) => i % 3);
    await onEngine(engine, async () => {
      const sums = scatterAdd(tensor(indices, undefined, 'int32'), full([20_000, 8], 1), { axis: 0, size: 3 });
      expect(new Set(await sums.toArray())).toEqual(new Set([6667, 6666]));
    });
  });
  it('draws the same random bits', async () => {
    for (const shape of [[7], [2, 4], [1], [0], [20, 33]])
      await agrees(() => apply('randomBits', [tensor([123456789, -5], undefined, 'int32')], { shape }), 0);
  });
});

describe('fused kernels', () => {
  it('equal their decompositions', async () => {
    for (const dtype of ['float32', 'float16'] as const)
      await agrees(
        () => {
          const x = sample([2, 3, 8], dtype);
          const [weight, bias] = [sample([8], dtype, 2), sample([8], dtype, 3)];
          const heads = sample([2, 4, 3, 8], dtype);
          const angles = sample([2, 3, 4], dtype, 5);
          const one = angles.slice(0, 0, 1);
          return [
            softmax(x),
            rmsNorm(x, weight, { epsilon: 1e-5 }),
            layerNorm(x, weight, bias, { epsilon: 1e-5 }),
            rotary(heads, angles.cos(), angles.sin()),
            rotary(heads, one.cos(), one.sin()),
            rotary(
              sample([1, 1, 1, 2], dtype),
              angles.slice(0, 0, 1).slice(1, 0, 1).slice(2, 0, 1),
              one.slice(1, 0, 1).slice(2, 1, 2),
            ),
            attention(heads, heads.slice(1, 0, 2), heads.slice(1, 2, 4), sample([1, 1, 3, 3], dtype), { scale: 0.3 }),
          ];
        },
        dtype === 'float16' ? 8e-3 : 4e-6,
      );
  });

  it('gradients of a small block equal the reference', () =>
    agrees(() => {
      const w = sample([6, 8], 'float32', 2);
      const { value, gradient } = valueAndGrad((p: { w: Tensor; n: Tensor }) => {
        const hidden = rmsNorm(sample([2, 3, 8]), p.n, { epsilon: 1e-6 }).matmul(p.w, { transposeB: true });
        const { logProbs, entropies } = tokenLogProbs(
          hidden.reshape([6, 6]),
          sample([10, 6], 'float32', 3),
          tensor([0, 9, 3, 3, 1, 5], undefined, 'int32'),
          { chunkSize: 4 },
        );
        return logProbs.mean().add(entropies.mean().mul(0.1));
      })({ w, n: sample([8], 'float32', 4) });
      return [value, gradient.w, gradient.n];
    }, 1e-5));
});

describe('donation', () => {
  it('writes over the donated input where every other reader comes first', async () => {
    await onEngine(engine, async () => {
      const step = compile((state: Tensor, x: Tensor) => ({ state: state.mul(0.5).add(x), loss: state.sum() }), {
        donate: { 0: 'state' },
      });
      const plain = compile((state: Tensor, x: Tensor) => state.mul(0.5).add(x));
      let [a, b] = [sample([64]), sample([64])];
      for (let i = 0; i < 4; i++) {
        const x = sample([64], 'float32', i);
        b = await plain(b, x);
        a = (await step(a, x)).state;
        expect(await a.toArray()).toEqual(await b.toArray());
      }
    });
  });

  it('never writes over memory that the caller gave or was shown', async () => {
    await onEngine(engine, async () => {
      const step = compile((state: Tensor) => ({ state: state.add(1) }), { donate: { 0: 'state' } });
      const mine = Float32Array.of(1, 2, 3);
      const first = (await step(tensor(mine))).state;
      const shown = await first.data();
      const second = (await step(first)).state;
      const third = (await step(second)).state;
      expect([...mine]).toEqual([1, 2, 3]);
      expect([...shown]).toEqual([2, 3, 4]);
      expect(await third.toArray()).toEqual([4, 5, 6]);
    });
  });

  it('swaps with a spare buffer where an input is still read, and passes inputs through', async () => {
    await onEngine(engine, async () => {
      const step = compile(
        (state: { w: Tensor; kept: Tensor }, x: Tensor) => {
          const y = x.matmul(state.w);
          return { state: { w: y.matmul(state.w), kept: state.kept }, y, late: state.kept.mul(2), again: y };
        },
        { donate: { 0: 'state' } },
      );
      let state = { w: tensor([1, 1, 0, 1], [2, 2]), kept: tensor([5]) };
      const x = tensor([1, 0, 0, 1], [2, 2]);
      for (const power of [2, 4, 8]) {
        const result = await step(state, x);
        state = result.state;
        expect(await result.state.w.toArray()).toEqual([1, power, 0, 1]);
        expect(await result.y.toArray()).toEqual([1, power / 2, 0, 1]);
        expect(await result.again.toArray()).toEqual([1, power / 2, 0, 1]);
        expect([await state.kept.item(), await result.late.item()]).toEqual([5, 10]);
      }
    });
  });
});

describe('host memory', () => {
  it('that tensors are made over one after the other is read as it is now, in any shape and type', async () => {
    await onEngine(engine, async () => {
      const total = compile((x: Tensor) => x.cast('float32').sum([0]));
      const ints = Int32Array.of(1, 2, 3, 4);
      const bytes = Uint8Array.of(0, 1, 1, 0);
      expect(await (await total(tensor(ints))).item()).toBe(10);
      ints.set([5, 6, 7, 8]);
      expect(await (await total(tensor(ints))).item()).toBe(26);
      expect(await (await total(tensor(ints, [2, 2]))).toArray()).toEqual([12, 14]);
      expect(await (await total(tensor(ints))).item()).toBe(26);
      expect(await (await total(tensor(bytes))).item()).toBe(2);
      expect(await (await total(tensor(bytes, [4], 'bool'))).item()).toBe(2);
    });
  });
});

describe('cachedAttention', () => {
  const capacity = 8;
  const inputs = (length: number, seed: number) => ({
    q: sample([2, 4, length, 8], 'float32', seed),
    k: sample([2, 2, length, 8], 'float32', seed + 1),
    v: sample([2, 2, length, 8], 'float32', seed + 2),
  });
  const decode = (donated: boolean) =>
    compile(
      (cache: { keys: Tensor; values: Tensor }, x: ReturnType<typeof inputs>, lengths: Tensor) => {
        const past = { pastKeys: cache.keys, pastValues: cache.values, lengths };
        const { output, keys, values } = cachedAttention({ ...x, ...past }, { scale: 0.3 });
        return { output, cache: { keys, values } };
      },
      donated ? { donate: { 0: 'cache' } } : {},
    );

  it('in place equals the decomposition on the reference engine, for rows of different length', async () => {
    const run = async (donated: boolean) => {
      const f = decode(donated);
      let cache = {
        keys: sample([2, 2, capacity, 8], 'float32', 11),
        values: sample([2, 2, capacity, 8], 'float32', 12),
      };
      const seen: number[][] = [];
      for (const [i, lengths] of [
        [0, 0],
        [3, 1],
        [4, 2],
        [5, 7],
      ].entries()) {
        const result = await f(cache, inputs(i === 0 ? 3 : 1, 20 + i), tensor(lengths, undefined, 'int32'));
        cache = result.cache;
        seen.push(await result.output.toArray(), await cache.keys.toArray(), await cache.values.toArray());
      }
      return seen;
    };
    const expected = await onEngine(referenceEngine(), () => run(false));
    for (const donated of [true, false]) {
      const got = await onEngine(engine, () => run(donated));
      for (const [k, numbers] of got.entries())
        for (const [i, x] of numbers.entries())
          expect(Math.abs(x - expected[k]![i]!), `${donated} ${k} ${i}`).toBeLessThan(2e-6);
    }
  });
});

describe('errors', () => {
  it('names an unknown option and refuses buffers of another engine', async () => {
    expect(() => onnxruntimeEngine({ thread: 2 } as object)).toThrow(/thread.*Did you mean "threads"/s);
    const other = await referenceEngine().upload(Float32Array.of(1), { shape: [], dtype: 'float32' });
    await expect(engine.read(other)).rejects.toThrow(/another engine/);
  });
});
