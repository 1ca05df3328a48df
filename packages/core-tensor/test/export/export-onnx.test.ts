import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeOnnx, exportOnnx, exportOnnxModels, type OnnxOperators } from '../../src/export/index.js';
import {
  compile,
  type DType,
  defineOp,
  float16ToFloat32,
  float32ToFloat16,
  type Kernel,
  Key,
  normal,
  ones,
  realize,
  referenceEngine,
  rmsNorm,
  scalar,
  setEngine,
  type Tensor,
  type TensorSpec,
  type TypedArray,
  tensor,
  valueAndGrad,
  zeros,
} from '../../src/index.js';
import type { OnnxForwardContext } from '../../src/kernels/onnx-forward.js';
import { onnxruntimeEngine } from '../../src/onnxruntime.js';
import { adamW } from '../../src/optim/index.js';
import { onEngine } from '../../src/testing/on-engine.js';
import { conformanceFunction } from './conformance-functions.js';
import { allElements, runOnnx } from './run-onnx.js';

const folder = mkdtempSync(join(tmpdir(), 'export-onnx-'));
// Exported graphs have operators of ONNX Runtime only, so they are compared with what it computes without kernels of ours.
beforeAll(() => setEngine(onnxruntimeEngine({ cpuKernels: 'off' })));
afterAll(() => rmSync(folder, { recursive: true }));

const random = (seed: number, shape: readonly number[]): Tensor => normal(Key.fromSeed(seed).toTensor(), shape);

/** -0 is 0, NaN is NaN. */
function largestDifference(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (got.length !== wanted.length) return Number.POSITIVE_INFINITY;
  const differences = Array.from(got, (a, i) => {
    const b = wanted[i]!;
    return a === b || (Number.isNaN(a) && Number.isNaN(b)) ? 0 : Math.abs(a - b) / (1 + Math.abs(b));
  });
  return Math.max(0, ...differences);
}

describe.each<OnnxOperators>(['standard', 'contrib'])('with %s operators', (operators) => {
  const { f, args, names } = conformanceFunction();
  let exported: Awaited<ReturnType<typeof encodeOnnx>>;
  let wanted: TypedArray[];
  beforeAll(async () => {
    exported = await encodeOnnx(f, args, { operators });
    wanted = await allElements(await compile(f)(...args));
  });

  // Contrib operators are what the engine itself runs: equal bit for bit.
  const tolerances: Partial<Record<DType, number>> = operators === 'contrib' ? {} : { float32: 3e-6, float16: 2e-3 };

  it('runs every case of the conformance suite, equal to compile', async () => {
    const got = await runOnnx(exported.bytes, exported, args, { graphOptimizationLevel: 'disabled' });
    const isDifferent = (_: string, i: number) => {
      const { dtype } = exported.outputs[i]!;
      const decoded = (values: TypedArray) => (dtype === 'float16' ? float16ToFloat32(values as Uint16Array) : values);
      // MatMulNBits packs weights that are constants, and then adds in another order.
      const tolerance = names[i]!.startsWith('int4Matmul') ? 3e-6 : (tolerances[dtype] ?? 0);
      return largestDifference(decoded(got[i]!), decoded(wanted[i]!)) > tolerance;
    };
    expect(names.length).toBeGreaterThan(200);
    expect(names.filter(isDifferent)).toEqual([]);
  });
});

