import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { afterEach, describe, expect, it } from 'vitest';
import {
  compile,
  defineOp,
  type Engine,
  type EngineBuffer,
  type Executable,
  Key,
  leavesOf,
  normal,
  scalar,
  setEngine,
  softmax,
  type Tensor,
  tensor,
  uniform,
  valueAndGrad,
} from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { adamW } from '../src/optim/index.js';
import { type Tfjs, type TfjsForward, tfjsEngine } from '../src/tfjs.js';

afterEach(() => setEngine(onnxruntimeEngine()));

/** Every buffer that runs of the engine gave. */
function recorded(engine: Engine): { engine: Engine; given: EngineBuffer[] } {
  const given: EngineBuffer[] = [];
  const compileGraph: Engine['compile'] = async (graph, options): Promise<Executable> => {
    const inner = await engine.compile(graph, options);
    return {
      dispose: () => inner.dispose(),
      run: async (inputs) => {
        const outputs = await inner.run(inputs);
        given.push(...outputs);
        return outputs;
      },
    };
  };
  return { engine: { ...engine, compile: compileGraph }, given };
}

/** A training step with every kind of primitive a small model has: gather and its scatter, softmax, random numbers. */
function trainingStep() {
  const optimizer = adamW();
  const loss = (w: Tensor, tokens: Tensor, targets: Tensor, key: Tensor) => {
    const hidden = w.gather(tokens, 0);
    const noise = uniform(key, hidden.shape).mul(0.1);
    const p = softmax(hidden.add(noise).tanh().matmul(w, { transposeB: true }));
    return p.takeAlongAxis(targets.expandDims(1), 1).log().neg().mean();
  };
  const step = compile(
    (state: { w: Tensor; inner: ReturnType<typeof optimizer.init> }, tokens: Tensor, targets: Tensor, key: Tensor) => {
      const { value, gradient } = valueAndGrad(loss)(state.w, tokens, targets, key);
      const updated = optimizer.update({ w: state.w }, { w: gradient as Tensor }, state.inner, scalar(0.05));
      return { state: { w: updated.parameters.w!, inner: updated.state }, loss: value };
    },
    { donate: { 0: 'state' } },
  );
  const initial = () => {
    const w = normal(Key.fromSeed(1).toTensor(), [6, 4]);
    return { w, inner: optimizer.init({ w }) };
  };
  return { step, initial };
}

