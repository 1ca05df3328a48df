import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  compile,
  concat,
  customVjp,
  grad,
  referenceEngine,
  scalar,
  setEngine,
  softmax,
  stopGradient,
  type Tensor,
  tensor,
  valueAndGrad,
  vjp,
  where,
  zeros,
} from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { fromHost } from '../src/tensor.js';
import { expectClose } from '../src/testing/check-case.js';
import { onEngine } from '../src/testing/on-engine.js';

describe('autodiff', () => {
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
      for (const lr of [0.5, 2, 4])
        expect(await (await f(tensor([1, 2]), scalar(lr))).y.toArray()).toEqual([lr, 2 * lr]);
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
});

/** One step of a random program: an operation and the earlier results that it works on, all of shape [2, 3]. */
interface Step {
  readonly op: keyof typeof operations;
  readonly a: number;
  readonly b: number;
}

/** Smooth operations that keep the shape [2, 3] and the numbers small; each through other rules. */
const operations = {
  add: (a: Tensor, b: Tensor) => a.add(b).mul(0.5),
  sub: (a: Tensor, b: Tensor) => a.sub(b).mul(0.5),
  mul: (a: Tensor, b: Tensor) => a.mul(b).tanh(),
  div: (a: Tensor, b: Tensor) => a.div(b.square().add(1)),
  pow: (a: Tensor, b: Tensor) => a.square().add(0.5).pow(b.tanh()),
  sin: (a: Tensor) => a.sin(),
  exp: (a: Tensor) => a.tanh().exp(),
  log: (a: Tensor) => a.square().add(1).log(),
  sqrt: (a: Tensor) => a.square().add(0.1).sqrt(),
  sigmoid: (a: Tensor) => a.sigmoid(),
  softmax: (a: Tensor) => softmax(a),
  matmul: (a: Tensor, b: Tensor) => a.matmul(b, { transposeB: true }).tanh().matmul(a).mul(0.3),
  transposed: (a: Tensor, b: Tensor) => a.transpose().reshape([2, 3]).mul(b.sin()),
  mean: (a: Tensor, b: Tensor) => a.sub(b.mean(0)).mul(b.sum(1, { keepDims: true }).cos()),
  cumsum: (a: Tensor) => a.cumsum(1).mul(0.4),
  rolled: (a: Tensor, b: Tensor) => concat([a.slice(1, 1), b.slice(1, 0, 1)], 1),
  padded: (a: Tensor) => a.pad(1, 2, 1, 0.3).slice(1, 1, 6, 2),
  gathered: (a: Tensor, b: Tensor) => a.gather(tensor([1, 1], [2], 'int32')).sub(b),
  chosen: (a: Tensor, b: Tensor) => where(a.less(b), a.mul(b), b.add(a)),
  shared: (a: Tensor) => a.mul(a).sub(a),
} as const;

const names = Object.keys(operations) as (keyof typeof operations)[];

const program: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({ op: fc.constantFrom(...names), a: fc.nat(20), b: fc.nat(20) }),
  { minLength: 1, maxLength: 12 },
);
const numbers = fc.array(fc.double({ min: -1.5, max: 1.5, noNaN: true }), { minLength: 12, maxLength: 12 });

/** A scalar function of 12 numbers. */
function run(steps: readonly Step[], x: Tensor): Tensor {
  const both = x.reshape([2, 2, 3]);
  const results = [both.slice(0, 0, 1).squeeze(0), both.slice(0, 1, 2).squeeze(0)];
  for (const { op, a, b } of steps) {
    results.push(operations[op](results[a % results.length]!, results[b % results.length]!));
  }
  return results.reduce((sum, result, i) => sum.add(result.mul(1 / (i + 1))).sin()).sum();
}

/** The only operation with a jump: skip programs where the choice is close. */
const isSmooth = (steps: readonly Step[]) => steps.every(({ op }) => op !== 'chosen');

const double = (values: readonly number[]): Tensor => fromHost(Float64Array.from(values), [values.length], 'float32');

describe('gradients of random programs', () => {
  it('equal central differences along a random direction', async () => {
    await fc.assert(
      fc.asyncProperty(program.filter(isSmooth), numbers, numbers, async (steps, x, direction) => {
        await onEngine(referenceEngine(), async () => {
          const f = compile((t: Tensor) => valueAndGrad((at: Tensor) => run(steps, at))(t));
          const { gradient } = await f(double(x));
          const slope = (await gradient.toArray()).reduce((sum, g, i) => sum + g * direction[i]!, 0);
          const at = async (step: number) =>
            (await f(double(x.map((value, i) => value + step * direction[i]!)))).value.item();
          const difference = ((await at(1e-4)) - (await at(-1e-4))) / 2e-4;
          expectClose('slope', [slope], [difference], 1e-5);
        });
      }),
      { numRuns: 80, seed: 7 },
    );
  });
  it('are the same on every engine', async () => {
    const engine = onnxruntimeEngine();
    await fc.assert(
      fc.asyncProperty(program, numbers, async (steps, x) => {
        const both = () =>
          compile((t: Tensor) => valueAndGrad((at: Tensor) => run(steps, at))(t))(tensor(x)).then(
            async ({ value, gradient }) => [await value.item(), ...(await gradient.toArray())],
          );
        const wanted = await onEngine(referenceEngine(), both);
        expectClose('value and gradient', await onEngine(engine, both), wanted, 1e-3);
      }),
      { numRuns: 12, seed: 7 },
    );
  });
});
