import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  addAlongAxis,
  compile,
  defineOp,
  type Engine,
  type EngineBuffer,
  grad,
  referenceEngine,
  setEngine,
  type Tensor,
  tensor,
  zeros,
} from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { testOp } from '../src/testing/index.js';

const engines: readonly (readonly [string, () => Engine])[] = [
  ['onnxruntime', () => onnxruntimeEngine({ threads: 1 })],
  ['reference', referenceEngine],
];

afterEach(() => setEngine(onnxruntimeEngine({ threads: 1 })));

/** Rows in ascending order, and the positions that the elements come from: there is no such primitive. */
const sortRows = defineOp<{ readonly descending: boolean }>({
  name: 'test/sort-rows',
  infer: ([x]) => [x!, { shape: x!.shape, dtype: 'int32' }],
  lower: {
    host: ([x], { descending }) => {
      const width = x!.shape.at(-1)!;
      const positions = Int32Array.from(x!.data, (_, i) => i % width);
      for (let start = 0; start < positions.length; start += width) {
        const row = x!.data.subarray(start, start + width);
        positions.subarray(start, start + width).sort((a, b) => (descending ? row[b]! - row[a]! : row[a]! - row[b]!));
      }
      return [Array.from(positions, (at, i) => x!.data[i - (i % width) + at]!), positions];
    },
  },
  vjp: ({ inputs: [x], outputs: [, positions], cotangents: [dy] }) => [
    dy && addAlongAxis(positions!, dy, { axis: -1, size: x!.shape.at(-1)! }),
  ],
});
const ascending = (x: Tensor): Tensor => sortRows([x], { descending: false })[0]!;

/** x · tanh(log(1 + eˣ)): an ONNX op of its own. */
const written = vi.fn();
const mish = defineOp({
  name: 'test/mish',
  infer: ([x]) => [x!],
  lower: {
    onnxruntime: ({ inputs, op }) => {
      written();
      return op('Mish', [inputs[0]!.name]);
    },
  },
  vjp: ({ inputs: [x], cotangents: [dy] }) => {
    const t = x!.exp().add(1).log().tanh();
    return [dy!.mul(t.add(x!.mul(x!.sigmoid()).mul(t.square().neg().add(1))))];
  },
});

describe.each(engines)('an op with a host forward only, on %s', (_, create) => {
  const x = () =>
    tensor([
      [3, 1, 2],
      [-1, 5, 0],
    ]);

  it('computes, eagerly, all its outputs', async () => {
    setEngine(create());
    const [values, positions] = sortRows([x().mul(2)], { descending: true });
    expect(await values!.add(1).toArray()).toEqual([7, 5, 3, 11, 1, -1]);
    expect(await positions!.toArray()).toEqual([0, 2, 1, 1, 2, 0]);
    expect(positions!.dtype).toBe('int32');
  });

  it('has a gradient, between primitives before and after it, in a compiled function', async () => {
    setEngine(create());
    const weights = tensor([10, 100, 1000]);
    const gradient = compile(grad((v: Tensor) => ascending(v.neg()).mul(weights).sum()));
    // -3 < -2 < -1, and -5 < 0 < 1.
    expect(await (await gradient(x())).toArray()).toEqual([-10, -1000, -100, -1000, -10, -100]);
    expect(await (await gradient(x())).toArray()).toEqual([-10, -1000, -100, -1000, -10, -100]);
  });

  it('runs behind another, behind a constant, and twice as one output', async () => {
    setEngine(create());
    const f = compile((v: Tensor) => {
      const once = ascending(v);
      return [ascending(once.neg()), once, once, ascending(zeros([1, 2])), v];
    });
    const results = await f(x());
    const read = await Promise.all(results.map((y) => y.toArray()));
    expect(read).toEqual(
      [
        [-3, -2, -1, -5, 0, 1],
        [1, 2, 3, -1, 0, 5],
        [1, 2, 3, -1, 0, 5],
        [0, 0],
        [3, 1, 2, -1, 5, 0],
      ].map((row) => row.map((value) => expect.closeTo(value, 6))),
    );
  });

  it.each(['float32', 'float16', 'bfloat16', 'int8', 'bool'] as const)(
    'sees and gives numbers of %s',
    async (dtype) => {
      setEngine(create());
      const twice = defineOp({
        name: 'test/twice',
        infer: ([v]) => [v!],
        lower: { host: ([v]) => [Array.from(v!.data, (value) => value * 2)] },
      });
      const [y] = twice([tensor([0, 1, 1]).cast(dtype)]);
      expect(await y!.toArray()).toEqual(dtype === 'bool' ? [0, 1, 1] : [0, 2, 2]);
    },
  );

  it('gives memory of its own when it returns its input', async () => {
    setEngine(create());
    const same = defineOp({
      name: 'test/same',
      infer: ([v]) => [v!],
      lower: { host: ([v]) => [v!.data] },
    });
    const step = compile((state: Tensor) => ({ state: state.add(1), before: same([state])[0]! }), {
      donate: { 0: 'state' },
    });
    let state = zeros([3]).add(1);
    const seen: Tensor[] = [];
    for (let i = 0; i < 3; i++) {
      const result = await step(state);
      state = result.state;
      seen.push(result.before);
    }
    expect(await Promise.all(seen.map((y) => y.toArray()))).toEqual([
      [1, 1, 1],
      [2, 2, 2],
      [3, 3, 3],
    ]);
  });

  it('gives the same with its arguments donated, before, at and behind the host', async () => {
    setEngine(create());
    const body = (state: { a: Tensor; b: Tensor; c: Tensor }) => {
      const sorted = ascending(state.a);
      // a: read by the host, written after it. b: written before it. c: given by the host, read after it.
      return { state: { a: state.a.add(sorted.mul(state.c)), b: state.b.mul(2), c: sorted } };
    };
    const plain = compile(body);
    const donating = compile(body, { donate: { 0: 'state' } });
    const start = () => ({ a: x(), b: x().add(1), c: x().sub(2) });
    let [wanted, got] = [start(), start()];
    for (let i = 0; i < 4; i++) {
      wanted = (await plain(wanted)).state;
      got = (await donating(got)).state;
    }
    for (const key of ['a', 'b', 'c'] as const) expect(await got[key].toArray()).toEqual(await wanted[key].toArray());
  });
});

