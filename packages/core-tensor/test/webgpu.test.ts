import { beforeEach, describe, expect, it, type TestContext } from 'vitest';
import { compile, scalar, setEngine, type Tensor, tensor, valueAndGrad } from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { adamW } from '../src/optim/index.js';
import { useSwiftShader } from './vulkan.js';

const missing = await useSwiftShader();
const needsGpu = (context: TestContext) => {
  if (missing !== undefined) context.skip(missing);
};
const engine = onnxruntimeEngine({ device: 'webgpu' });
setEngine(engine);

const optimizer = adamW();
interface State {
  readonly w: Tensor;
  readonly inner: ReturnType<typeof optimizer.init>;
}
const trainingStep = compile(
  ({ w, inner }: State, x: Tensor, y: Tensor, rate: Tensor) => {
    const { value, gradient } = valueAndGrad((v: Tensor) => x.matmul(v).sub(y).square().mean())(w);
    const next = optimizer.update({ w }, { w: gradient as Tensor }, inner, rate);
    return { state: { w: next.parameters.w!, inner: next.state }, loss: value, unread: x.mul(2) };
  },
  { donate: { 0: 'state' } },
);
const initial = (): State => {
  const w = tensor(new Float32Array(6), [3, 2]);
  return { w, inner: optimizer.init({ w }) };
};
const numbers = (shape: readonly number[], seed: number) =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(seed + i)),
    shape,
  );

describe('the memory of a GPU', () => {
  beforeEach(needsGpu);

  it('does not grow over 1,000 steps', async () => {
    let state = initial();
    const used: number[] = [];
    for (let i = 0; i < 1000; i++) {
      const result = await trainingStep(state, numbers([4, 3], i), numbers([4, 2], i), scalar(0.01));
      state = result.state as State;
      await result.loss.item();
      // What is read by nobody goes when the garbage collector has seen it; everything else goes at once.
      await result.unread.dispose();
      if (i >= 10) used.push(engine.memoryUse().bytes);
    }
    expect(new Set(used).size).toBe(1);
    await trainingStep.dispose();
  });

  it('is given back when tensors are dropped and memory is asked for', async () => {
    const before = engine.memoryUse().bytes;
    const double = compile((x: Tensor) => x.mul(2));
    let x = numbers([1024, 1024], 1);
    // 100 results of 4 MiB, none of them read.
    for (let i = 0; i < 100; i++) x = await double(x);
    expect(engine.memoryUse().bytes - before).toBeLessThan(300 * 2 ** 20);
    expect(Number.isFinite((await x.slice(0, 0, 1).data())[0])).toBe(true);
  });

  it('is given back at once by dispose, and the tensor cannot be used any more', async () => {
    const x = await compile((v: Tensor) => v.add(1))(numbers([512, 1024], 1));
    const { bytes } = engine.memoryUse();
    await x.dispose();
    expect(engine.memoryUse().bytes).toBe(bytes - 4 * 512 * 1024);
    await expect(x.data()).rejects.toThrow(/disposed of/);
    await x.dispose();
  });

  it('holds weights after their second use, and not what is used once', async () => {
    const product = compile((w: Tensor, x: Tensor) => w.matmul(x));
    const w = numbers([32, 32], 1);
    const y = await product(w, numbers([32, 1], 2));
    const afterOne = engine.memoryUse().buffers;
    await product(w, numbers([32, 1], 3));
    const third = await product(w, numbers([32, 1], 3));
    // The weight, and two results.
    expect(engine.memoryUse().buffers).toBe(afterOne + 3);
    expect(await third.toArray()).not.toEqual(await y.toArray());
  });
});

describe('sines of large angles', () => {
  beforeEach(needsGpu);

  it('are right to float32, where WGSL promises nothing', async () => {
    const angles = [0.5, -3, 100, 8191.7, -40000.3, 65000.123].map(Math.fround);
    const x = tensor(Float32Array.from(angles));
    for (const [got, wanted] of [
      [await x.sin().toArray(), angles.map(Math.sin)],
      [await x.cos().toArray(), angles.map(Math.cos)],
    ] as const) {
      got.forEach((value, i) => {
        expect(Math.abs(value - wanted[i]!)).toBeLessThan(1e-6);
      });
    }
  });
});

describe('onnxruntimeEngine', () => {
  it('refuses a device that there is not', () => {
    expect(() => onnxruntimeEngine({ device: 'tpu' as never })).toThrow(
      /device is "tpu"; it must be one of "cpu", "webgpu", "cuda"/,
    );
  });
  it('says how to install what CUDA needs', async () => {
    await expect(onnxruntimeEngine({ device: 'cuda' }).start()).rejects.toThrow(/ONNXRUNTIME_NODE_INSTALL=cuda12/);
  });
});
