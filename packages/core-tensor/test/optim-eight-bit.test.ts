import { beforeEach, describe, expect, it } from 'vitest';
import {
  compile,
  type Engine,
  grad,
  Key,
  leavesOf,
  referenceEngine,
  scalar,
  setEngine,
  type Tensor,
  tensor,
} from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import {
  adamW,
  adamW8bit,
  blockCount,
  blockwiseCoder,
  type EightBitState,
  lion8bit,
  mapNamed,
  type Named,
  type Optimizer,
} from '../src/optim/index.js';
import { dynamicMap } from '../src/quantization/dynamic-map.js';
import { expectClose } from '../src/testing/check-case.js';
import { arrays, memoryOf } from './optim-helpers.js';

const kinds = ['signed', 'unsigned'] as const;

const engines: readonly (readonly [string, Engine])[] = [
  ['reference', referenceEngine()],
  ['onnxruntime', onnxruntimeEngine()],
];

describe('the dynamic code', () => {
  it.each(kinds)('%s is that of bitsandbytes, bit for bit', async (kind) => {
    const golden = await arrays('eight-bit-code');
    expect(dynamicMap(kind)).toEqual(golden[`${kind}.code`]!.data);
  });
  it('is ascending, has 0 and 1, and each decade has twice the codes of the one below', () => {
    const code = [...dynamicMap('unsigned')];
    expect(code).toHaveLength(256);
    expect(code.every((value, i) => i === 0 || value > code[i - 1]!)).toBe(true);
    expect([code[0], code.at(-1)]).toEqual([0, 1]);
    const within = (low: number, high: number) => code.filter((value) => value > low && value < high).length;
    expect([within(1e-7, 1e-6), within(0.01, 0.1), within(0.1, 1)]).toEqual([2, 64, 128]);
    const signed = [...dynamicMap('signed')];
    expect(signed.slice(0, 127).map((value) => -value)).toEqual(signed.slice(128, 255).reverse());
  });
});

describe.each(engines)('8 bits on %s', (name, engine) => {
  beforeEach(() => setEngine(engine));

  it.each(kinds)('%s: codes, scales and numbers of bitsandbytes', async (kind) => {
    const golden = await arrays('eight-bit-code');
    const values = golden.values!.data;
    const x = tensor(kind === 'signed' ? values : values.map(Math.abs));
    const packed = blockwiseCoder(kind).encode(x);
    const [codes, scales] = [await packed.codes.data(), await packed.scales.data()];
    expect([...scales]).toEqual([...golden[`${kind}.absmax`]!.data]);
    const zero = dynamicMap(kind).indexOf(0);
    // In a block of zeros (its scale is 0) any code would do; bitsandbytes has 0 there.
    const expected = golden[`${kind}.codes`]!.data.map((code, i) => (scales[Math.floor(i / 256)] === 0 ? zero : code));
    const wrong = [...codes].flatMap((code, i) => (code === expected[i] ? [] : [`${i}: ${code}, not ${expected[i]}`]));
    expect(wrong).toEqual([]);
    const back = await blockwiseCoder(kind).decode(packed).toArray();
    expectClose('numbers', back, golden[`${kind}.back`]!.data, 1e-7);
  });

  const rules = { adamw: adamW8bit, lion: lion8bit } as const;
  it.each(Object.keys(rules) as (keyof typeof rules)[])('%s of bitsandbytes, 5 steps', async (kind) => {
    const golden = { ...(await arrays('eight-bit-inputs')), ...(await arrays('eight-bit')) };
    const rule = rules[kind]({ weightDecay: 0.1, decays: () => true }) as Optimizer<EightBitState<object>>;
    let parameters: Named = Object.fromEntries(
      ['matrix', 'vector'].map((key) => [
        key,
        tensor(golden[`initial.${key}`]!.data.slice(), golden[`initial.${key}`]!.shape),
      ]),
    );
    let state = rule.init(parameters);
    const step = compiledStep(rule);
    for (let t = 0; t < 5; t++) {
      const gradients = mapNamed(parameters, (p, key) =>
        tensor(golden[`gradient.${key}`]!.data.slice(t * p.size, (t + 1) * p.size), p.shape),
      );
      ({ parameters, state } = (await step({ parameters, state }, gradients, scalar(0.01))).trained);
      for (const [key, p] of Object.entries(parameters)) {
        const after = golden[`${kind}.${t}.after.${key}`]?.data;
        if (after) expectClose(`${key} after step ${t}`, await p.toArray(), after, 5e-6);
      }
    }
    for (const [moment, index] of Object.entries({ mean: 1, ...(kind === 'adamw' && { square: 2 }) })) {
      expect(await state.codes[moment]!.matrix!.data()).toEqual(golden[`${kind}.4.state${index}.matrix`]!.data);
      const scales = await state.scales[moment]!.matrix!.toArray();
      expectClose('scales', scales, golden[`${kind}.4.absmax${index}.matrix`]!.data, 1e-6);
      // Too small for 8 bits.
      const rest = (state.rest as Record<string, Named>)[moment]!.vector!;
      expectClose('vector', await rest.toArray(), golden[`${kind}.4.state${index}.vector`]!.data, 1e-6);
    }
  });

  it('comes back within half a gap of the code, for any scale', async () => {
    for (const kind of kinds) {
      const code = dynamicMap(kind);
      const drawn = Key.fromSeed(name.length).uniformHost(600);
      const values = Float32Array.from(drawn, (u, i) => 3e-9 * 10 ** (i % 7) * (kind === 'signed' ? 2 * u - 1 : u));
      const packed = blockwiseCoder(kind).encode(tensor(values, [20, 30]));
      expect([packed.codes.dtype, packed.codes.shape, packed.scales.shape]).toEqual(['uint8', [20, 30], [3]]);
      const [back, scales] = [await blockwiseCoder(kind).decode(packed).toArray(), await packed.scales.toArray()];
      back.forEach((value, i) => {
        const scale = scales[Math.floor(i / 256)]!;
        const exact = values[i]! / scale;
        const nearest = code.reduce((best, c) => (Math.abs(c - exact) < Math.abs(best - exact) ? c : best));
        expect(Math.abs(value / scale - exact)).toBeLessThanOrEqual(Math.abs(nearest - exact) + 1e-6);
      });
    }
  });
});