describe('an op with a forward for one engine', () => {
  it('runs by it there, forward and gradient', async () => {
    setEngine(onnxruntimeEngine({ threads: 1 }));
    written.mockClear();
    const f = (x: Tensor) => mish([x])[0]!.sum();
    const gradient = compile(grad(f));
    const [y] = await f(tensor([0.7])).toArray();
    expect(y).toBeCloseTo(0.7 * Math.tanh(Math.log1p(Math.exp(0.7))), 6);
    expect(written).toHaveBeenCalledTimes(1);
    const at = (x: number) => x * Math.tanh(Math.log1p(Math.exp(x)));
    expect((await (await gradient(tensor([0.7]))).toArray())[0]).toBeCloseTo((at(0.701) - at(0.699)) / 0.002, 5);
  });

  it('says so where another engine is in use', async () => {
    setEngine(referenceEngine());
    await expect(mish([tensor([1])])[0]!.data()).rejects.toThrow(
      /reference: nothing computes test\/mish here \(its forwards: onnxruntime\)\. Add lower\.reference/,
    );
  });

  it('prefers it to the decomposition, and that to the host', async () => {
    const calls: string[] = [];
    const both = defineOp<{ readonly which: string }>({
      name: 'test/preference',
      infer: ([x]) => [x!],
      decompose: ([x]) => {
        calls.push('decompose');
        return [x!.neg()];
      },
      lower: {
        host: ([x]) => [x!.data],
        onnxruntime: ({ inputs, op, constant, config }) => {
          calls.push(config.which);
          return op('Sub', [constant('float32', [], [0]), inputs[0]!.name]);
        },
      },
    });
    for (const [, create] of engines) {
      setEngine(create());
      expect(await both([tensor([2])], { which: 'onnxruntime' })[0]!.item()).toBe(-2);
    }
    expect(calls).toEqual(['onnxruntime', 'decompose']);
  });

  it('passes attributes, outputs and a domain', async () => {
    setEngine(onnxruntimeEngine({ threads: 1 }));
    const op = defineOp({
      name: 'test/biggest',
      infer: ([x]) => [
        { shape: [2], dtype: x!.dtype },
        { shape: [1], dtype: x!.dtype },
      ],
      lower: {
        onnxruntime: ({ inputs, op: add, constant }) => {
          const name = inputs[0]!.name;
          const [values] = add('TopK', [name, constant('int64', [1], [2])], { attributes: { axis: 0 }, outputs: 2 });
          const [scaled] = add('QuickGelu', [name], { attributes: { alpha: { float: 0 } }, domain: 'com.microsoft' });
          return [values!, add('ReduceSum', [scaled!])[0]!];
        },
      },
    });
    const [top, half] = op([tensor([4, 6, 2]).reshape([3])]);
    expect(await top!.toArray()).toEqual([6, 4]);
    expect(await half!.toArray()).toEqual([6]);
  });
});

