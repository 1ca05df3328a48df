import { concat, grad, iota, referenceEngine, setEngine, type Tensor, tensor } from '@posttrain/core-tensor';
import { beforeAll, describe, expect, it } from 'vitest';
import { gatedDeltaRule, unitLowerInverse } from '../src/model/recurrence/gated-delta-rule.js';
import { causalConvolution, type LayerState, type RecurrentPast } from '../src/model/recurrence/layer-state.js';
import { selectiveScan } from '../src/model/recurrence/selective-scan.js';
import { largestDifference } from './support.js';

beforeAll(() => setEngine(referenceEngine()));

/** Numbers of order 1 that repeat only after long. */
function noise(shape: readonly number[], seed: number): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(
    Float32Array.from({ length: size }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed) * Math.cos(4.1414 * i)),
    shape,
  );
}

const [B, G, H, P, N] = [2, 2, 4, 3, 5];
const inputsOf = (s: number) => ({
  x: noise([B, s, H, P], 1),
  y: noise([B, s, H], 2).abs().mul(0.5),
  z: noise([B, s, H], 3).abs().mul(0.9),
  keys: noise([B, s, G, N], 4),
  queries: noise([B, s, G, N], 5),
});
type Inputs = ReturnType<typeof inputsOf>;

interface Rule {
  readonly state: string;
  readonly shape: readonly number[];
  run(inputs: Inputs, past: RecurrentPast, chunk: number): { readonly y: Tensor; readonly state: Tensor };
  /** One token of a head in plain numbers: changes the state, gives the output. */
  step(
    state: number[][],
    token: { x: number[]; y: number; z: number; key: number[]; query: number[] },
    head: number,
  ): number[];
}

const RATES = [-0.3, -1, -2, -0.01];
const RULES: Readonly<Record<string, Rule>> = {
  'the selective scan': {
    state: 'ssm',
    shape: [H, P, N],
    run({ x, y: dt, keys, queries }, past, chunk) {
      const a = tensor(Float32Array.from(RATES));
      const { y, ssm } = selectiveScan({ x, dt, a, input: keys, read: queries }, past, chunk);
      return { y, state: ssm };
    },
    step(state, { x, y: dt, key, query }, head) {
      const decay = Math.exp(dt * Math.fround(RATES[head]!));
      return state.map((row, p) => {
        row.forEach((_, n) => {
          row[n] = row[n]! * decay + dt * x[p]! * key[n]!;
        });
        return row.reduce((sum, value, n) => sum + value * query[n]!, 0);
      });
    },
  },
  'the gated delta rule': {
    state: 'delta',
    shape: [H, N, P],
    run({ x: values, y, z: strength, keys, queries }, past, chunk) {
      const rule = { queries, keys: normed(keys), values, logDecay: y.neg(), strength };
      const { y: out, delta } = gatedDeltaRule(rule, past, chunk);
      return { y: out, state: delta };
    },
    step(state, { x: value, y, z: strength, key, query }) {
      const length = Math.hypot(...key);
      const k = key.map((x) => x / length);
      const decay = Math.exp(-y);
      for (const row of state) for (const p of row.keys()) row[p] = row[p]! * decay;
      const found = value.map((_, p) => k.reduce((sum, x, n) => sum + x * state[n]![p]!, 0));
      const written = value.map((x, p) => strength * (x - found[p]!));
      for (const [n, row] of state.entries()) for (const p of row.keys()) row[p] = row[p]! + k[n]! * written[p]!;
      return value.map((_, p) => query.reduce((sum, x, n) => sum + x * state[n]![p]!, 0));
    },
  },
};

const normed = (x: Tensor) => x.div(x.square().sum(3, { keepDims: true }).sqrt());

const pieceOf = (inputs: Inputs, from: number, to: number): Inputs =>
  Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, x.slice(1, from, to)])) as unknown as Inputs;

/** The recurrence token by token in double precision; a row begins anew, with `initial`, where `since` is 0. */
async function bruteForce(rule: Rule, inputs: Inputs, since: readonly number[], initial: readonly number[]) {
  const s = since.length;
  const all = Object.fromEntries(
    await Promise.all(Object.entries(inputs).map(async ([name, x]) => [name, await x.toArray()] as const)),
  ) as Record<keyof Inputs, number[]>;
  const [, rows, columns] = rule.shape as [number, number, number];
  const stateOf = (head: number) =>
    Array.from({ length: rows }, (_, i) =>
      Array.from({ length: columns }, (_, j) => initial[(head * rows + i) * columns + j] ?? 0),
    );
  const y = new Array<number>(B * s * H * P);
  const last: number[] = [];
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      let state: number[][] = stateOf(-1);
      for (let t = 0; t < s; t++) {
        if (since[t] === 0) state = stateOf(h);
        const vector = (name: 'x' | 'keys' | 'queries', heads: number, head: number, width: number) => {
          const from = ((b * s + t) * heads + head) * width;
          return all[name].slice(from, from + width);
        };
        const group = Math.floor(h / (H / G));
        const token = {
          ...{ x: vector('x', H, h, P), key: vector('keys', G, group, N), query: vector('queries', G, group, N) },
          ...{ y: all.y[(b * s + t) * H + h]!, z: all.z[(b * s + t) * H + h]! },
        };
        for (const [p, value] of rule.step(state, token, h).entries()) y[((b * s + t) * H + h) * P + p] = value;
      }
      last.push(...state.flat());
    }
  }
  return { y, state: last };
}

