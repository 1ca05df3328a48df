import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  compile,
  customVjp,
  type Engine,
  grad,
  hessianVectorProduct,
  jvp,
  Key,
  leavesOf,
  logSoftmax,
  referenceEngine,
  rmsNorm,
  setEngine,
  type Tensor,
  tensor,
  tokenLogProbs,
  vjp,
} from '../../src/index.js';
import { openSafetensors } from '../../src/io/index.js';
import {
  conjugateGradient,
  empiricalFisherVectorProduct,
  fisherVectorProduct,
  naturalGradient,
} from '../../src/natural-gradient/index.js';
import { onnxruntimeEngine } from '../../src/onnxruntime.js';
import { fromHost } from '../../src/tensor.js';
import { sample } from '../../src/testing/case.js';
import { expectClose } from '../../src/testing/check-case.js';
import { conformanceCases } from '../../src/testing/index.js';
import { onEngine } from '../../src/testing/on-engine.js';
import { byOp } from '../../src/testing/test-engine.js';

const engines: [string, Engine, number][] = [
  // The golden's inputs are rounded to float32.
  ['reference', referenceEngine(), 2e-6],
  ['onnxruntime', onnxruntimeEngine({ threads: 1 }), 1e-5],
];

beforeAll(() => setEngine(referenceEngine()));

const folder = join(import.meta.dirname, '../../../../goldens/curvature');
const file = await openSafetensors(join(folder, 'curvature.safetensors'));
const golden = new Map<string, Tensor>();
for (const name of file.tensors.keys()) {
  const { data, shape } = await file.read(name);
  golden.set(name, tensor(data, shape));
}
await file.close();
const { damping, epsilon } = JSON.parse(readFileSync(join(folder, 'curvature.json'), 'utf8')) as {
  damping: number;
  epsilon: number;
};

interface Parameters {
  readonly up: Tensor;
  readonly scale: Tensor;
  readonly down: Tensor;
}
const get = (name: string): Tensor => golden.get(name)!;
const tree = (prefix: string): Parameters => ({
  up: get(`${prefix}.up`),
  scale: get(`${prefix}.scale`),
  down: get(`${prefix}.down`),
});

function hiddenOf(p: Parameters): Tensor {
  const x = get('x').matmul(p.up);
  return rmsNorm(x.mul(x.sigmoid()), p.scale, { epsilon });
}
const logits = (p: Parameters): Tensor => hiddenOf(p).matmul(p.down);
const logProbs = (p: Parameters): Tensor =>
  logSoftmax(logits(p)).takeAlongAxis(get('targets').expandDims(1), 1).squeeze(1);
const loss = (p: Parameters): Tensor => logProbs(p).mean().neg();

async function numbers(value: unknown): Promise<number[]> {
  const all: number[] = [];
  for (const { tensor: x } of leavesOf(value)) all.push(...(await x.toArray()));
  return all;
}
const matches = async (what: string, got: unknown, wanted: unknown, tolerance: number) =>
  expectClose(what, await numbers(got), await numbers(wanted), tolerance);

describe.each(engines)('torch.func on %s', (_, engine, tolerance) => {
  it('jvp, Hessian-, Fisher- and empirical-Fisher-vector products', async () => {
    await onEngine(engine, async () => {
      const run = compile((p: Parameters, v: Parameters) => ({
        ...jvp(logits, [p], [v]),
        hessian: hessianVectorProduct(loss)(p, v),
        fisher: fisherVectorProduct(logits, p, v),
        empirical: empiricalFisherVectorProduct(logProbs, p, v),
      }));
      const result = await run(tree('parameters'), tree('vector'));
      await matches('output', result.output, get('output'), tolerance);
      await matches('jvp', result.tangent, get('tangent'), tolerance);
      await matches('Hessian-vector product', result.hessian, tree('hessian_vector'), tolerance);
      await matches('Fisher-vector product', result.fisher, tree('fisher_vector'), tolerance);
      await matches('empirical', result.empirical, tree('empirical_fisher_vector'), tolerance);
      await run.dispose();
    });
  });
  it('the natural gradient', async () => {
    await onEngine(engine, async () => {
      const fisher = compile((v: Parameters, p: Parameters) => fisherVectorProduct(logits, p, v));
      const product = (v: Parameters) => fisher(v, tree('parameters'));
      const gradient = grad(loss)(tree('parameters'));
      const options = { damping, maxIterations: 36, tolerance: 1e-6 };
      const { solution, iterations, reason } = await naturalGradient(product, gradient, options);
      expect(reason).toBe('converged');
      expect(iterations).toBeLessThanOrEqual(36);
      await matches('solution', solution, tree('natural_gradient'), Math.max(tolerance, 2e-5));
      await fisher.dispose();
    });
  });
});