describe('a training step', () => {
  const optimizer = adamW();
  const weights = { a: random(1, [40, 20]), b: random(2, [20, 3]) };
  const frozen = random(3, [30, 40]);
  const step = (state: { w: typeof weights; inner: ReturnType<typeof optimizer.init> }, x: Tensor, rate: Tensor) => {
    const loss = (w: Tensor) => rmsNorm(x.matmul(frozen).matmul(w), ones([20]), { epsilon: 1e-5 }).matmul(state.w.b);
    const { value, gradient } = valueAndGrad((w: Tensor) => loss(w).square().mean())(state.w.a);
    const updated = optimizer.update({ a: state.w.a }, { a: gradient as Tensor }, state.inner, rate);
    return { state: { w: { ...state.w, a: updated.parameters.a! }, inner: updated.state }, loss: value };
  };
  const args = () =>
    [{ w: weights, inner: optimizer.init({ a: weights.a }) }, random(4, [5, 30]), scalar(0.1)] as const;
  const inputNames = ['state', 'x', 'rate'];
  beforeAll(() => realize([weights.a, weights.b, frozen]));

  it('runs as compile runs it, and its inputs and outputs have the names of the tree', async () => {
    const exported = await encodeOnnx(step, args(), { inputNames, operators: 'contrib', weightNames: { frozen } });
    expect(exported.inputs.slice(0, 2)).toEqual([
      { name: 'state.w.a', shape: [40, 20], dtype: 'float32' },
      { name: 'state.w.b', shape: [20, 3], dtype: 'float32' },
    ]);
    expect(exported.inputs.slice(-2).map(({ name }) => name)).toEqual(['x', 'rate']);
    expect(exported.outputs[0]).toEqual({ name: 'next.state.w.a', shape: [40, 20], dtype: 'float32' });
    expect(exported.outputs.at(-1)).toEqual({ name: 'loss', shape: [], dtype: 'float32' });
    const got = await runOnnx(exported.bytes, exported, args(), { graphOptimizationLevel: 'disabled' });
    const wanted = await allElements(await compile(step)(...args()));
    expect(got).toEqual(wanted);
    const session = await InferenceSession.create(exported.bytes);
    expect(session.inputNames).toEqual(exported.inputs.map(({ name }) => name));
    expect(session.outputNames).toEqual(exported.outputs.map(({ name }) => name));
    await session.release();
  });

  it('is traced without running anything, and leaves its arguments usable', async () => {
    const state = await compile(() => ({ w: weights, inner: optimizer.init({ a: weights.a }) }))();
    const again = compile(step, { donate: { 0: 'state' } });
    await encodeOnnx(step, [state, random(4, [5, 30]), scalar(0.1)], { inputNames });
    expect(await (await again(state, random(4, [5, 30]), scalar(0.1))).loss.item()).toBeGreaterThan(0);
    await expect(encodeOnnx(() => state.w.a.neg(), [])).rejects.toMatchObject({ code: 'DONATED' });
  });
});