describe.each(Object.entries(RULES))('%s', (_, rule) => {
  const S = 40;
  const CHUNK = 16;
  const inputs = inputsOf(S);
  const whole = Array.from({ length: S }, (_, i) => i);

  it('is the recurrence token by token, whatever pieces it is computed in', async () => {
    const want = await bruteForce(rule, inputs, whole, []);
    const zero = { [rule.state]: tensor(new Float32Array(B * H * N * P), [B, ...rule.shape]) };
    for (const sizes of [[S], [16, 16, 8], [1, 1, 1, 33, 1, 3], [17, 23]]) {
      let [from, state]: [number, LayerState | undefined] = [0, undefined];
      const outputs: Tensor[] = [];
      for (const size of sizes) {
        const { y, state: next } = rule.run(pieceOf(inputs, from, from + size), { state: state ?? zero }, CHUNK);
        outputs.push(y);
        state = { [rule.state]: next };
        from += size;
      }
      expect(largestDifference(await concat(outputs, 1).toArray(), want.y)).toBeLessThan(1e-5);
      expect(largestDifference(await state![rule.state]!.toArray(), want.state)).toBeLessThan(1e-5);
    }
  });

  it('begins anew where sequences meet, with what stands before every one', async () => {
    const since = whole.map((i) => (i < 3 ? i + 7 : i < 20 ? i - 3 : i < 25 ? i - 20 : i < 26 ? 0 : i - 26));
    const grid = tensor(Int32Array.from([...since, ...since]), [B, S], 'int32');
    const initial = noise([1, ...rule.shape], 9);
    for (const begins of [undefined, { [rule.state]: initial }]) {
      const want = await bruteForce(rule, inputs, since, begins ? await initial.toArray() : []);
      const got = rule.run(inputs, { since: grid, ...(begins && { initial: begins }) }, CHUNK);
      expect(largestDifference(await got.y.toArray(), want.y)).toBeLessThan(1e-5);
      expect(largestDifference(await got.state.toArray(), want.state)).toBeLessThan(1e-5);
    }
  });

  it('leaves the state as it is for padding', async () => {
    const counts = [18, 0];
    const state = { [rule.state]: noise([B, ...rule.shape], 8) };
    const got = rule.run(inputs, { state, counts: tensor(Int32Array.from(counts)) }, CHUNK);
    const alone = rule.run(pieceOf(inputs, 0, 18), { state }, CHUNK);
    expect(
      largestDifference(await got.y.slice(1, 0, 18).slice(0, 0, 1).toArray(), await alone.y.slice(0, 0, 1).toArray()),
    ).toBeLessThan(1e-6);
    const want = concat([alone.state.slice(0, 0, 1), state[rule.state]!.slice(0, 1)], 0);
    expect(largestDifference(await got.state.toArray(), await want.toArray())).toBeLessThan(1e-6);
  });

  it('has the gradient of finite differences, past strong decays', async () => {
    const short = pieceOf(inputs, 0, 18);
    const since = iota([B, 18], 1).mod(11);
    const loss = (x: Inputs) =>
      rule
        .run({ ...x, y: x.y.mul(20) }, { since }, 8)
        .y.mul(noise([B, 18, H, P], 6))
        .sum();
    const gradient = grad(loss)(short);
    for (const name of ['x', 'y', 'keys', 'queries'] as const) {
      const way = noise(short[name].shape, 11);
      const at = (step: number) => loss({ ...short, [name]: short[name].add(way.mul(step)) }).item();
      const slope = ((await at(1e-4)) - (await at(-1e-4))) / 2e-4;
      const got = await gradient[name].mul(way).sum().item();
      expect(Math.abs(got - slope), name).toBeLessThan(1e-3 * (1 + Math.abs(slope)));
    }
  });
});

it('inverts a triangular system whose keys are all alike', async () => {
  const q = 64;
  const a = tensor(new Float32Array(q * q).fill(1), [1, q, q]);
  const { inverse, ones } = {
    inverse: await unitLowerInverse(a).toArray(),
    ones: (i: number, j: number) => Number(i === j) - Number(i === j + 1),
  };
  const want = inverse.map((_, at) => ones(Math.floor(at / q), at % q));
  expect(largestDifference(inverse, want)).toBe(0);
});

it('convolves over time as its definition says, across pieces, padding and where sequences meet', async () => {
  const [s, c, taps] = [9, 2, 4];
  const x = noise([1, s, c], 1);
  const filters = noise([c, 1, taps], 2);
  const before = noise([1, taps - 1, c], 3);
  const [xs, fs, zs] = [await x.toArray(), await filters.toArray(), await before.toArray()];
  const rowAt = (t: number, f: number, start: number) =>
    t >= start ? xs[t * c + f]! : (zs[(taps - 1 + t - start) * c + f] ?? 0);
  const want = (start: number, t: number) =>
    Array.from({ length: c }, (_, f) =>
      Array.from({ length: taps }, (_, d) => fs[f * taps + taps - 1 - d]! * rowAt(t - d, f, start)).reduce(
        (a, b) => a + b,
      ),
    );
  const places = Array.from({ length: s }, (_, t) => t);
  const state = { conv: before };
  const got = causalConvolution(x, filters, undefined, { state });
  expect(
    largestDifference(
      await got.output.toArray(),
      places.flatMap((t) => want(0, t)),
    ),
  ).toBeLessThan(1e-6);
  const padded = causalConvolution(x, filters, undefined, { state, counts: tensor(Int32Array.of(2)) });
  expect(largestDifference(await padded.conv.toArray(), [...zs.slice(2 * c), ...xs.slice(0, 2 * c)])).toBe(0);
  const since = tensor(Int32Array.from(places.map((t) => (t < 4 ? t : t - 4))), [1, s], 'int32');
  const packed = causalConvolution(x, filters, undefined, { since, initial: state });
  expect(
    largestDifference(
      await packed.output.toArray(),
      places.flatMap((t) => want(t < 4 ? 0 : 4, t)),
    ),
  ).toBeLessThan(1e-6);
});