describe('jvp', () => {
  const STEP = 1e-4;
  const cases = conformanceCases().filter(
    ({ variables, inputs }) => variables.length > 0 && inputs.every(({ dtype }) => dtype !== 'float16'),
  );
  /** float64 numbers, which the reference engine computes with. */
  const wide = ({ data, shape, dtype }: (typeof cases)[number]['inputs'][number]): Tensor =>
    fromHost(dtype === 'float32' ? Float64Array.from(data) : data.slice(), shape, dtype);

  it.each([...byOp(cases)])(
    'is the difference quotient, and the transpose of vjp, in every case of %s',
    async (_, all) => {
      for (const one of all) {
        const { inputs, variables, run } = one;
        const compiled = compile((values: Tensor[], directions: Tensor[]) => {
          const f = (...given: Tensor[]) => {
            const every = values.map((value, i) => (variables.includes(i) ? given[variables.indexOf(i)]! : value));
            return run(...every).filter(({ dtype }) => dtype === 'float32');
          };
          const at = variables.map((i) => values[i]!);
          const { output, tangent } = jvp(f, at, directions);
          const moved = (step: number) => f(...at.map((x, i) => x.add(directions[i]!.mul(step))));
          const [up, down] = [moved(STEP), moved(-STEP)];
          const cotangents = output.map(({ shape }, i) =>
            tensor(sample(shape, 'float32', { seed: 20 + i }).data, shape),
          );
          const back = vjp(f, ...at).pullback(cotangents);
          const dot = (xs: readonly Tensor[], ys: readonly Tensor[]) =>
            xs.map((x, i) => x.mul(ys[i]!).sum()).reduce((a, b) => a.add(b));
          return {
            tangent,
            quotients: up.map((x, i) => x.sub(down[i]!).mul(1 / (2 * STEP))),
            forward: dot(tangent, cotangents),
            backward: dot(directions, back as Tensor[]),
          };
        });
        const directions = variables.map((i) => wide(sample(inputs[i]!.shape, 'float32', { seed: 40 + i })));
        const result = await compiled(inputs.map(wide), directions);
        await matches(one.name, result.tangent, result.quotients, 2e-6);
        await matches(`${one.name}, transposed`, result.forward, result.backward, 1e-9);
        await compiled.dispose();
      }
    },
  );
  it('follows a backward function of the user', async () => {
    const doubled = (x: Tensor) =>
      customVjp(
        (y) => [y!.sin()],
        ({ cotangents: [dy] }) => [dy!.mul(2)],
      )(x)[0]!;
    const { output, tangent } = jvp(doubled, [tensor([0, 1])], [tensor([3, -1])]);
    expect(await tangent.toArray()).toEqual([6, -2]);
    expect(await output.toArray()).toEqual([0, Math.sin(1)]);
  });
  it('passes integers by, and gives them no tangent', async () => {
    const at = tensor([1, 1], undefined, 'int32');
    const f = (x: Tensor, i: Tensor) => ({ y: x.gather(i).square(), i: i.add(1) });
    const { tangent } = jvp(f, [tensor([2, 3]), at], [tensor([1, 10]), at]);
    expect(await numbers(tangent)).toEqual([60, 60, 0, 0]);
  });
  it('refuses tangents of another shape', () => {
    const f = (p: { a: Tensor }) => p.a.sum();
    expect(() => jvp(f, [{ a: tensor([1, 2]) }], [{ a: tensor([1]) }])).toThrow(
      /0\.a, Tensor\(float32\[2\]\), is Tensor/,
    );
    expect(() => jvp(f, [{ a: tensor([1, 2]) }], [{} as { a: Tensor }])).toThrow(/is missing/);
  });
});

