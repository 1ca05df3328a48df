import { beforeAll, describe, expect, it } from 'vitest';
import {
  compile,
  customVjp,
  grad,
  referenceEngine,
  scalar,
  setEngine,
  stopGradient,
  type Tensor,
  tensor,
  valueAndGrad,
  vjp,
  zeros,
} from '../src/index.js';

beforeAll(() => setEngine(referenceEngine()));

describe('grad', () => {
  it('differentiates a product and broadcasts back', async () => {
    const a = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const b = tensor([10, 20, 30]);
    const { value, gradient } = valueAndGrad((p: { a: Tensor; b: Tensor }) => p.a.mul(p.b).sum())({ a, b });
    expect(await (value as Tensor).item()).toBe(10 + 40 + 90 + 40 + 100 + 180);
    expect(await gradient.b.toArray()).toEqual([5, 7, 9]);
  });
  it('differentiates a gradient', async () => {
    const cube = (x: Tensor) => x.mul(x).mul(x).sum();
    const second = grad((x: Tensor) => grad(cube)(x).sum());
    expect(await second(tensor([1, 2, 3])).toArray()).toEqual([6, 12, 18]);
  });
  it('stops at stopGradient and honours customVjp', async () => {
    const x = tensor([1, 2]);
    expect(await grad((t: Tensor) => stopGradient(t).mul(t).sum())(x).toArray()).toEqual([1, 2]);
    const straightThrough = customVjp(
      (t) => [t!.floor()],
      ({ cotangents: [d] }) => [d],
    );
    expect(await grad((t: Tensor) => straightThrough(t)[0]!.mul(3).sum())(x).toArray()).toEqual([3, 3]);
  });
  it('gives zeros for what the value does not depend on', async () => {
    const { gradient } = valueAndGrad((p: { a: Tensor; b: Tensor }) => p.a.sum())({ a: tensor([1]), b: tensor([2]) });
    expect(await gradient.b.toArray()).toEqual([0]);
  });
  it('counts a shared input once in vjp', async () => {
    const { pullback } = vjp((x: Tensor, y: Tensor) => x.mul(y), tensor([2]), tensor([5]));
    const [dx, dy] = pullback(tensor([1]));
    expect([await dx.item(), await dy.item()]).toEqual([5, 2]);
  });
});

describe('compile', () => {
  it('traces once per signature and takes per-step numbers as tensors', async () => {
    const f = compile((x: Tensor, lr: Tensor) => ({ y: x.mul(lr) }));
    for (const lr of [0.5, 2, 4]) expect(await (await f(tensor([1, 2]), scalar(lr))).y.toArray()).toEqual([lr, 2 * lr]);
    expect(f.traces).toBe(1);
    await f(zeros([3]), scalar(1));
    expect(f.traces).toBe(2);
  });
  it('refuses a donated tensor afterwards', async () => {
    const step = compile((state: { w: Tensor }) => ({ state: { w: state.w.add(1) } }), { donate: { 0: 'state' } });
    const first = { w: tensor([1]) };
    const { state } = await step(first);
    expect(await state.w.toArray()).toEqual([2]);
    await expect(first.w.item()).rejects.toThrow(/donated/);
    await expect(step(first)).rejects.toThrow(/donated/);
  });
});