describe('files', () => {
  const w = random(5, [64, 64]);
  const small = random(6, [3]);
  const half = random(7, [40, 40]).cast('float16');
  const brain = random(8, [40, 40]).cast('bfloat16');
  const weightNames = { 'model.w': w, 'model.small': small, half, brain };
  const f = ({ x }: { x: Tensor }) => ({
    y: x.matmul(w).add(small.sum()),
    z: half.cast('float32').add(brain.cast('float32')),
  });
  const args = () => [{ x: random(9, [2, 64]) }] as const;

  it.each([
    ['embed', ['m.onnx']],
    ['external', ['m.onnx', 'm.onnx.data']],
  ] as const)('%s: writes them whole, and a session that is given the path runs them', async (weights, files) => {
    const path = join(folder, weights, 'm.onnx');
    const signature = await exportOnnx(path, f, args(), { weights, weightNames, inputNames: [''] });
    expect(readdirSync(join(folder, weights)).sort()).toEqual(files);
    expect(signature.inputs).toEqual([{ name: 'x', shape: [2, 64], dtype: 'float32' }]);
    const got = await runOnnx(path, signature, args(), { graphOptimizationLevel: 'disabled' });
    expect(got).toEqual(await allElements(await compile(f)(...args())));
    const model = readFileSync(path, 'latin1');
    for (const name of [...Object.keys(weightNames), 'posttrain.signature']) expect(model).toContain(name);
    expect(model).not.toContain('com.microsoft');
    // 64 · 64 · 4 bytes and twice 40 · 40 · 2, on pages.
    if (weights === 'external') expect(statSync(`${path}.data`).size).toBe(16384 + 4096 + 3200);
    else expect(model.length).toBeLessThan(16384 + 6400 + 3000);
  });

  it('share the tensors that several functions capture', async () => {
    const models = {
      'one.onnx': { f, args: args(), inputNames: [''] },
      'two.onnx': { f: (x: Tensor) => x.sub(w).matmul(brain.cast('float32').pad(0, 24, 0)), args: [w] as const },
    };
    const signatures = await exportOnnxModels(join(folder, 'shared'), models, { weightNames });
    expect(readdirSync(join(folder, 'shared')).sort()).toEqual(['one.onnx', 'two.onnx', 'weights.data']);
    expect(statSync(join(folder, 'shared', 'weights.data')).size).toBe(16384 + 4096 + 3200);
    for (const [name, { f: run, args: given }] of Object.entries(models)) {
      const got = await runOnnx(join(folder, 'shared', name), signatures[name as 'one.onnx'], given);
      const wanted = await allElements(await compile(run as (...tensors: unknown[]) => unknown)(...given));
      got.forEach((values, i) => {
        expect(largestDifference(values, wanted[i]!)).toBeLessThan(1e-5);
      });
    }
  });

  it('hold what the reference engine computed in double precision as float32 and float16', async () => {
    const [v, h] = await onEngine(referenceEngine(), async () => {
      const computed = [random(1, [20]).exp(), random(2, [20]).exp().cast('float16')] as const;
      await realize(computed);
      return computed;
    });
    const exported = await encodeOnnx(() => [v, h, h.cast('float32').add(v)], []);
    const single = Float32Array.from(await v.data());
    const [values, halves] = await runOnnx(exported.bytes, exported, []);
    expect(values).toEqual(single);
    expect(halves).toEqual(float32ToFloat16(Float32Array.from(await h.toArray())));
  });

  it('are refused when the weights cannot be in one file', async () => {
    // Never read, so that the memory is never there.
    const huge = tensor(new Uint8Array(2 ** 31), [2 ** 31], 'uint8');
    const embedding = exportOnnx(join(folder, 'huge.onnx'), () => huge.slice(0, 0, 1), [], { weights: 'embed' });
    await expect(embedding).rejects.toThrow(/2147483648 bytes.*weights: 'external'/);
  });

  it('are not there, and those of an earlier export as they were, when something fails', async () => {
    const path = join(folder, 'kept', 'm.onnx');
    await exportOnnx(path, f, args(), { weights: 'external' });
    const before = readFileSync(path);
    const gone = await compile((state: { x: Tensor }) => ({ state }))({ x: random(1, [40, 40]) });
    await compile((state: { x: Tensor }) => ({ state: { x: state.x.neg() } }), { donate: { 0: 'state' } })(gone.state);
    const failing = exportOnnx(path, ({ x }) => [x.matmul(w), gone.state.x], args(), { weights: 'external' });
    await expect(failing).rejects.toMatchObject({ code: 'DONATED' });
    expect(readdirSync(join(folder, 'kept')).sort()).toEqual(['m.onnx', 'm.onnx.data']);
    expect(readFileSync(path)).toEqual(before);
  });
});