/** Ten parameters: two features, five classes. */
const FEATURES = tensor([
  [0.5, -1],
  [1.5, 0.3],
  [-0.7, 0.9],
]);
const W = tensor(
  Float32Array.from(Key.fromSeed(4).uniformHost(10), (u) => 2 * u - 1),
  [2, 5],
);
const classes = (w: Tensor): Tensor => FEATURES.matmul(w).tanh().mul(2);

/** E over every row and class of score · scoreᵀ, score by score: [10][10]. */
async function explicitFisher(): Promise<number[][]> {
  const logP = logSoftmax(classes(W));
  const fisher = Array.from({ length: 10 }, () => new Array<number>(10).fill(0));
  for (let row = 0; row < 3; row++) {
    for (let c = 0; c < 5; c++) {
      const pick = (x: Tensor) =>
        x
          .slice(0, row, row + 1)
          .slice(1, c, c + 1)
          .sum();
      const p = Math.exp(await pick(logP).item());
      const score = await grad((w: Tensor) => pick(logSoftmax(classes(w))))(W).toArray();
      for (let i = 0; i < 10; i++) for (let j = 0; j < 10; j++) fisher[i]![j]! += (p * score[i]! * score[j]!) / 3;
    }
  }
  return fisher;
}

/** Gaussian elimination with pivots. */
function solve(matrix: readonly (readonly number[])[], b: readonly number[]): number[] {
  const rows = matrix.map((row, i) => [...row, b[i]!]);
  const n = rows.length;
  for (let k = 0; k < n; k++) {
    const pivot = rows
      .slice(k)
      .reduce((best, row, i) => (Math.abs(row[k]!) > Math.abs(rows[best]![k]!) ? k + i : best), k);
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    for (let i = k + 1; i < n; i++) {
      const factor = rows[i]![k]! / rows[k]![k]!;
      for (let j = k; j <= n; j++) rows[i]![j]! -= factor * rows[k]![j]!;
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let i = n - 1; i >= 0; i--) {
    const rest = rows[i]!.slice(i + 1, n).reduce((sum, value, j) => sum + value * x[i + 1 + j]!, 0);
    x[i] = (rows[i]![n]! - rest) / rows[i]![i]!;
  }
  return x;
}

describe('the Fisher information of ten parameters', () => {
  const product = (v: Tensor) => fisherVectorProduct(classes, W, v);

  it('times every unit vector is the expectation of score · scoreᵀ, class by class', async () => {
    const fisher = await explicitFisher();
    for (let i = 0; i < 10; i++) {
      const unit = tensor(
        Float32Array.from({ length: 10 }, (_, j) => Number(i === j)),
        [2, 5],
      );
      expectClose(
        `column ${i}`,
        await product(unit).toArray(),
        fisher.map((row) => row[i]!),
        1e-9,
      );
    }
  });
  it('is the curvature of the KL divergence', async () => {
    const v = tensor(
      Float32Array.from({ length: 10 }, (_, i) => Math.sin(i)),
      [2, 5],
    );
    const old = logSoftmax(classes(W));
    const kl = (w: Tensor) =>
      old
        .exp()
        .mul(old.sub(logSoftmax(classes(w))))
        .sum()
        .mul(1 / 3);
    await matches('H v', product(v), hessianVectorProduct(kl)(W, v), 1e-9);
  });
  it('solves for the natural gradient as elimination does, in no more than ten iterations', async () => {
    const fisher = await explicitFisher();
    const b = Float32Array.from({ length: 10 }, (_, i) => Math.cos(i));
    const lambda = 0.01;
    const wanted = solve(
      fisher.map((row, i) => row.map((x, j) => x + (i === j ? lambda : 0))),
      Array.from(b),
    );
    const options = { damping: lambda, maxIterations: 10, tolerance: 1e-10 };
    const { solution, iterations, residualNorm } = await conjugateGradient(product, tensor(b, [2, 5]), options);
    expect(iterations).toBeLessThanOrEqual(10);
    expectClose('solution', await solution.toArray(), wanted, 1e-6);
    expect(residualNorm).toBeLessThan(1e-6);
  });
  it('scales the direction to the divergence asked for', async () => {
    const g = tensor(
      Float32Array.from({ length: 10 }, (_, i) => Math.cos(i)),
      [2, 5],
    );
    const { solution: s } = await naturalGradient(product, g, { damping: 0.1, maxIterations: 20, maxKl: 1e-4 });
    const bend = (await s.mul(product(s)).sum().item()) + 0.1 * (await s.square().sum().item());
    expect(bend / 2).toBeCloseTo(1e-4, 9);
    const still = await naturalGradient(product, g.mul(0), { maxKl: 1e-4 });
    expect(await still.solution.toArray()).toEqual(new Array(10).fill(0));
  });
});

describe('conjugateGradient', () => {
  const diagonal = (values: number[]) => (v: { x: Tensor }) => ({ x: v.x.mul(tensor(values)) });
  it('needs one iteration for each distinct eigenvalue, and stops by itself', async () => {
    const b = { x: tensor([1, 2, 3, 4]) };
    const result = await conjugateGradient(diagonal([2, 2, 5, 5]), b, { maxIterations: 50, tolerance: 1e-12 });
    expect(result).toMatchObject({ iterations: 2, reason: 'converged' });
    expectClose('solution', await result.solution.x.toArray(), [0.5, 1, 0.6, 0.8], 1e-12);
    expect(await conjugateGradient(diagonal([1, 2, 3, 4]), b, { maxIterations: 2 })).toMatchObject({
      iterations: 2,
      reason: 'maxIterations',
    });
    expect((await conjugateGradient(diagonal([1, 2, 3, 4]), b, { tolerance: 0.5 })).iterations).toBe(1);
  });
  it('takes nothing for nothing, adds the damping, and notices a matrix that is not positive', async () => {
    const zero = await conjugateGradient(diagonal([1, 1]), { x: tensor([0, 0]) });
    expect(zero).toMatchObject({ iterations: 0, reason: 'converged', residualNorm: 0 });
    const damped = await conjugateGradient(diagonal([1, 3]), { x: tensor([4, 6]) }, { damping: 1 });
    expectClose('damped', await damped.solution.x.toArray(), [2, 1.5], 1e-9);
    const indefinite = await conjugateGradient(diagonal([1, -3]), { x: tensor([1, 1]) });
    expect(indefinite).toMatchObject({ reason: 'indefinite', iterations: 0 });
    expect(await indefinite.solution.x.toArray()).toEqual([0, 0]);
    await expect(conjugateGradient(diagonal([1, Number.NaN]), { x: tensor([1, 1]) })).rejects.toThrow(/not finite/);
    await expect(conjugateGradient(diagonal([1]), { x: tensor([1]) }, { dampening: 1 } as never)).rejects.toThrow(
      /damping/,
    );
  });
});

describe('the empirical Fisher of log-probabilities in chunks', () => {
  it('is that of whole ones', async () => {
    const [head, targets] = [tensor(Float32Array.from(Key.fromSeed(9).uniformHost(36)), [9, 4]), [0, 5, 8]];
    const chosen = tensor(targets, undefined, 'int32');
    const x = tensor(Float32Array.from(Key.fromSeed(8).uniformHost(9)), [3, 3]);
    const parameters = tensor(Float32Array.from(Key.fromSeed(7).uniformHost(12)), [3, 4]);
    const hidden = (w: Tensor) => x.matmul(w).tanh();
    const chunked = (w: Tensor) => tokenLogProbs(hidden(w), head, chosen, { chunkSize: 4 }).logProbs;
    const whole = (w: Tensor) =>
      logSoftmax(hidden(w).matmul(head, { transposeB: true }))
        .takeAlongAxis(chosen.expandDims(1), 1)
        .squeeze(1);
    const v = parameters.add(1).sin();
    await matches(
      'F v',
      empiricalFisherVectorProduct(chunked, parameters, v),
      empiricalFisherVectorProduct(whole, parameters, v),
      1e-9,
    );
  });
});
