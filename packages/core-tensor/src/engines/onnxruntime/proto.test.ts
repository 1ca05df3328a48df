import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { findsSafeOverwrites } from './donation.js';
import { encodeModel, type OnnxAttribute, type OnnxGraph, type OnnxNode, type OnnxType } from './proto.js';

async function run(graph: OnnxGraph, feeds: Record<string, Tensor>) {
  const session = await InferenceSession.create(encodeModel(graph));
  return session.run(feeds);
}

/** Runs one node on float inputs `x0, x1, …` and returns its single float output. */
async function runNode(op: string, attributes: Record<string, OnnxAttribute>, inputs: Tensor[], type: OnnxType) {
  const names = inputs.map((_, i) => `x${i}`);
  const node: OnnxNode = { op, inputs: names, outputs: ['y'], attributes };
  const graph = {
    nodes: [node],
    inputs: inputs.map((tensor, i) => ({ name: `x${i}`, type: tensor.type as OnnxType, shape: tensor.dims })),
    outputs: [{ name: 'y', type }],
  };
  const { y } = await run(graph, Object.fromEntries(inputs.map((tensor, i) => [`x${i}`, tensor])));
  return y!;
}

const float = (values: number[], dims: number[]) => new Tensor('float32', Float32Array.from(values), dims);