describe('a definition or a use that is wrong', () => {
  const base = { name: 'test/x', infer: ([x]: readonly unknown[]) => [x as never], lower: { host: () => [[1]] } };
  it.each([
    ['a name without owner', { ...base, name: 'softmax' }, /owner\/name/],
    ['no infer', { ...base, infer: undefined }, /infer must be a function/],
    ['no way to compute', { ...base, lower: {} }, /nothing computes it/],
    ['a forward that is no function', { ...base, lower: { onnxruntime: 'Mish' } }, /lower\.onnxruntime must be/],
    ['an unknown key', { ...base, forward: () => [] }, /unknown option "forward"/],
  ])('throws: %s', (_, op, message) => {
    expect(() => defineOp(op as never)).toThrow(message);
  });

  it.each([
    ['too few outputs', [], /must return an array of outputs, of shapes \[2\]/],
    ['an output of another size', [[1]], /output 0 has 1 elements, not those of \[2\]/],
  ])('throws where the host function gives %s', async (_, result, message) => {
    const op = defineOp({ name: 'test/x', infer: ([x]) => [x!], lower: { host: () => result } });
    await expect(op([tensor([1, 2])])[0]!.data()).rejects.toThrow(message);
  });

  it('names the op whose host function throws', async () => {
    const host = () => {
      throw new Error('no luck');
    };
    const op = defineOp({ name: 'test/x', infer: ([x]) => [x!], lower: { host } });
    await expect(op([tensor([1])])[0]!.data()).rejects.toThrow(/lower\.host of test\/x failed: no luck/);
  });

  it('throws for a gradient through an op that has none', () => {
    const op = defineOp({ name: 'test/x', infer: ([x]) => [x!], lower: { host: ([x]) => [x!.data] } });
    expect(() => grad((x: Tensor) => op([x])[0]!.sum())(tensor([1]))).toThrow(/test\/x has no gradient/);
  });

  it('throws for a configuration that two applications could not be told apart by', () => {
    const op = defineOp<{ f: unknown }>({ name: 'test/x', infer: ([x]) => [x!], lower: { host: ([x]) => [x!.data] } });
    expect(() => op([tensor([1])], { f: [Math.sin] })).toThrow(/config\.f\[0\] is not plain data/);
    expect(() => op([tensor([1])], { f: new Float32Array(1) })).toThrow(/config\.f is not plain data/);
  });

  it('tells infinite and missing numbers of a configuration apart', async () => {
    const op = defineOp<{ value: number | null }>({
      name: 'test/x',
      infer: ([x]) => [x!],
      lower: { host: (_, { value }) => [[Number(value)]] },
    });
    const [x, values] = [tensor([1]), [null, Number.POSITIVE_INFINITY, Number.NaN]];
    const results = values.map((value) => op([x], { value })[0]!);
    const sum = compile((...ys: Tensor[]) => ys);
    expect(await Promise.all((await sum(...results)).map((y) => y.item()))).toEqual([
      0,
      Number.POSITIVE_INFINITY,
      Number.NaN,
    ]);
    const together = compile((v: Tensor) => values.map((value) => op([v], { value })[0]!));
    expect(await Promise.all((await together(x)).map((y) => y.item()))).toEqual([
      0,
      Number.POSITIVE_INFINITY,
      Number.NaN,
    ]);
  });
});

it('frees what lies between the stages, and donated memory that no stage takes over', async () => {
  const inner = referenceEngine();
  const alive = new Set<EngineBuffer>();
  const track = <T extends EngineBuffer>(buffer: T): T => {
    alive.add(buffer);
    return buffer;
  };
  setEngine({
    ...inner,
    upload: async (data, spec) => track(await inner.upload(data, spec)),
    free: (buffer) => {
      if (!alive.delete(buffer)) throw new Error('freed twice, or never made');
    },
    compile: async (graph, options) => {
      const executable = await inner.compile(graph, options);
      return {
        ...executable,
        run: async (inputs) => {
          const outputs = (await executable.run(inputs)).map(track);
          for (const { input } of options.donations) alive.delete(inputs[input]!);
          return outputs;
        },
      };
    },
  });
  const step = compile(
    (state: { a: Tensor; b: Tensor }) => {
      const sorted = ascending(state.a.exp());
      return { state: { a: ascending(sorted.neg()), b: state.b.add(sorted.sum()) } };
    },
    { donate: { 0: 'state' } },
  );
  let state = { a: tensor([[0.1, 0.2]]), b: tensor([1]) };
  for (let i = 0; i < 3; i++) state = (await step(state)).state;
  expect(alive.size).toBe(2);
});

describe('testOp', () => {
  testOp(it, 'sortRows', (x) => ascending(x!), { inputs: [[[2, 5]], [[0, 4]], [[1]]] });

  const square = (slope: number, isRight: boolean) =>
    defineOp({
      name: `test/square-${slope}-${isRight}`,
      infer: ([x]) => [x!],
      decompose: ([x]) => [x!.square()],
      lower: {
        onnxruntime: ({ inputs: [x], op }) => (isRight ? op('Mul', [x!.name, x!.name]) : op('Abs', [x!.name])),
      },
      vjp: ({ inputs: [x], cotangents: [dy] }) => [dy!.mul(x!.mul(slope))],
    });
  it.each([
    ['nothing where nothing is wrong', 2, true, []],
    ['a gradient that is not of the values', 3, true, ['has the gradient of its values']],
    ['another value on another engine', 2, false, ['gives what it gives on the reference engine']],
  ] as const)('finds %s', async (_, slope, isRight, wanted) => {
    const checks: [string, () => Promise<void>][] = [];
    const one = square(slope, isRight);
    testOp(
      (name, body) => checks.push([name, body]),
      'square',
      (x) => one([x!]),
      { inputs: [[[2, 3]]] },
    );
    expect(checks).toHaveLength(4);
    const failed = new Set<string>();
    for (const [name, body] of checks) await body().catch(() => failed.add(name.replace(/^.*?(gives|has) /, '$1 ')));
    expect([...failed]).toEqual(wanted);
  });
});
