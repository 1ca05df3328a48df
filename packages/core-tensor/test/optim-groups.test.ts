import { beforeEach, describe, expect, it } from 'vitest';
import { compile, Key, leavesOf, referenceEngine, scalar, setEngine, type Tensor, tensor } from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import {
  adafactor,
  adamW,
  clipByGlobalNorm,
  galore,
  galoreMatrices,
  lion,
  lossScaler,
  mapNamed,
  muon,
  type Named,
  newtonSchulz,
  type Optimizer,
  type OptimizerSpec,
  optimizerOf,
  optimizers,
  type ParameterGroup,
  parameterGroups,
  sgd,
} from '../src/optim/index.js';
import { leftSingularVectors } from '../src/optim/singular-vectors.js';
import { expectClose } from '../src/testing/check-case.js';
import { arrays, json } from './optim-helpers.js';

const random = (shape: readonly [number, number], seed: number): Tensor =>
  tensor(
    Key.fromSeed(seed)
      .normalHost(shape[0] * shape[1])
      .slice(),
    shape,
  );

/** One update by the given gradients, from a fresh state. */
async function changes(optimizer: Optimizer<object>, parameters: Named, gradients: Named, rate = 0.1) {
  const state = (await optimizer.refresh?.(gradients, optimizer.init(parameters), 0)) ?? optimizer.init(parameters);
  const { parameters: after } = optimizer.update(parameters, gradients, state, scalar(rate));
  const entries = Object.entries(after).map(async ([name, p]) => [name, await p.sub(parameters[name]!).toArray()]);
  return Object.fromEntries(await Promise.all(entries)) as Record<string, number[]>;
}

beforeEach(() => setEngine(referenceEngine()));