describe('the tfjs engine', () => {
  it('trains as the default engine does', async () => {
    const losses: number[][] = [];
    for (const engine of [onnxruntimeEngine(), await tfjsEngine({ tf })]) {
      setEngine(engine);
      const { step, initial } = trainingStep();
      const seen: number[] = [];
      let state = initial();
      for (let i = 0; i < 10; i++) {
        const key = Key.fromSeed(2).child(i).toTensor();
        const result = await step(state, tensor([0, 3, 5], [3], 'int32'), tensor([1, 2, 0], [3], 'int32'), key);
        state = result.state as typeof state;
        seen.push(await result.loss.item());
      }
      losses.push(seen);
    }
    const [expected, got] = losses as [number[], number[]];
    expect(expected[9]).toBeLessThan(expected[0]!);
    for (const [i, value] of got.entries()) expect(value).toBeCloseTo(expected[i]!, 5);
  });

  it('holds no more tensors after 1,000 steps than after one', async () => {
    const { engine, given } = recorded(await tfjsEngine({ tf }));
    setEngine(engine);
    const { step, initial } = trainingStep();
    const inputs = [
      tensor([0, 3, 5], [3], 'int32'),
      tensor([1, 2, 0], [3], 'int32'),
      Key.fromSeed(2).toTensor(),
    ] as const;
    let state = initial();
    const held: { tensors: number; bytes: number }[] = [];
    for (let i = 0; i < 1000; i++) {
      const result = await step(state, ...inputs);
      state = result.state as typeof state;
      const kept = new Set(leavesOf(state).map(({ tensor: x }) => bufferOf(x)));
      for (const buffer of given.splice(0)) if (!kept.has(buffer)) engine.free!(buffer);
      const { numTensors, numBytes } = tf.memory();
      held.push({ tensors: numTensors, bytes: numBytes });
    }
    expect(new Set(held.slice(1).map(({ tensors }) => tensors)).size).toBe(1);
    expect(new Set(held.slice(1).map(({ bytes }) => bytes)).size).toBe(1);
    await step.dispose();
  });

  it('gives dropped tensors back before they fill the memory', async () => {
    setEngine(await tfjsEngine({ tf }));
    const next = compile((x: Tensor) => x.add(1));
    let x = tensor([0]);
    const before = tf.memory().numTensors;
    let most = 0;
    for (let i = 0; i < 10_000; i++) {
      x = await next(x);
      most = Math.max(most, tf.memory().numTensors - before);
    }
    expect(await x.item()).toBe(10_000);
    expect(most).toBeLessThan(6000);
  });

  it('frees the intermediates of a run, and constants on dispose', async () => {
    const engine = await tfjsEngine({ tf });
    setEngine(engine);
    const before = tf.memory().numTensors;
    const weigh = compile((x: Tensor) =>
      x
        .mul(2)
        .add(tensor([1, 2]))
        .sum(),
    );
    const x = tensor([3, 4]);
    const y = await weigh(x);
    await weigh.dispose();
    // What was used once is on the host again, so only the result is left.
    expect(tf.memory().numTensors - before).toBe(1);
    engine.free!(bufferOf(y));
    expect(tf.memory().numTensors).toBe(before);
  });

  it('frees an intermediate after its last reader, and a donated input too', async () => {
    let most = 0;
    const watched = observed(() => {
      most = Math.max(most, tf.memory().numTensors);
    });
    setEngine(await tfjsEngine({ tf: watched }));
    const chain = (state: Tensor) => {
      let y = state;
      for (let i = 0; i < 50; i++) y = y.sin();
      return { state: y };
    };
    const before = tf.memory().numTensors;
    await compile(chain, { donate: { 0: 'state' } })(tensor([1, 2]));
    expect(most - before).toBe(1);
    expect(tf.memory().numTensors - before).toBe(1);
    const renew = compile((_state: Tensor) => ({ state: tensor([5, 6]) }), { donate: { 0: 'state' } });
    await renew(tensor([1, 2]));
    await renew.dispose();
    expect(tf.memory().numTensors - before).toBe(2);
  });

  it('frees what a failing run made, and says which primitive failed', async () => {
    const failing = observed((kernel) => {
      if (kernel === 'Exp') throw new Error('no Exp today');
    });
    setEngine(await tfjsEngine({ tf: failing }));
    const x = tensor([1, 2]);
    const run = compile((state: Tensor) => ({ state: state.add(1).sin().exp() }), { donate: { 0: 'state' } });
    const before = tf.memory().numTensors;
    await expect(run(x)).rejects.toThrow(/tfjs \(cpu\): the graph failed in exp: no Exp today/);
    await run.dispose();
    // The donated input was given away, whatever became of the call.
    expect(tf.memory().numTensors).toBe(before);
  });

  it('works beside another engine on another backend of the same tfjs', async () => {
    const wasm = await tfjsEngine({ backend: 'wasm' });
    const cpu = await tfjsEngine({ tf, backend: 'cpu' });
    const double = compile((x: Tensor) => x.mul(2).sub(1));
    for (const engine of [wasm, cpu, wasm, cpu]) {
      setEngine(engine);
      expect(await (await double(tensor([1, 2]))).toArray()).toEqual([1, 3]);
    }
    expect([wasm.device, cpu.device]).toEqual(['cpu', 'cpu']);
  });

  it('names the package to install when a backend is missing', async () => {
    await expect(tfjsEngine({ backend: 'tfjs-node-gpu' })).rejects.toThrow(
      /@tensorflow\/tfjs-node-gpu is not installed. Install @tensorflow\/tfjs-node-gpu 4.22.0, see docs\/tfjs-node.md/,
    );
    await expect(tfjsEngine({ backend: 'webgl' })).rejects.toThrow(/unknown backend "webgl".*pass tf/);
    await expect(tfjsEngine({ tf, backend: 'webgl' })).rejects.toThrow(/backend "webgl" did not start/);
    await expect(tfjsEngine({ bakend: 'cpu' } as never)).rejects.toThrow(/Did you mean "backend"/);
  });

  it('multiplies large matrices right on wasm, one by one and transposed', async () => {
    const product = compile((a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean) =>
      a.matmul(b, { transposeA, transposeB }),
    );
    const wasm = await tfjsEngine({ backend: 'wasm' });
    const [rows, depth, columns] = [50, 60, 70];
    for (const [batchA, batchB] of [
      [[], []],
      [[3], [3]],
      [[2, 1], [3]],
      [[3], [1]],
      [[1], [3]],
    ] as const) {
      for (const [transposeA, transposeB] of [
        [false, false],
        [false, true],
        [true, false],
        [true, true],
      ] as const) {
        const a = normal(Key.fromSeed(1).toTensor(), [...batchA, ...(transposeA ? [depth, rows] : [rows, depth])]);
        const b = normal(Key.fromSeed(2).toTensor(), [
          ...batchB,
          ...(transposeB ? [columns, depth] : [depth, columns]),
        ]);
        setEngine(onnxruntimeEngine());
        const wanted = await (await product(a, b, transposeA, transposeB)).toArray();
        setEngine(wasm);
        const got = await (await product(a, b, transposeA, transposeB)).toArray();
        expect(Math.max(...got.map((x, i) => Math.abs(x - wanted[i]!)))).toBeLessThan(1e-4);
      }
    }
  });

  it('runs an operation by the forward that it brings for this engine', async () => {
    const runs: number[] = [];
    const forward: TfjsForward<{ power: number }> = ({ inputs: [x], outputs, config, run, upload }) => {
      runs.push(config.power);
      expect(outputs).toEqual([{ shape: [2], dtype: 'float16' }]);
      const [power] = run('Pow', { a: x!, b: upload(Float32Array.of(config.power), []) });
      return [power!];
    };
    const raise = defineOp<{ power: number }>({ name: 'test/raise', infer: ([x]) => [x!], lower: { tfjs: forward } });
    setEngine(await tfjsEngine({ tf }));
    const before = tf.memory().numTensors;
    const x = tensor([3, 1 + 2 ** -10], [2], 'float16');
    const y = await compile((v: Tensor) => raise([v], { power: 2 })[0]!)(x);
    // (1 + 2^-10)² rounded to float16.
    expect(await y.toArray()).toEqual([9, 1 + 2 ** -9]);
    expect(runs).toEqual([2]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('refuses buffers that are not its own or do not fit', async () => {
    const engine = await tfjsEngine({ tf });
    await expect(engine.read({ spec: { shape: [1], dtype: 'float32' } })).rejects.toThrow(/another engine/);
  });
});

function bufferOf(x: Tensor): EngineBuffer {
  return (x.value.node.attributes as { storage: { device: { buffer: EngineBuffer } } }).storage.device.buffer;
}

/** TensorFlow.js that calls back before every kernel. */
function observed(callback: (kernel: string) => void): Tfjs {
  const real: Tfjs = tf;
  return {
    ...real,
    engine: () => ({
      runKernel: (name, inputs, attributes) => {
        callback(name);
        return real.engine().runKernel(name, inputs, attributes);
      },
    }),
  };
}
