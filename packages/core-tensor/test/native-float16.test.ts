import { describe, expect, it } from 'vitest';
import { engineOf } from '../src/engines/onnxruntime/engine.js';
import { webgpuTarget } from '../src/engines/onnxruntime/lower-webgpu.js';
import {
  compile,
  type Engine,
  Key,
  normal,
  realize,
  rmsNorm,
  scalar,
  type Tensor,
  tensor,
  valueAndGrad,
} from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { adamW, lossScaler, mapNamed } from '../src/optim/index.js';
import { conformanceCases, testEngine } from '../src/testing/index.js';
import { onEngine } from '../src/testing/on-engine.js';

/** What is written for a GPU with float16, run by the CPU provider: no GPU with float16 is at hand where tests run. */
const native = (): Engine => engineOf({}, webgpuTarget(true));

const names = new Set(
  conformanceCases()
    .filter(({ inputs }) => inputs.some(({ dtype }) => dtype === 'float16'))
    .flatMap(({ name }) => [`${name}: forward`, `${name}: gradient`]),
);
const onlyFloat16 = Object.assign(
  (name: string, body: () => Promise<void>) => (names.has(name) ? it(name, body) : undefined),
  { skip: () => undefined },
);
describe('float16 as it is', () => {
  testEngine({
    name: 'onnxruntime, written for a GPU with float16',
    create: native,
    runner: { describe: (_, body) => body(), it: onlyFloat16 },
  });
});

interface Adapter {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** Losses of LoRA over frozen weights of `dtype`, whose activations have that type; the adapter is float32. */
async function lowRankTraining(engine: Engine, dtype: 'float16' | 'float32'): Promise<number[]> {
  return onEngine(engine, async () => {
    const key = Key.fromSeed(3);
    const random = (child: number, shape: readonly number[], scale: number) =>
      normal(key.child(child).toTensor(), shape).mul(scale).cast('float32');
    const frozen = {
      first: random(1, [32, 16], 0.25).cast(dtype),
      gain: random(2, [32], 0.1).add(1).cast(dtype),
      second: random(3, [8, 32], 0.2).cast(dtype),
    };
    const x = random(4, [24, 16], 1).cast(dtype);
    const wanted = random(5, [24, 8], 1);
    const forward = ({ a, b }: Adapter, scale: Tensor) => {
      const [down, up] = [a.cast(dtype), b.cast(dtype)];
      const low = x.matmul(down, { transposeB: true }).matmul(up, { transposeB: true });
      const hidden = rmsNorm(x.matmul(frozen.first, { transposeB: true }).add(low), frozen.gain, { epsilon: 1e-5 });
      const y = hidden.mul(hidden.sigmoid()).matmul(frozen.second, { transposeB: true });
      return y.cast('float32').sub(wanted).square().mean().mul(scale);
    };
    const optimizer = adamW();
    const step = compile((state: { parameters: Adapter; inner: ReturnType<typeof optimizer.init> }, scale: Tensor) => {
      const { value, gradient } = valueAndGrad((p: Adapter) => forward(p, scale))(state.parameters);
      const unscaled = mapNamed({ ...(gradient as Adapter) }, (g) => g.div(scale));
      const norm = unscaled.a!.abs().sum().add(unscaled.b!.abs().sum());
      const next = optimizer.update({ ...state.parameters }, unscaled, state.inner, scalar(0.02));
      return { parameters: next.parameters as unknown as Adapter, inner: next.state, loss: value.div(scale), norm };
    });
    const scaler = lossScaler({ initialScale: 2 ** 26 });
    let scale = scaler.initial;
    let parameters: Adapter = { a: random(6, [4, 16], 0.2), b: tensor(new Float32Array(4 * 32), [32, 4]) };
    await realize([parameters.a]);
    let inner = optimizer.init({ ...parameters });
    const losses: number[] = [];
    for (let i = 0; i < 40; i++) {
      const result = await step({ parameters, inner }, scalar(scale.scale));
      const fits = Number.isFinite(await result.norm.item());
      scale = scaler.next(scale, fits);
      if (!fits) continue;
      ({ parameters, inner } = result as { parameters: Adapter; inner: typeof inner });
      losses.push(await result.loss.item());
    }
    return losses;
  });
}

describe('LoRA over float16 weights with loss scaling', () => {
  it.each([
    // The CPU provider keeps float32 between the nodes of such a graph, so that nothing overflows.
    ['written for a GPU with float16', native, false],
    ['on the CPU', () => onnxruntimeEngine(), true],
  ])('skips what overflows and then follows float32: %s', async (_, make, overflows) => {
    const [half, full] = [await lowRankTraining(make(), 'float16'), await lowRankTraining(make(), 'float32')];
    // The first scale is too large for float16, so some updates are skipped; float32 skips none.
    expect(half.length < 40).toBe(overflows);
    expect(half.length).toBeGreaterThan(20);
    expect(full.length).toBe(40);
    for (const [i, loss] of half.entries()) expect(Math.abs(loss - full[i]!)).toBeLessThan(0.02 * full[i]!);
    expect(half.at(-1)!).toBeLessThan(0.8 * half[0]!);
  });
});