describe('parameterGroups', () => {
  const parameters = { 'a.weight': tensor([[1, 2]]), 'a.bias': tensor([1, 2]), 'b.weight': tensor([[3, 4]]) };
  const gradients = mapNamed(parameters, (p) => p);

  it('updates each parameter by the first group that matches it, with its rate and its decay', async () => {
    const groups = parameterGroups([
      { match: /bias$/g, optimizer: sgd(), learningRateFactor: 10 },
      { match: (name, p) => name.startsWith('b') && p.rank === 2, optimizer: sgd({ weightDecay: 1 }) },
      { optimizer: sgd() },
    ]);
    expect(groups.name).toBe('sgd+sgd+sgd');
    const after = await changes(groups, parameters, gradients);
    expectClose('rest', after['a.weight']!, [-0.1, -0.2], 1e-7);
    expectClose('bias', after['a.bias']!, [-1, -2], 1e-7);
    expectClose('decay', after['b.weight']!, [-0.6, -0.8], 1e-7);
    expect(Object.keys(after)).toEqual(Object.keys(parameters));
  });
  it('of one rule are that rule', async () => {
    const rule = adamW({ weightDecay: 0.1 });
    const groups = parameterGroups([{ match: /weight/, optimizer: rule }, { optimizer: rule }]);
    expect(await changes(groups, parameters, gradients)).toEqual(await changes(rule, parameters, gradients));
  });
  it('leave a parameter without gradient alone', async () => {
    const { 'a.bias': _, ...some } = gradients;
    const groups = parameterGroups([{ match: /bias/, optimizer: adamW() }, { optimizer: sgd() }]);
    expect((await changes(groups, parameters, some))['a.bias']).toEqual([0, 0]);
  });
  it("have torch's rates, schedules, decay and clips, each group its own", async () => {
    const facts = json('groups') as {
      steps: number;
      learning_rate: number;
      shared_max_norm: number;
      schedule: { num_warmup_steps: number; num_training_steps: number };
      groups: Record<
        string,
        Record<'weight_decay' | 'factor' | 'gradient_factor', number> & { max_norm: number | null }
      >;
      norms: Record<string, number[]>;
    };
    const [inputs, expected] = [await arrays('inputs'), await arrays('groups')];
    const { num_warmup_steps: warmupSteps, num_training_steps: totalSteps } = facts.schedule;
    const names = Object.keys(facts.groups);
    const rule = parameterGroups([
      ...Object.entries(facts.groups).map(([name, group]): ParameterGroup => {
        const maxGradNorm = group.max_norm ?? undefined;
        return {
          match: new RegExp(`^${name}$`),
          optimizer: adamW({ weightDecay: group.weight_decay, decays: () => true }),
          learningRateFactor: group.factor,
          gradientFactor: group.gradient_factor,
          ...(maxGradNorm !== undefined && { maxGradNorm }),
          ...(name === 'matrix' && { schedule: { name: 'cosine', totalSteps, warmupSteps } }),
        };
      }),
      { frozen: true },
    ]);
    expect(rule.name).toBe('adamw+adamw+adamw+frozen');
    const initial = names.map((name) => {
      const { data, shape } = inputs[`initial.${name}`]!;
      return [name, tensor(data, shape)] as const;
    });
    const frozen = tensor([1, 2]);
    let parameters: Named = { ...Object.fromEntries(initial), frozen };
    let state: object = rule.init(parameters);
    expect(leavesOf(state).some(({ path }) => path.includes('frozen'))).toBe(false);
    const step = compile((p: Named, g: Named, s: object, rate: Tensor) => rule.update(p, g, s as never, rate));
    for (let t = 0; t < facts.steps; t++) {
      const gradients = Object.fromEntries(
        names.map((name) => {
          const { size, shape } = parameters[name]!;
          return [name, tensor(inputs[`gradient.${name}`]!.data.slice(t * size, (t + 1) * size), shape)];
        }),
      );
      // As the trainer does it: what the rule does not clip is clipped together.
      const shared = Object.fromEntries(Object.entries(gradients).filter(([name, g]) => !rule.clips!(name, g)));
      expect(Object.keys(shared)).toEqual(['vector']);
      const clipped = { ...gradients, ...clipByGlobalNorm(shared, facts.shared_max_norm).gradients };
      const ready = (await rule.refresh?.(clipped, state as never, t)) ?? state;
      const updated = await step(parameters, clipped, ready, scalar(facts.learning_rate));
      ({ parameters, state } = updated);
      for (const name of names) {
        const { size } = parameters[name]!;
        const after = expected[`after.${name}`]!.data.slice(t * size, (t + 1) * size);
        expectClose(`${name} after step ${t}`, await parameters[name]!.toArray(), after, 5e-6);
      }
    }
    expect([step.traces, await parameters.frozen!.toArray()]).toEqual([1, [1, 2]]);
    expect(['matrix', 'frozen'].map((name) => rule.trains!(name, frozen))).toEqual([true, false]);
    expect(facts.norms.matrix!.some((norm) => norm > 0.05) && facts.norms.vector!.some((norm) => norm > 0.7)).toBe(
      true,
    );
  });
  it('say layer-wise decay of the rate: each layer moves by 0.9 times the one above it', async () => {
    const layers = Object.fromEntries([0, 1, 2].map((i) => [`layers.${i}.weight`, tensor([[1, 1]])]));
    const byLayer = [0, 1, 2].map(
      (i): ParameterGroup => ({
        match: new RegExp(`layers\\.${i}\\.`),
        optimizer: adamW(),
        learningRateFactor: 0.9 ** (2 - i),
      }),
    );
    const after = await changes(parameterGroups([...byLayer, { optimizer: adamW() }]), layers, layers);
    [0, 1, 2].forEach((i) => {
      expectClose(`layer ${i}`, after[`layers.${i}.weight`]!, [-0.1 * 0.9 ** (2 - i), -0.1 * 0.9 ** (2 - i)], 1e-7);
    });
  });
  it('refuse what a group cannot be', () => {
    expect(() => parameterGroups([{}])).toThrow(/optimizer is missing/);
    expect(() => parameterGroups([{ optimizer: sgd(), frozen: true }])).toThrow(/frozen/);
    expect(() => parameterGroups([{ optimizer: sgd(), maxGradNorm: 0 }])).toThrow(/maxGradNorm is 0/);
    const schedule = { name: 'cosinus', totalSteps: 3 } as never;
    expect(() => parameterGroups([{ optimizer: sgd(), schedule }])).toThrow(/no schedule "cosinus"/);
    // What decides a result is told apart; what is not said is as before.
    const [one, other] = [0.5, 1].map((maxGradNorm) => parameterGroups([{ optimizer: sgd(), maxGradNorm }]).settings);
    expect(one).not.toEqual(other);
    expect(parameterGroups([{ optimizer: sgd() }]).settings).toMatchObject({ '0.learningRateFactor': 1 });
  });
  it('refuse a pattern that matches nothing, and parameters in no group', () => {
    const one = { match: /wieght/, optimizer: sgd() };
    expect(() => parameterGroups([one, { optimizer: sgd() }]).init(parameters)).toThrow(
      /group 0 \(\/wieght\/\).*a\.bias/,
    );
    expect(() => parameterGroups([{ match: /weight/, optimizer: sgd() }]).init(parameters)).toThrow(/a\.bias is in no/);
    expect(() => parameterGroups([{ optimiser: sgd() } as never])).toThrow(/optimizer/);
  });
});