describe('operations of a user', () => {
  const infer = ([x]: readonly TensorSpec[]) => [x!];
  const onnxruntime = ({ inputs, op }: OnnxForwardContext<undefined>) => op('Sinh', [inputs[0]!.name]);
  const host = ([x]: readonly { readonly data: ArrayLike<number> }[]) => [Array.from(x!.data, Math.sinh)];
  const decompose = ([x]: readonly Tensor[]) => [x!.exp().sub(x!.neg().exp()).mul(0.5)];
  const x = random(1, [3, 4]);

  it.each<[string, OnnxOperators, Kernel<undefined>, string]>([
    ['its forward', 'contrib', { name: 'test/sinh', infer, decompose, lower: { onnxruntime } }, 'Sinh'],
    ['its decomposition', 'standard', { name: 'test/sinh', infer, decompose, lower: { onnxruntime } }, 'Exp'],
    ['its forward for want of another', 'standard', { name: 'test/sinh', infer, lower: { onnxruntime } }, 'Sinh'],
  ])('become %s with %s operators', async (_, operators, kernel, operator) => {
    const sinh = defineOp(kernel);
    const exported = await encodeOnnx((y: Tensor) => sinh([y]), [x], { operators });
    expect(Buffer.from(exported.bytes).toString('latin1')).toContain(operator);
    const [got] = await runOnnx(exported.bytes, exported, [x]);
    expect(largestDifference(got!, Array.from(await x.data(), Math.sinh))).toBeLessThan(1e-6);
  });

  it('cannot be exported when only a host function computes them', async () => {
    const sinh = defineOp({ name: 'test/sinh', infer, lower: { host } });
    await expect(encodeOnnx((y: Tensor) => sinh([y]), [x])).rejects.toThrow(/no lowering of test\/sinh/);
  });
});

describe('signatures', () => {
  it('keep arguments that nothing reads, tensors without elements, and inputs that are outputs', async () => {
    const args = [random(1, [2, 2]), { unused: zeros([3], 'int32'), empty: zeros([0, 2]) }] as const;
    const exported = await encodeOnnx((x, { empty }) => [x, x, empty, empty.sum()], args);
    expect(exported.inputs.map(({ name }) => name)).toEqual(['input0', 'input1.unused', 'input1.empty']);
    expect(exported.outputs.map(({ name }) => name)).toEqual(['0', '1', '2', '3']);
    const x = await args[0].data();
    const zero = Float32Array.of(0);
    expect(await runOnnx(exported.bytes, exported, args)).toEqual([x, x, new Float32Array(0), zero]);
  });

  it('say float32 for bfloat16, and names of values in between give way', async () => {
    const x = random(1, [2]).cast('bfloat16');
    const f = (n0: Tensor) => ({
      n0: n0.cast('float32').mul(3).exp(),
      n1: n0,
      n2: n0.cast('float32').mul(3).cast('bfloat16'),
    });
    const exported = await encodeOnnx(f, [x], { inputNames: ['c0'] });
    expect([...exported.inputs, ...exported.outputs].map(({ name, dtype }) => `${name} ${dtype}`)).toEqual([
      'c0 float32',
      'n0 float32',
      'n1 float32',
      'n2 float32',
    ]);
    const options = { graphOptimizationLevel: 'disabled' } as const;
    expect(await runOnnx(exported.bytes, exported, [x], options)).toEqual(await allElements(await compile(f)(x)));
  });

  it.each<[string, () => Promise<unknown>, RegExp]>([
    [
      'names that meet',
      () => encodeOnnx((a, b) => a.add(b), [ones([1]), ones([1])], { inputNames: ['a', 'a'] }),
      /"a"/,
    ],
    [
      'too few names',
      () => encodeOnnx((a, b) => a.add(b), [ones([1]), ones([1])], { inputNames: ['a'] }),
      /1 names for 2/,
    ],
    ['no name', () => encodeOnnx((a: Tensor) => a.neg(), [ones([1])], { inputNames: [''] }), /has no name/],
    ['no output', () => encodeOnnx(() => 3, []), /no tensor/],
    ['an async function', () => encodeOnnx(async (a: Tensor) => a, [ones([1])]), /async/],
    [
      'operators there are none of',
      () => encodeOnnx(() => 3, [], { operators: 'all' as never }),
      /operators is "all"; it must be one of "standard", "contrib"/,
    ],
    [
      'a place there is none of',
      () => exportOnnx('x', () => 3, [], { weights: 'near' as never }),
      /weights is "near"; it must be one of "embed", "external"/,
    ],
    ['an unknown option', () => exportOnnx('x', () => 3, [], { weight: 'embed' } as never), /Did you mean "weights"/],
  ])('refuse %s', async (_, run, message) => {
    await expect(run()).rejects.toThrow(message);
  });
});
