import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  AutodiffError,
  attention,
  compile,
  concat,
  customVjp,
  type Engine,
  gelu,
  geluTanh,
  grad,
  iota,
  layerNorm,
  logSigmoid,
  referenceEngine,
  rmsNorm,
  rotary,
  setEngine,
  silu,
  softmax,
  softplus,
  stopGradient,
  type Tensor,
  tensor,
  tokenLogProbs,
  valueAndGrad,
  vjp,
  where,
  zeros,
} from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { fromHost } from '../src/tensor.js';
import { sample } from '../src/testing/case.js';
import { expectClose } from '../src/testing/check-case.js';
import { onEngine } from '../src/testing/on-engine.js';

const reference = referenceEngine();
const engines: readonly (readonly [string, Engine, number])[] = [
  ['reference', reference, 2e-5],
  ['onnxruntime', onnxruntimeEngine(), 1e-3],
];

beforeEach(() => setEngine(reference));

type ScalarFunction = (x: Tensor) => Tensor;

const numbers = (seed: number): number[] => Array.from(sample([6], 'float32', { seed }).data);
const double = (values: readonly number[]): Tensor => fromHost(Float64Array.from(values), [values.length], 'float32');
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

const matrix = (x: Tensor) => x.reshape([2, 3]);
const heads = (x: Tensor) => x.reshape([1, 2, 3, 1]);
const weights = () => tensor([0.7, -0.4, 1.3]);

/** Functions of six numbers, each through other rules. */
const functions: Readonly<Record<string, ScalarFunction>> = {
  polynomial: (x) => x.pow(3).add(x.square()).sum(),
  quotient: (x) => x.div(x.square().add(1)).sum(),
  waves: (x) => x.sin().mul(x.cos()).add(x.tanh()).sum(),
  exponentials: (x) => x.exp().add(1).log().mul(x.sigmoid()).sum(),
  'roots and reciprocals': (x) => x.square().add(0.5).sqrt().add(x.square().add(2).reciprocal()).sum(),
  'powers of tensors': (x) => x.square().add(0.3).pow(x.sin()).sum(),
  'error function': (x) => x.erf().mul(x).sum(),
  activations: (x) =>
    concat([silu(x), gelu(x), geluTanh(x), logSigmoid(x)], 0)
      .square()
      .sum(),
  'matrix product': (x) => matrix(x).matmul(matrix(x), { transposeA: true }).square().sum(),
  'matrix of matrices': (x) => matrix(x).matmul(matrix(x).sin(), { transposeB: true }).exp().sum(),
  'largest element': (x) => matrix(x).max(1).exp().sum(),
  choice: (x) => where(x.less(0.1), x.square(), x.exp()).maximum(x.sin()).sum(),
  movement: (x) =>
    matrix(x.pad(0, 1, 2, 1.5).slice(0, 1, 7))
      .transpose()
      .mul(x.reshape([3, 2]))
      .square()
      .sum(),
  'strided slice': (x) =>
    x
      .slice(0, 1, 6, 2)
      .mul(x.slice(0, 0, 5, 2))
      .exp()
      .sum(),
  'running sum': (x) =>
    x
      .cumsum(0, { exclusive: true })
      .mul(x.cumsum(0, { reverse: true }))
      .sin()
      .sum(),
  indexing: (x) => {
    const at = tensor([5, 0, 0], [3], 'int32');
    return x
      .gather(at)
      .mul(x.slice(0, 0, 3))
      .sum()
      .add(x.takeAlongAxis(at, 0).exp().sum());
  },
  'largest k': (x) =>
    x
      .topK(3)
      .values.pow(2)
      .mul(x.slice(0, 0, 3))
      .sum(),
  softmax: (x) => softmax(matrix(x)).mul(matrix(x).sin()).sum(),
  rmsNorm: (x) => rmsNorm(matrix(x), weights(), { epsilon: 1e-3 }).mul(matrix(x).cos()).sum(),
  layerNorm: (x) => layerNorm(matrix(x), weights(), weights(), { epsilon: 1e-3 }).sin().sum(),
  rotary: (x) =>
    rotary(x.reshape([1, 1, 1, 6]), weights().reshape([1, 1, 3]), weights().sin().reshape([1, 1, 3]))
      .exp()
      .sum(),
  attention: (x) =>
    attention(heads(x), heads(x.sin()), heads(x.square()), zeros([1, 1, 3, 3]), { scale: 0.8 })
      .square()
      .sum(),
  tokenLogProbs: (x) => {
    const head = tensor([
      [0.3, -1, 0.2],
      [1, 0.5, -0.7],
      [-0.4, 0.1, 0.9],
      [0.2, 0.2, -1],
    ]);
    const targets = tensor([3, 1], [2], 'int32');
    const { logProbs, entropies } = tokenLogProbs(matrix(x), head, targets, { chunkSize: 1, temperature: 0.8 });
    return logProbs.exp().sum().add(entropies.square().sum());
  },
};

