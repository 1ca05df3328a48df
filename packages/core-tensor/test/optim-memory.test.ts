import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import {
  compile,
  type Engine,
  type EngineBuffer,
  grad,
  leavesOf,
  scalar,
  setEngine,
  type Tensor,
  tensor,
  zerosBuffer,
} from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { mapNamed, type Named, type Optimizer, optimizerOf, optimizers } from '../src/optim/index.js';
import { memoryOf } from './optim-helpers.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** An engine that knows how many of its buffers somebody still holds. */
function counting(engine: Engine): { engine: Engine; live(): Promise<number> } {
  const made = new Set<WeakRef<EngineBuffer>>();
  const track = <Buffer extends EngineBuffer>(buffer: Buffer): Buffer => {
    made.add(new WeakRef(buffer));
    return buffer;
  };
  return {
    engine: {
      ...engine,
      upload: async (data, spec) => track(await engine.upload(data, spec)),
      compile: async (graph, options) => {
        const inner = await engine.compile(graph, options);
        return {
          ...inner,
          run: async (inputs) => (await inner.run(inputs)).map(track),
          dispose: () => inner.dispose(),
        };
      },
    },
    async live() {
      // Twice, with a turn of the event loop between: what a finalizer frees can hold more.
      for (let i = 0; i < 2; i++) {
        await new Promise((resolve) => setImmediate(resolve));
        collectGarbage();
      }
      for (const one of made) if (one.deref() === undefined) made.delete(one);
      return made.size;
    },
  };
}

const [INPUTS, OUTPUTS, ROWS] = [80, 64, 8];
const numbers = (size: number, seed: number) =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(i * 12.9 + seed));

interface Trained {
  readonly parameters: Named;
  readonly state: object;
}

/** Two micro-batches that add up gradients and one update, as a trainer does it. */
function makeSteps(optimizer: Optimizer<object>) {
  const loss = (parameters: Named, x: Tensor) =>
    x.matmul(parameters.weight!).add(parameters.bias!).tanh().sub(0.3).square().mean();
  const accumulate = compile(
    (gradients: Named, parameters: Named, x: Tensor, keep: Tensor) => {
      const fresh = grad(loss)(parameters, x) as Named;
      return { gradients: mapNamed(gradients, (g, name) => g.mul(keep).add(fresh[name]!)) };
    },
    { donate: { 0: 'gradients' } },
  );
  const update = compile(
    (trained: Trained, gradients: Named, rate: Tensor) => ({
      trained: optimizer.update(trained.parameters, gradients, trained.state, rate),
    }),
    { donate: { 0: 'trained' } },
  );
  let gradients: Named = { weight: zerosBuffer([INPUTS, OUTPUTS]), bias: zerosBuffer([OUTPUTS]) };
  const parameters: Named = {
    weight: tensor(numbers(INPUTS * OUTPUTS, 1), [INPUTS, OUTPUTS]),
    bias: tensor(numbers(OUTPUTS, 2), [OUTPUTS]),
  };
  let trained: Trained = { parameters, state: optimizer.init(parameters) };
  let count = 0;
  return {
    async run(steps: number): Promise<void> {
      for (let i = 0; i < steps; i++, count++) {
        for (const keep of [0, 1]) {
          const x = tensor(numbers(ROWS * INPUTS, count + keep), [ROWS, INPUTS]);
          ({ gradients } = await accumulate(gradients, trained.parameters, x, scalar(keep)));
        }
        const state = (await optimizer.refresh?.(gradients, trained.state, count)) ?? trained.state;
        ({ trained } = await update({ ...trained, state }, gradients, scalar(1e-3)));
      }
    },
    leaves: () => leavesOf({ gradients, trained }),
  };
}

const names = Object.keys(optimizers) as (keyof typeof optimizers)[];

describe.each(names)('%s', (name) => {
  it('is in place, and takes no more memory after a thousand steps', async () => {
    const { engine, live } = counting(onnxruntimeEngine({ threads: 1 }));
    setEngine(engine);
    const choice =
      name === 'galore_adamw'
        ? { name, rank: 4, updateInterval: 100 }
        : name === 'sgd'
          ? { name, momentum: 0.9 }
          : name;
    const steps = makeSteps(optimizerOf(choice as keyof typeof optimizers));
    await steps.run(2);
    const before = new Map(steps.leaves().map(({ path, tensor: x }) => [path, memoryOf(x)]));
    expect([...before.values()].every(ArrayBuffer.isView)).toBe(true);
    await steps.run(3);
    const moved = steps.leaves().filter(({ path, tensor: x }) => memoryOf(x) !== before.get(path));
    expect(moved.map(({ path }) => path)).toEqual([]);
    await steps.run(95);
    const [buffers, bytes] = [await live(), process.memoryUsage().arrayBuffers];
    await steps.run(900);
    expect(await live()).toBeLessThanOrEqual(buffers);
    // One weight takes 20 KB; half of one is left for what the process does besides.
    expect(process.memoryUsage().arrayBuffers - bytes).toBeLessThan(10_000);
  });
});