describe('encodeModel', () => {
  const samples: [OnnxType, ArrayBufferView & { length: number }][] = [
    ['float32', Float32Array.of(1.5, -2, 3)],
    ['float16', Uint16Array.of(0x3c00, 0xc000, 0x4200)],
    ['int32', Int32Array.of(1, -2, 2 ** 31 - 1)],
    ['int64', BigInt64Array.of(1n, -2n, 1n << 62n)],
    ['int8', Int8Array.of(1, -2, 127)],
    ['uint8', Uint8Array.of(1, 2, 255)],
    ['bool', Uint8Array.of(1, 0, 1)],
    ['uint32', Uint32Array.of(1, 2, 2 ** 32 - 1)],
    ['float64', Float64Array.of(1.5, -2, 1e300)],
  ];
  it.each(samples)('passes %s initializers and inputs through unchanged', async (type, data) => {
    const graph: OnnxGraph = {
      nodes: [
        { op: 'Identity', inputs: ['constant'], outputs: ['fromInitializer'] },
        { op: 'Identity', inputs: ['x'], outputs: ['fromInput'] },
      ],
      initializers: { constant: { type, shape: [data.length], data } },
      inputs: [{ name: 'x', type, shape: ['n'] }],
      outputs: [
        { name: 'fromInitializer', type, shape: [data.length] },
        { name: 'fromInput', type },
      ],
    };
    const result = await run(graph, { x: new Tensor(type as 'float32', data as Float32Array, [data.length]) });
    for (const name of ['fromInitializer', 'fromInput']) {
      expect(result[name]!.type).toBe(type);
      const { buffer, byteOffset, byteLength } = result[name]!.data as Float32Array;
      expect(new Uint8Array(buffer, byteOffset, byteLength)).toEqual(new Uint8Array(data.buffer));
    }
  });

  it('writes int, float, string, ints, floats, strings, tensor and graph attributes', async () => {
    const x = float([-1, 2, -3, 4, -5, 6], [2, 3]);
    expect((await runNode('LeakyRelu', { alpha: { float: 0.5 } }, [x], 'float32')).data).toEqual(
      Float32Array.of(-0.5, 2, -1.5, 4, -2.5, 6),
    );
    expect((await runNode('Transpose', { perm: { ints: [1, 0] } }, [x], 'float32')).dims).toEqual([3, 2]);
    expect((await runNode('Flatten', { axis: { int: -1 } }, [x], 'float32')).dims).toEqual([2, 3]);
    expect((await runNode('Flatten', { axis: { int: 0n } }, [x], 'float32')).dims).toEqual([1, 6]);
    expect((await runNode('Constant', { value_floats: { floats: [0.25, -8] } }, [], 'float32')).data).toEqual(
      Float32Array.of(0.25, -8),
    );
    const value = { type: 'int64' as const, shape: [1, 2], data: BigInt64Array.of(7n, -7n) };
    const constant = await runNode('Constant', { value: { tensor: value } }, [], 'int64');
    expect([constant.dims, constant.data]).toEqual([[1, 2], value.data]);
    const indices = new Tensor('int64', BigInt64Array.of(1n, 1n, 0n), [1, 3]);
    const updates = float([10, 20, 30], [1, 3]);
    const scattered = await runNode(
      'ScatterElements',
      { axis: { int: 0 }, reduction: { string: 'add' } },
      [x, indices, updates],
      'float32',
    );
    expect(scattered.data).toEqual(Float32Array.of(-1, 2, 27, 14, 15, 6));

    const branch = (name: string): OnnxGraph => ({
      nodes: [{ op: 'Identity', inputs: [name], outputs: ['chosen'] }],
      inputs: [],
      outputs: [{ name: 'chosen', type: 'float32', shape: [1] }],
    });
    const graph: OnnxGraph = {
      nodes: [
        {
          op: 'If',
          inputs: ['condition'],
          outputs: ['y'],
          // Outer values are visible inside the branches by name.
          attributes: { then_branch: { graph: branch('a') }, else_branch: { graph: branch('b') } },
        },
      ],
      inputs: [
        { name: 'condition', type: 'bool', shape: [] },
        { name: 'a', type: 'float32', shape: [1] },
        { name: 'b', type: 'float32', shape: [1] },
      ],
      outputs: [{ name: 'y', type: 'float32' }],
    };
    const feeds = { condition: new Tensor('bool', [false], []), a: float([1], [1]), b: float([2], [1]) };
    expect((await run(graph, feeds)).y!.data).toEqual(Float32Array.of(2));
  });

  it('writes strings attributes, multi-byte names and omitted optional inputs and outputs', async () => {
    const graph: OnnxGraph = {
      nodes: [
        { op: 'Constant', inputs: [], outputs: ['words'], attributes: { value_strings: { strings: ['a', 'β', ''] } } },
        { op: 'Shape', inputs: ['words'], outputs: ['größe'] },
        { op: 'Clip', inputs: ['x', '', 'high'], outputs: ['clipped'] },
        { op: 'LayerNormalization', inputs: ['x', 'scale'], outputs: ['normalized', '', 'inverseDeviation'] },
      ],
      initializers: {
        high: { type: 'float32', shape: [], data: Float32Array.of(2) },
        scale: { type: 'float32', shape: [3], data: Float32Array.of(1, 1, 1) },
      },
      inputs: [{ name: 'x', type: 'float32', shape: [3] }],
      outputs: [
        { name: 'größe', type: 'int64' },
        { name: 'clipped', type: 'float32' },
        { name: 'inverseDeviation', type: 'float32' },
      ],
    };
    const result = await run(graph, { x: float([-9, 1, 5], [3]) });
    expect(result.größe!.data).toEqual(BigInt64Array.of(3n));
    expect(result.clipped!.data).toEqual(Float32Array.of(-9, 1, 2));
    expect(Number(result.inverseDeviation!.data[0])).toBeCloseTo(1 / Math.sqrt((81 + 1 + 25) / 3 - 1 + 1e-5), 5);
  });

  it('runs com.microsoft ops', async () => {
    const graph: OnnxGraph = {
      nodes: [
        {
          op: 'FusedMatMul',
          domain: 'com.microsoft',
          inputs: ['a', 'b'],
          outputs: ['y'],
          attributes: { transB: { int: 1 }, alpha: { float: 2 } },
        },
      ],
      inputs: [
        { name: 'a', type: 'float32', shape: [1, 2] },
        { name: 'b', type: 'float32', shape: [2, 2] },
      ],
      outputs: [{ name: 'y', type: 'float32', shape: [1, 2] }],
    };
    const result = await run(graph, { a: float([1, 2], [1, 2]), b: float([3, 4, 5, 6], [2, 2]) });
    expect(result.y!.data).toEqual(Float32Array.of(22, 34));
  });
});

type Row = readonly [op: string, inputs: readonly string[], outputs: readonly string[], spreads?: readonly number[]];