describe.each(engines)('gradient of a gradient on %s', (_, engine, tolerance) => {
  it.each(Object.entries(functions))('of %s: vᵀHw from nested central differences', async (name, f) => {
    const [x, v, w] = [numbers(0), numbers(1), numbers(2)];
    const product = await onEngine(engine, () =>
      compile((at: Tensor, left: Tensor, right: Tensor) => {
        const slope = grad((inner: Tensor) => grad(f)(inner).mul(left).sum());
        return slope(at).mul(right).sum();
      })(tensor(x), tensor(v), tensor(w)).then((y) => y.item()),
    );
    const value = compile(f);
    const step = 1e-3;
    const at = async (i: number, j: number) =>
      (await value(double(x.map((c, k) => c + step * (i * v[k]! + j * w[k]!))))).item();
    const nested = ((await at(1, 1)) - (await at(1, -1)) - (await at(-1, 1)) + (await at(-1, -1))) / (4 * step * step);
    // The rest of the difference quotient's Taylor series is of order step² times fourth derivatives.
    expectClose(name, [product], [nested], Math.max(tolerance, 2e-4));
  });
});

describe('vjp', () => {
  const f = (x: Tensor) =>
    concat(
      [
        matrix(x)
          .matmul(weights().reshape([3, 1]))
          .sin()
          .reshape([2]),
        x.exp().cumsum(0),
      ],
      0,
    );
  const [x, v, u] = [numbers(0), numbers(1), Array.from(sample([8], 'float32', { seed: 2 }).data)];

  it('is linear in the cotangent', async () => {
    const { pullback } = vjp(f, double(x));
    const other = Array.from(sample([8], 'float32', { seed: 3 }).data);
    const [both] = pullback(double(u.map((value, i) => 2 * value - 3 * other[i]!)));
    const [[a], [b]] = [pullback(double(u)), pullback(double(other))];
    expectClose('2u - 3w', await both.toArray(), await a.mul(2).sub(b.mul(3)).toArray(), 1e-12);
  });
  it('is the transpose of the derivative: <J v, u> = <v, Jᵀ u>', async () => {
    const { pullback } = vjp(f, double(x));
    const [transposed] = pullback(double(u));
    const step = 1e-5;
    const moved = (sign: number) => f(double(x.map((value, i) => value + sign * step * v[i]!))).toArray();
    const [after, before] = [await moved(1), await moved(-1)];
    const forward = after.map((value, i) => (value - before[i]!) / (2 * step));
    expectClose('<J v, u>', [dot(await transposed.toArray(), v)], [dot(forward, u)], 1e-8);
    // The pullback is linear in the cotangent, so its own transpose is J, exactly.
    const exact = grad((cotangent: Tensor) => vjp(f, double(x)).pullback(cotangent)[0].mul(double(v)).sum())(double(u));
    expectClose('J v', await exact.toArray(), forward, 1e-8);
  });
  it('gives the output and the gradient of every tensor in a tree', async () => {
    const { output, pullback } = vjp(
      (p: { a: Tensor; b: Tensor }, k: number) => p.a.mul(p.b).mul(k),
      { a: tensor([2]), b: tensor([5]) },
      3,
    );
    expect(await output.item()).toBe(30);
    const [{ a, b }, k] = pullback(tensor([1]));
    expect([await a.item(), await b.item(), k]).toEqual([15, 6, 3]);
  });
});

