import { beforeAll, describe, expect, it } from 'vitest';
import { compile, type Engine, referenceEngine, scalar, type Tensor, tensor } from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { type Named, type OptimizerSpec, optimizerOf, optimizers } from '../src/optim/index.js';
import { onEngine } from '../src/testing/on-engine.js';
import { tfjsEngine } from '../src/tfjs.js';

const SHAPE = [64, 80] as const;
const matrix = (f: (i: number) => number) =>
  tensor(
    Float32Array.from({ length: SHAPE[0] * SHAPE[1] }, (_, i) => f(i)),
    SHAPE,
  );

/** A matrix of 5120 elements, so that 8 bits are used, after three updates. */
async function trainedOn(engine: Engine, spec: OptimizerSpec): Promise<number[]> {
  return onEngine(engine, async () => {
    const rule = optimizerOf(spec);
    let trained = { parameters: { w: matrix((i) => Math.sin(i * 1.7)), b: tensor([1, 2]) } as Named, state: {} };
    trained = { ...trained, state: rule.init(trained.parameters) };
    const step = compile(
      (now: typeof trained, gradients: Named, rate: Tensor) => ({
        trained: rule.update(now.parameters, gradients, now.state, rate),
      }),
      { donate: { 0: 'trained' } },
    );
    for (let t = 0; t < 3; t++) {
      const gradients = { w: matrix((i) => Math.sin(i * i * 0.37 + t)), b: tensor([0.1, -0.2]) };
      const state = (await rule.refresh?.(gradients, trained.state, t)) ?? trained.state;
      ({ trained } = await step({ ...trained, state }, gradients, scalar(0.01)));
    }
    return trained.parameters.w!.toArray();
  });
}

let engines: readonly Engine[];
beforeAll(async () => {
  engines = [onnxruntimeEngine(), await tfjsEngine({ backend: 'wasm' })];
});

describe.each(Object.keys(optimizers) as (keyof typeof optimizers)[])('%s', (name) => {
  it('does the same on every engine', async () => {
    const spec: OptimizerSpec = name === 'galore_adamw' ? { name, rank: 3 } : { name };
    const expected = await trainedOn(referenceEngine(), spec);
    for (const engine of engines) {
      const got = await trainedOn(engine, spec);
      const off = got.filter((value, i) => Math.abs(value - expected[i]!) > 1e-5);
      // A number halfway between two codes, or a sign near 0, may go either way.
      expect(off.length, engine.name).toBeLessThanOrEqual(/8bit|lion/.test(name) ? 5 : 0);
    }
  });
});