/** Whether `out` may be written over `in`, both [4] unless `shapes` says otherwise. */
function isSafe(rows: readonly Row[], shapes: Record<string, number[]> = {}): boolean {
  const nodes: OnnxNode[] = rows.map(([op, inputs, outputs, spreads]) => ({
    ...{ op, inputs, outputs },
    ...(spreads ? { attributes: { spreads: { ints: spreads }, dims: { ints: [2, 2] } } } : {}),
  }));
  const value = (name: string) => ({ name, type: 'float32' as const, shape: shapes[name] ?? [4] });
  return findsSafeOverwrites({ nodes, inputs: ['in', 'x'].map(value), outputs: ['out', 'y'].map(value) })('in', 'out');
}

describe('findsSafeOverwrites', () => {
  it('allows element by element updates, also after other reads that the update needs', () => {
    expect(isSafe([['Add', ['in', 'x'], ['out']]])).toBe(true);
    expect(
      isSafe([
        ['Mul', ['in', 'in'], ['a']],
        ['Sub', ['in', 'a'], ['out']],
      ]),
    ).toBe(true);
    expect(
      isSafe([
        ['MatMul', ['in', 'x'], ['a']],
        ['Add', ['a', 'x'], ['out']],
      ]),
    ).toBe(true);
    expect(isSafe([['Neg', ['x'], ['out']]])).toBe(true);
    expect(
      isSafe([
        ['Identity', ['in'], ['out']],
        ['MatMul', ['in', 'x'], ['y']],
      ]),
    ).toBe(true);
  });

  it('refuses while another node may still read the input, itself or through a view', () => {
    expect(
      isSafe([
        ['Add', ['in', 'x'], ['out']],
        ['Neg', ['in'], ['y']],
      ]),
    ).toBe(false);
    expect(
      isSafe([
        ['Reshape', ['in', 'x'], ['v']],
        ['Neg', ['v'], ['y']],
        ['Add', ['in', 'x'], ['out']],
      ]),
    ).toBe(false);
    expect(
      isSafe([
        ['Identity', ['in'], ['y']],
        ['Add', ['in', 'x'], ['out']],
      ]),
    ).toBe(false);
    // What is behind a barrier is a view in a computed shape.
    const barrier: Row[] = [
      ['Shape', ['x'], ['s']],
      ['Concat', ['s', 'c'], ['t']],
      ['Reshape', ['in', 't'], ['v']],
    ];
    expect(isSafe([...barrier, ['Neg', ['v'], ['y']], ['Add', ['in', 'x'], ['out']]])).toBe(false);
    expect(isSafe([...barrier, ['Neg', ['v'], ['y']], ['Add', ['in', 'y'], ['out']]])).toBe(true);
  });

  it('refuses writers that read the input elsewhere than they write', () => {
    expect(isSafe([['MatMul', ['in', 'x'], ['out']]])).toBe(false);
    expect(
      isSafe([
        ['Reshape', ['in', 'x'], ['v']],
        ['Add', ['v', 'x'], ['out']],
      ]),
    ).toBe(false);
    expect(isSafe([['Add', ['in', 'x'], ['out']]], { in: [1], out: [4] })).toBe(false);
    expect(isSafe([['ScatterElements', ['x', 'i', 'in'], ['out']]])).toBe(false);
    expect(isSafe([['ScatterElements', ['in', 'i', 'x'], ['out']]])).toBe(true);
  });

  it('allows a chain what it reads as a whole, by any name, and refuses rows, columns and single numbers', () => {
    expect(isSafe([['Chain', ['in', 'x'], ['y', 'out'], [0, 1]]])).toBe(true);
    const view: Row = ['Reshape', ['in', 'x'], ['v']];
    expect(isSafe([view, ['Chain', ['v', 'in', 'x'], ['out'], [0, 0, 2]]])).toBe(true);
    for (const spread of [1, 2, 3]) {
      expect(isSafe([['Chain', ['in', 'x'], ['out'], [spread, 0]]])).toBe(false);
      expect(isSafe([view, ['Chain', ['in', 'v'], ['out'], [0, spread]]])).toBe(false);
      // A number a row, written over one.
      const ofRows = { in: [2, 1], out: [2, 1] };
      expect(isSafe([['Chain', ['x', 'in'], ['out'], [0, spread]]], ofRows)).toBe(spread === 1);
    }
    expect(isSafe([view, ['Chain', ['in'], ['out'], [0]], ['Neg', ['v'], ['y']]])).toBe(false);
  });

  it('refuses outputs that no node writes', () => {
    expect(isSafe([['Neg', ['x'], ['y']]])).toBe(false);
  });
});