describe('optimizers by name', () => {
  it('are made with their options', () => {
    for (const name of Object.keys(optimizers) as (keyof typeof optimizers)[]) {
      const made = optimizerOf(name, { weightDecay: 0.1 });
      const state = made.init({ 'x.weight': random([80, 60], 1), 'x.bias': tensor([1]) });
      expect(leavesOf(state).length, name).toBeGreaterThan(name === 'sgd' ? -1 : 0);
    }
    const own = sgd();
    expect(optimizerOf(own)).toBe(own);
  });
  it('refuse what does not exist', () => {
    expect(() => optimizerOf('adamw' as 'adam')).toThrow(/no optimizer "adamw"; there are adamw_torch/);
    expect(() => optimizerOf('toString' as 'adam')).toThrow(/toString/);
    expect(() => optimizerOf({ name: 'muon', adjustment: 'none' } as unknown as OptimizerSpec)).toThrow(/original/);
    expect(() => optimizerOf({ name: 'galore_adamw', rank: 0 })).toThrow(/rank is 0/);
    for (const name of Object.keys(optimizers)) {
      const bad = { name, wieghtDecay: 1 } as unknown as OptimizerSpec;
      expect(() => optimizerOf(bad), name).toThrow(/weightDecay/);
    }
  });
});

describe('Muon', () => {
  it('makes all singular values about 1, whatever they were, and keeps the vectors', async () => {
    for (const shape of [
      [6, 4],
      [4, 6],
      [5, 5],
    ] as const) {
      const x = random(shape, 3);
      const y = newtonSchulz(x, 5);
      const gram = shape[0] > shape[1] ? y.matmul(y, { transposeA: true }) : y.matmul(y, { transposeB: true });
      const k = Math.min(...shape);
      const values = await gram.toArray();
      // The eigenvalues of the Gram matrix are squares of singular values in [0.68, 1.21] (the range of the quintic).
      for (let i = 0; i < k; i++) {
        expect(values[i * k + i]!).toBeGreaterThan(0.4);
        expect(values[i * k + i]!).toBeLessThan(1.5);
      }
      expectClose('scale', await newtonSchulz(x.mul(1000), 5).toArray(), await y.toArray(), 1e-9);
      expectClose('transpose', await newtonSchulz(x.transpose(), 5).transpose().toArray(), await y.toArray(), 1e-9);
    }
  });
  it('of a matrix with equal singular values is a multiple of that matrix', async () => {
    const rotation = tensor([
      [0.6, -0.8],
      [0.8, 0.6],
    ]);
    const [a, b] = await newtonSchulz(rotation.mul(7), 5).toArray();
    expect(a! / 0.6).toBeCloseTo(b! / -0.8, 6);
  });
  it('leaves embeddings, head and vectors to the other optimizer', async () => {
    const names = [
      'model.embed_tokens.weight',
      'lm_head.weight',
      'transformer.wte.weight',
      'model.norm.weight',
      'q_proj.weight',
    ];
    const parameters = Object.fromEntries(
      names.map((name, i) => [name, name.includes('norm') ? tensor([1, 2]) : random([3, 2], i)]),
    );
    const after = await changes(muon({ others: sgd(), othersFactor: 2, weightDecay: 0 }), parameters, parameters);
    for (const name of names.slice(0, 4)) {
      expectClose(
        name,
        after[name]!,
        (await parameters[name]!.toArray()).map((x) => -0.2 * x),
        1e-7,
      );
    }
    const norm = Math.hypot(...after['q_proj.weight']!) / (0.1 * Math.sqrt(3 / 2));
    expect(norm).toBeGreaterThan(0.9);
    expect(norm).toBeLessThan(1.7);
    expect(() => muon({ appliesTo: () => true }).init(parameters)).toThrow(/norm\.weight is .* matrices only/);
  });
});