describe('training with moments in 8 bits', () => {
  beforeEach(() => setEngine(onnxruntimeEngine()));

  it('updates a large parameter in parts, which changes nothing, and in place', async () => {
    const [rows, columns] = [1280, 1024];
    const draw = (seed: number) =>
      tensor(
        Float32Array.from({ length: rows * columns }, (_, k) => Math.sin(k * seed)),
        [rows, columns],
      );
    const [start, gradient] = [draw(1), draw(2)];
    const rule = adamW8bit({ weightDecay: 0.1 });
    const step = compiledStep(rule);
    const run = async (cuts: readonly number[]) => {
      const split = (x: Tensor): Named =>
        Object.fromEntries(cuts.slice(1).map((end, i) => [`w${i}`, x.slice(0, cuts[i]!, end)]));
      const [parameters, gradients] = [split(start), split(gradient)];
      let trained = { parameters, state: rule.init(parameters) };
      const memory = () => leavesOf(trained).map(({ tensor: x }) => memoryOf(x));
      const seen: unknown[][] = [];
      for (let t = 0; t < 3; t++) {
        ({ trained } = await step(trained, gradients, scalar(0.01)));
        seen.push(memory());
      }
      expect(seen[2]!.every((block, i) => block === seen[1]![i])).toBe(true);
      const join = async (named: Named) =>
        Buffer.concat(
          await Promise.all(Object.values(named).map(async (x) => Buffer.from((await x.data()).slice().buffer))),
        );
      const { codes, scales } = trained.state;
      const all = [trained.parameters, ...Object.values(codes), ...Object.values(scales)];
      return Promise.all(all.map(join));
    };
    const whole = await run([0, rows]);
    const parts = await run([0, 512, 1024, rows]);
    whole.forEach((bytes, i) => {
      expect(bytes.equals(parts[i]!)).toBe(true);
    });
  });

  it('goes as with float32 moments, in about a quarter of the memory', async () => {
    const [inputs, outputs, count] = [96, 64, 256];
    const key = Key.fromSeed(1);
    const truth = tensor(
      Float32Array.from(key.child(0).uniformHost(inputs * outputs), (u) => u - 0.5),
      [inputs, outputs],
    );
    const x = tensor(
      Float32Array.from(key.child(1).uniformHost(count * inputs), (u) => 2 * u - 1),
      [count, inputs],
    );
    const y = tensor(await x.matmul(truth).tanh().data(), [count, outputs]);
    const loss = ({ w }: { w: Tensor }) => x.matmul(w).tanh().sub(y).square().mean();
    const curve = async <State extends object>(optimizer: Optimizer<State>) => {
      let trained = {
        parameters: { w: tensor(new Float32Array(inputs * outputs), [inputs, outputs]) } as Named,
        state: {} as State,
      };
      trained = { ...trained, state: optimizer.init(trained.parameters) };
      const step = compile(
        (current: typeof trained, rate: Tensor) => ({
          trained: optimizer.update(
            current.parameters,
            grad(loss)(current.parameters as { w: Tensor }),
            current.state,
            rate,
          ),
          loss: loss(current.parameters as { w: Tensor }),
        }),
        { donate: { 0: 'trained' } },
      );
      const losses: number[] = [];
      for (let t = 0; t < 60; t++) {
        const result = await step(trained, scalar(0.01));
        trained = result.trained as typeof trained;
        losses.push(await result.loss.item());
      }
      const sizes = await Promise.all(
        leavesOf(trained.state).map(async (leaf) => (await leaf.tensor.data()).byteLength),
      );
      return { losses, bytes: sizes.reduce((a, b) => a + b, 0) };
    };
    const [full, small] = [await curve(adamW()), await curve(adamW8bit())];
    expect(full.losses.at(-1)!).toBeLessThan(full.losses[0]! / 50);
    small.losses.forEach((value, t) => {
      expect(Math.abs(value / full.losses[t]! - 1), `loss of step ${t}`).toBeLessThan(0.1);
    });
    expect(small.bytes).toBe(4 + 2 * inputs * outputs + 8 * blockCount(inputs * outputs));
    expect(small.bytes / full.bytes).toBeLessThan(0.26);
  });
});

function compiledStep<State extends object>(optimizer: Optimizer<State>) {
  return compile(
    (trained: { parameters: Named; state: State }, gradients: Named, rate: Tensor) => ({
      trained: optimizer.update(trained.parameters, gradients, trained.state, rate),
    }),
    { donate: { 0: 'trained' } },
  );
}
