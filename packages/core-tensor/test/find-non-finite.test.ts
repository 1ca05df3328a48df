import { describe, expect, it } from 'vitest';
import {
  checkpoint,
  describeNonFinite,
  type Engine,
  findNonFinite,
  grad,
  nameScope,
  referenceEngine,
  softmax,
  type Tensor,
  tensor,
  valueAndGrad,
  where,
} from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { onEngine } from '../src/testing/on-engine.js';

const engines: [string, Engine][] = [
  ['reference', referenceEngine()],
  ['onnxruntime', onnxruntimeEngine({ threads: 1 })],
];

const x = () => tensor([1, 2, 3]);

describe.each(engines)('findNonFinite on %s', (_, engine) => {
  const find = <Args extends readonly unknown[]>(f: (...args: Args) => unknown, args: Args, names?: string[]) =>
    onEngine(engine, () => findNonFinite(f, args, names));

  it('says nothing of what is finite', async () => {
    expect(await find((a: Tensor) => [a.exp(), a.sum()], [x()])).toBeUndefined();
  });
  it('finds a logarithm of zero by its module, op, shape and inputs', async () => {
    const f = (a: Tensor) => {
      const y = nameScope('model.layers.3.mlp', () => a.sub(2).log());
      return nameScope('model.layers.4', () => y.mul(2).add(1).sum());
    };
    const found = await find(f, [x()]);
    expect(found).toEqual({
      op: 'log',
      name: 'model.layers.3.mlp',
      shape: [3],
      nan: 1,
      infinite: 1,
      smallest: 0,
      largest: 0,
      inputs: [{ shape: [3], nan: 0, infinite: 0, smallest: -1, largest: 1 }],
    });
    expect(describeNonFinite(found!)).toBe(
      'log in model.layers.3.mlp [3] has 1 NaN and 1 infinite of 3 numbers, the others 0.00 to 0.00, computed from [3] (-1.00 to 1.00)',
    );
  });
  it('names an argument that is not finite by its path', async () => {
    const weights = { 'q_proj.weight': tensor([1, Number.NaN, Number.POSITIVE_INFINITY]), other: x() };
    const f = (a: Tensor, w: typeof weights) => a.mul(w['q_proj.weight']).add(w.other).exp().sum();
    const found = await find(f, [x(), weights], ['rows', 'weights']);
    expect(found).toMatchObject({ op: 'argument', name: 'weights.q_proj.weight', nan: 1, infinite: 1, smallest: 1 });
    expect(await find((a: Tensor) => a.add(1), [tensor([Number.NaN])])).toMatchObject({ name: 'argument 0' });
  });
  it('says when a captured tensor is not finite', async () => {
    const constant = tensor([1, Number.NaN]);
    expect(await find((a: Tensor) => a.slice(0, 0, 2).mul(constant), [x()])).toMatchObject({ op: 'constant', nan: 1 });
  });
  it('passes over an infinity that a mask removes', async () => {
    const masked = (a: Tensor) => where(a.less(2), 0, a.sub(1).log());
    expect(await find(masked, [x()])).toBeUndefined();
    const found = await find((a: Tensor) => masked(a).sub(4).sqrt().sum(), [x()]);
    expect(found).toMatchObject({ op: 'sqrt', nan: 3 });
  });
  it('finds the mask whose gradient is not a number', async () => {
    const f = grad((a: Tensor) => nameScope('mask', () => where(a.less(2), 0, a.sub(1).sqrt())).sum());
    const found = await find(f, [x()]);
    // √0 has an infinite slope, and the mask multiplies it by 0.
    expect(found).toMatchObject({ op: 'div', name: 'gradient of mask', nan: 1 });
  });
  it('finds an overflow inside a kernel, a checkpoint and a gradient', async () => {
    const layer = (i: number) => (y: Tensor) =>
      nameScope(`layer.${i}`, () => softmax(y.mul(i === 2 ? 1e3 : 0.1).exp()).add(y));
    for (const wrap of [(f: (y: Tensor) => Tensor) => f, checkpoint]) {
      const loss = (a: Tensor) => [0, 1, 2, 3].reduce((y, i) => wrap(layer(i))(y), a).sum();
      const found = await find((a: Tensor) => valueAndGrad(loss)(a), [x()]);
      expect(found).toMatchObject({ op: 'exp', name: 'layer.2', shape: [3] });
      expect(found!.infinite).toBeGreaterThan(0);
    }
    const found = await find((a: Tensor) => nameScope('attention', () => softmax(a.mul(0).sub(x()).log())), [x()]);
    expect(found).toMatchObject({ op: 'log', name: 'attention', nan: 3 });
  });
});

// The reference engine computes in float64, where these do not overflow.
describe('findNonFinite in half precision', () => {
  it('counts what does not fit', async () => {
    const f = (a: Tensor) =>
      nameScope('half', () => a.cast('float16').mul(30000))
        .cast('float32')
        .sum();
    for (const [, engine] of engines) {
      const found = await onEngine(engine, () => findNonFinite(f, [x()]));
      expect(found).toMatchObject({ op: 'mul', name: 'half', infinite: 1, smallest: 30000, largest: 60000 });
    }
  });
});
