import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  compile,
  type Engine,
  gelu,
  geluTanh,
  grad,
  referenceEngine,
  setEngine,
  silu,
  swiglu,
  type Tensor,
  tensor,
  zeros,
} from '../src/index.js';
import { openSafetensors } from '../src/io/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { expectClose } from '../src/testing/check-case.js';

const path = join(import.meta.dirname, '../../../goldens/kernels/activations.safetensors');
const functions: Record<string, (x: Tensor, up: Tensor) => Tensor> = { silu, gelu, geluTanh, swiglu };
const engines: readonly (readonly [string, () => Engine])[] = [
  ['reference', referenceEngine],
  ['onnxruntime', () => onnxruntimeEngine({ threads: 1 })],
];

describe.each(engines)('activations as torch computes them, on %s', (_, create) => {
  const golden = new Map<string, Tensor>();
  beforeAll(async () => {
    setEngine(create());
    const file = await openSafetensors(path);
    for (const name of file.tensors.keys()) golden.set(name, tensor((await file.read(name)).data));
    await file.close();
  });

  it.each(Object.keys(functions))('%s', async (name) => {
    const f = functions[name]!;
    const [x, up] = [golden.get('x')!, golden.get('up')!];
    const step = compile((a: Tensor, b: Tensor) => [
      f(a, b),
      ...grad(([c, d]: Tensor[]) => f(c!, d!).mul(golden.get('weights')!).sum())([a, b]),
    ]);
    const [out, dx, dup] = await step(x, up);
    const same = async (key: string, got: Tensor) =>
      expectClose(key, await got.toArray(), await golden.get(key)!.toArray(), 3e-6);
    await same(name, out!);
    await same(`${name}.dx`, dx!);
    if (golden.has(`${name}.dup`)) await same(`${name}.dup`, dup!);
  });
});

describe('swiglu', () => {
  beforeAll(() => setEngine(referenceEngine()));
  it('is the product that its name says', async () => {
    const [gate, up] = [tensor([-3, -0.5, 0, 2]), tensor([2, -1, 5, 0.5])];
    expectClose('swiglu', await swiglu(gate, up).toArray(), await silu(gate).mul(up).toArray(), 1e-12);
  });
  it('is a straight line in up, and the identity of a gate far above 0', async () => {
    const [gate, up] = [tensor([40, 50]), tensor([2, -3])];
    expectClose('slope', await swiglu(gate, up).toArray(), [80, -150], 1e-12);
    const rate = grad((u: Tensor) => swiglu(gate, u).sum())(up);
    expectClose('rate', await rate.toArray(), [40, 50], 1e-12);
  });
  it('refuses two shapes', () => {
    expect(() => swiglu(zeros([2, 3]), zeros([3]))).toThrow(/swiglu.*one shape.*\[2, 3\], \[3\]/);
  });
});