describe('Lion and Adafactor', () => {
  it('Lion: every step has the size of the rate', async () => {
    const after = await changes(lion(), { w: tensor([1, 2, 3]) }, { w: tensor([1e-6, -5, 0]) });
    expectClose('w', after.w!, [-0.1, 0.1, 0], 1e-7);
  });
  it('Adafactor: is exact for squares of rank one, and its state is a row and a column', async () => {
    const [rows, columns] = [
      [1, 2, 3],
      [0.5, 4],
    ];
    const g = tensor(rows.map((r) => columns.map((c) => r * c)));
    const rule = adafactor();
    const after = await changes(
      rule,
      {
        w: tensor([
          [0, 0],
          [0, 0],
          [0, 0],
        ]),
      },
      { w: g },
    );
    // At the first update v is the square itself, and g / √v is 1 everywhere.
    expectClose('w', after.w!, Array(6).fill(-0.1), 1e-7);
    const state = rule.init({ w: g, b: tensor([1, 2]) });
    expect(leavesOf(state).map(({ path, tensor: { shape } }) => `${path} ${shape}`)).toEqual([
      'step ',
      'rows.w 3,1',
      'columns.w 1,2',
      'square.b 2',
    ]);
  });
});

describe('GaLore', () => {
  it('finds the leading singular vectors, exactly or by subspace iteration', async () => {
    setEngine(onnxruntimeEngine());
    const [k, l, rank] = [40, 60, 4];
    // Singular values fall by half, so that a small subspace can be followed.
    const left = random([k, k], 1);
    const decay = tensor(
      Float32Array.from({ length: k * l }, (_, i) => (i % l === Math.floor(i / l) ? 0.5 ** (i % l) : 0)),
      [k, l],
    );
    const x = left.matmul(decay).matmul(random([l, l], 2));
    const vectors = tensor(await leftSingularVectors(x, rank), [k, rank]);
    const all = tensor(await leftSingularVectors(x, k), [k, k]);
    const gram = await all.matmul(all, { transposeA: true }).toArray();
    expectClose(
      'orthonormal',
      gram,
      Array.from({ length: k * k }, (_, i) => (i % (k + 1) === 0 ? 1 : 0)),
      1e-5,
    );
    expectClose('same', await vectors.toArray(), await all.slice(1, 0, rank).toArray(), 1e-4);
    const projected = await all.matmul(x, { transposeA: true }).square().sum(1).toArray();
    expect(projected.every((value, i) => i === 0 || value <= projected[i - 1]! * (1 + 1e-4) + 1e-9)).toBe(true);
    for (let j = 0; j < rank; j++) {
      const column = await vectors.slice(1, j, j + 1).toArray();
      expect(column.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a))).toBeGreaterThan(0);
    }
  });
  it('of full rank is Adam where the gradients are diagonal, so that the singular vectors are the axes', async () => {
    const diagonal = (values: number[]) => tensor(values.map((v, i) => values.map((_, j) => (i === j ? v : 0))));
    const parameters = { w: random([4, 4], 5) };
    const [full, plain] = [galoreMatrices({ rank: 4, scale: 1 }), adamW()];
    let [a, b]: Named[] = [parameters, parameters];
    let [stateA, stateB] = [full.init(a!), plain.init(b!)];
    for (let t = 0; t < 5; t++) {
      const gradients = { w: diagonal([4 + t, -3, 2 * (t - 2), 1]) };
      stateA = (await full.refresh!(gradients, stateA, t)) ?? stateA;
      ({ parameters: a, state: stateA } = full.update(a!, gradients, stateA, scalar(0.1)));
      ({ parameters: b, state: stateB } = plain.update(b!, gradients, stateB, scalar(0.1)));
    }
    expectClose('w', await a!.w!.toArray(), await b!.w!.toArray(), 1e-6);
  });
  it('of full rank is Adam in the coordinates of the singular vectors', async () => {
    const [p, g] = [random([3, 5], 1), random([3, 5], 2)];
    const after = await changes(galoreMatrices({ rank: 3, scale: 1 }), { w: p }, { w: g });
    const basis = tensor(await leftSingularVectors(g, 3), [3, 3]);
    const rotated = basis.matmul(g, { transposeA: true });
    const inner = await changes(adamW(), { w: basis.matmul(p, { transposeA: true }) }, { w: rotated });
    expectClose('w', after.w!, await basis.matmul(tensor(inner.w!, [3, 5])).toArray(), 1e-6);
  });
  it('keeps r (m + 2n) numbers for a matrix [m, n], and new projections come when they are due only', async () => {
    const [m, n, rank] = [6, 20, 2];
    const rule = galore({ rank, updateInterval: 3 });
    const parameters = { 'q.weight': random([m, n], 1), 'o.weight': random([n, m], 2), 'norm.weight': tensor([1, 2]) };
    const state = rule.init(parameters);
    const [matrices] = state.groups as [{ projection: Named; mean: Named; square: Named }];
    const count = (name: string) =>
      [matrices.projection, matrices.mean, matrices.square].reduce((sum, x) => sum + x[name]!.size, 0);
    expect([count('q.weight'), count('o.weight')]).toEqual([rank * (m + 2 * n), rank * (m + 2 * n)]);
    expect([1, 2, 4].map((step) => rule.refresh!(parameters, state, step))).toEqual([undefined, undefined, undefined]);
    for (const step of [0, 3]) {
      const next = await rule.refresh!(parameters, state, step)!;
      const [renewed, others] = next.groups as [typeof matrices, object];
      expect(renewed.projection['q.weight']).not.toBe(matrices.projection['q.weight']);
      expect(renewed.mean['q.weight']).toBe(matrices.mean['q.weight']);
      expect(others).toBe(state.groups[1]);
    }
  });
  it('learns in two of twenty directions at a time, if they are renewed', async () => {
    setEngine(onnxruntimeEngine());
    const truth = random([20, 1], 1).matmul(random([1, 30], 2));
    const start = random([20, 30], 3);
    const lossAfter = async (steps: number, updateInterval: number) => {
      const rule = galoreMatrices({ rank: 2, scale: 1, updateInterval });
      let trained = { parameters: { w: start } as Named, state: rule.init({ w: start }) };
      const step = compile((now: typeof trained, gradients: Named, rate: Tensor) => ({
        trained: rule.update(now.parameters, gradients, now.state, rate),
      }));
      for (let t = 0; t < steps; t++) {
        const gradients = { w: tensor(await trained.parameters.w!.sub(truth).data(), [20, 30]) };
        const state = (await rule.refresh!(gradients, trained.state, t)) ?? trained.state;
        trained = (await step({ ...trained, state }, gradients, scalar(0.05))).trained as typeof trained;
      }
      return trained.parameters.w!.sub(truth).square().mean().item();
    };
    const first = await lossAfter(0, 1);
    const renewed = await lossAfter(300, 10);
    expect(renewed).toBeLessThan(first / 4);
    // Two directions hold a part of the error only.
    expect(await lossAfter(300, 1000)).toBeGreaterThan(2 * renewed);
  });
});