describe('marks', () => {
  const x = () => tensor([1.5, -2]);
  it('stopGradient: exactly zero, through everything behind it', async () => {
    const f = (t: Tensor) => stopGradient(t.exp().mul(t)).sum().add(stopGradient(t).sum());
    expect(await grad(f)(x()).toArray()).toEqual([0, 0]);
    expect(await grad((t: Tensor) => stopGradient(t).mul(t).sum())(x()).toArray()).toEqual([1.5, -2]);
    const second = grad((t: Tensor) => grad((s: Tensor) => stopGradient(s.square()).mul(s).sum())(t).sum());
    expect(await second(x()).toArray()).toEqual([0, 0]);
  });
  it('customVjp: no cotangent for unused outputs, none asked of integers, differentiable again', async () => {
    const seen: boolean[][] = [];
    const f = customVjp(
      (t, at) => [t!.square(), t!.gather(at!)],
      ({ inputs: [t], cotangents }) => {
        seen.push(cotangents.map((cotangent) => cotangent !== undefined));
        return [cotangents[0]!.mul(t!).mul(2), undefined];
      },
    );
    const only = (t: Tensor) => f(t, tensor([0], [1], 'int32'))[0]!.sum();
    expect(await grad(only)(x()).toArray()).toEqual([3, -4]);
    expect(seen).toEqual([[true, false]]);
    expect(await grad((t: Tensor) => grad(only)(t).sum())(x()).toArray()).toEqual([2, 2]);
  });
  it('customVjp: an input without a cotangent gets zeros', async () => {
    const f = customVjp(
      (a, b) => [a!.mul(b!)],
      ({ cotangents: [d] }) => [d, undefined],
    );
    const both = valueAndGrad((p: { a: Tensor; b: Tensor }) => f(p.a, p.b)[0]!.sum())({ a: x(), b: x() });
    expect(await both.gradient.a.toArray()).toEqual([1, 1]);
    expect(await both.gradient.b.toArray()).toEqual([0, 0]);
  });
});

describe('conventions', () => {
  it('clamp has the gradient of torch.clamp, at its limits too', async () => {
    const path = join(import.meta.dirname, '../../../goldens/optim/conventions.json');
    const { points, clamp } = JSON.parse(readFileSync(path, 'utf8')) as {
      points: number[];
      clamp: { low: number | null; high: number | null; gradient: number[] }[];
    };
    expect(clamp.length).toBe(5);
    for (const { low, high, gradient } of clamp) {
      const limited = (t: Tensor) => t.clamp(low ?? undefined, high ?? undefined).sum();
      expect(await grad(limited)(tensor(points)).toArray(), `[${low}, ${high}]`).toEqual(gradient);
    }
    // Limits in the wrong order: torch gives the upper one.
    expect(await tensor([-2, 0, 2]).clamp(1, -1).toArray()).toEqual([-1, -1, -1]);
    expect(await tensor([Number.NaN]).clamp(-1, 1).toArray()).toEqual([Number.NaN]);
  });
  it('ties of maximum and minimum share the cotangent, as in torch', async () => {
    const { gradient } = valueAndGrad((p: { a: Tensor; b: Tensor }) => p.a.maximum(p.b).sum())({
      a: tensor([1, 2, 3]),
      b: tensor([1, 5, 0]),
    });
    expect([await gradient.a.toArray(), await gradient.b.toArray()]).toEqual([
      [0.5, 0, 1],
      [0.5, 1, 0],
    ]);
    const smaller = grad((t: Tensor) => t.minimum(1).sum())(tensor([0, 1, 2]));
    expect(await smaller.toArray()).toEqual([1, 0.5, 0]);
    expect(await grad((t: Tensor) => t.maximum(t).sum())(tensor([3])).toArray()).toEqual([1]);
  });
  it('ties of max and min share it equally, as torch.amax does', async () => {
    const ties = () =>
      tensor([
        [2, 1, 2],
        [0, 0, 0],
      ]);
    expect(await grad((t: Tensor) => t.max(1).sum())(ties()).toArray()).toEqual([0.5, 0, 0.5, 1 / 3, 1 / 3, 1 / 3]);
    expect(await grad((t: Tensor) => t.min(1).sum())(ties()).toArray()).toEqual([0, 1, 0, 1 / 3, 1 / 3, 1 / 3]);
  });
  it('abs and sign have gradient 0 at 0', async () => {
    expect(await grad((t: Tensor) => t.abs().sum())(tensor([-2, 0, 2])).toArray()).toEqual([-1, 0, 1]);
  });
  it('softplus and logSigmoid: finite far out, and slope 1/2 at 0, where maximum ties', async () => {
    const at = [0, 1, -1, 200, -200];
    const values = [Math.LN2, Math.log(1 + Math.E), Math.log(1 + 1 / Math.E), 200, 0];
    const slopes = at.map((x) => 1 / (1 + Math.exp(-x)));
    const x = tensor(at);
    expectClose('softplus', await softplus(x).toArray(), values, 1e-12);
    expectClose('its slope', await grad((t: Tensor) => softplus(t).sum())(x).toArray(), slopes, 1e-12);
    const [negated, rest] = [at.map((y, i) => y - values[i]!), slopes.map((slope) => 1 - slope)];
    expectClose('logSigmoid', await logSigmoid(x).toArray(), negated, 1e-12);
    expectClose('its slope', await grad((t: Tensor) => logSigmoid(t).sum())(x).toArray(), rest, 1e-12);
  });
  it('whole powers are differentiable at 0, as often as you like', async () => {
    const first = grad((t: Tensor) => t.pow(2).sum());
    const second = grad((t: Tensor) => first(t).sum());
    const third = grad((t: Tensor) => second(t).sum());
    expect(await first(tensor([0, 3])).toArray()).toEqual([0, 6]);
    expect(await second(tensor([0, 3])).toArray()).toEqual([2, 2]);
    expect(await third(tensor([0, 3])).toArray()).toEqual([0, 0]);
    expect(await grad((t: Tensor) => t.pow(0).sum())(tensor([0])).toArray()).toEqual([0]);
  });
  it('gradients of empty tensors are empty', async () => {
    const { value, gradient } = valueAndGrad((t: Tensor) =>
      t
        .exp()
        .sum()
        .add(t.matmul(zeros([0, 2])).sum()),
    )(zeros([3, 0]));
    expect(await (value as Tensor).item()).toBe(0);
    expect(gradient.shape).toEqual([3, 0]);
    expect(await gradient.toArray()).toEqual([]);
  });
  it('auxiliary outputs come back beside the loss', async () => {
    const { value, gradient } = valueAndGrad((t: Tensor) => [t.square().sum(), { count: t.size }] as const)(
      tensor([3]),
    );
    expect([await value[0].item(), value[1].count, await gradient.item()]).toEqual([9, 1, 6]);
  });
  it('another argument can be the variable', async () => {
    expect(await grad((a: Tensor, b: Tensor) => a.mul(b).sum(), { argument: 1 })(tensor([2]), tensor([7])).item()).toBe(
      2,
    );
  });
  it('refuses what has no derivative', () => {
    expect(() => grad((t: Tensor) => t)(zeros([2]))).toThrow(AutodiffError);
    expect(() => grad((t: Tensor) => t.cast('float32').sum())(iota([2]))).toThrow(/int32/);
    expect(() => grad((t: number) => zeros([]).add(t))(1)).toThrow(/no tensor/);
    expect(() => grad((t: Tensor) => t.sum(), { argument: 1 })(zeros([2]))).toThrow(/argument 1/);
  });
});