describe('lossScaler', () => {
  const golden = json('loss-scaler') as {
    options: { init_scale: number; growth_factor: number; backoff_factor: number; growth_interval: number };
    found_inf: number[];
    scales: number[];
    growth_trackers: number[];
  };
  it('has the scales of torch', () => {
    const { init_scale, growth_factor, backoff_factor, growth_interval } = golden.options;
    const scaler = lossScaler({
      initialScale: init_scale,
      growthFactor: growth_factor,
      backoffFactor: backoff_factor,
      growthInterval: growth_interval,
    });
    let state = scaler.initial;
    const states = golden.found_inf.map((found) => {
      state = scaler.next(state, found === 0);
      return state;
    });
    expect(states.map(({ scale }) => scale)).toEqual(golden.scales);
    expect(states.map(({ growthTracker }) => growthTracker)).toEqual(golden.growth_trackers);
  });
  it('never grows beyond float32, and refuses settings that cannot be right', () => {
    const scaler = lossScaler({ initialScale: 2 ** 127, growthInterval: 1 });
    expect(scaler.next(scaler.initial, true)).toEqual({ scale: 2 ** 127, growthTracker: 0 });
    expect(lossScaler().initial).toEqual({ scale: 65_536, growthTracker: 0 });
    expect(() => lossScaler({ backoffFactor: 2 })).toThrow(
      /backoffFactor is 2; it must be a number above 0 and below 1/,
    );
    expect(() => lossScaler({ growthinterval: 2 } as never)).toThrow(/growthInterval/);
  });
});
