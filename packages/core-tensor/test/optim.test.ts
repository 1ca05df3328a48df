import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { compile, type Engine, referenceEngine, scalar, setEngine, type Tensor, tensor } from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { adamW, clipByGlobalNorm, globalNorm, mapNamed, type Named, type Optimizer, sgd } from '../src/optim/index.js';
import { expectClose } from '../src/testing/check-case.js';
import { type Arrays, arrays, json } from './optim-helpers.js';

interface Group {
  readonly lr: number;
  readonly weight_decay: number;
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly momentum?: number;
  readonly nesterov?: boolean;
}

interface Facts {
  readonly steps: number;
  readonly groups: readonly (readonly string[])[];
  readonly optimizers: Readonly<
    Record<
      string,
      {
        readonly groups: readonly Group[];
        readonly max_norm?: number;
        readonly total_norms?: readonly number[];
        readonly learning_rates?: readonly (readonly number[])[];
      }
    >
  >;
}

const facts = json('optimizers') as Facts;

/** torch's parameter groups are optimizers side by side here. */
function optimizerOf(group: Group): Optimizer<unknown> {
  const { weight_decay: weightDecay, betas, eps, momentum = 0, nesterov = false } = group;
  return (
    betas
      ? adamW({ beta1: betas[0], beta2: betas[1], epsilon: eps!, weightDecay, decays: () => true })
      : sgd({ momentum, nesterov, weightDecay })
  ) as Optimizer<unknown>;
}

const engines: readonly (readonly [string, Engine])[] = [
  ['reference', referenceEngine()],
  ['onnxruntime', onnxruntimeEngine()],
];

describe.each(engines)('trajectories of torch on %s', (_, engine) => {
  let inputs: Arrays;
  beforeAll(async () => {
    inputs = await arrays('inputs');
  });
  beforeEach(() => setEngine(engine));

  it.each(Object.keys(facts.optimizers))('%s, 20 steps', async (kind) => {
    const { groups, max_norm: maxNorm, total_norms: norms, learning_rates: rates } = facts.optimizers[kind]!;
    const expected = await arrays(kind);
    const optimizers = groups.map(optimizerOf);
    const initial = Object.fromEntries(
      facts.groups
        .flat()
        .map((name) => [name, tensor(inputs[`initial.${name}`]!.data.slice(), inputs[`initial.${name}`]!.shape)]),
    );
    const pick = (named: Named, i: number): Named =>
      Object.fromEntries(facts.groups[i]!.map((name) => [name, named[name]!]));

    type State = { parameters: Record<string, Tensor>; states: unknown[] };
    const step = compile(
      (state: State, gradients: Named, learningRates: Tensor[]) => {
        const clipped =
          maxNorm === undefined ? { gradients, norm: globalNorm(gradients) } : clipByGlobalNorm(gradients, maxNorm);
        const results = optimizers.map((optimizer, i) =>
          optimizer.update(pick(state.parameters, i), pick(clipped.gradients, i), state.states[i], learningRates[i]!),
        );
        const parameters: Record<string, Tensor> = Object.assign({}, ...results.map((result) => result.parameters));
        return { state: { parameters, states: results.map((result) => result.state) }, norm: clipped.norm };
      },
      { donate: { 0: 'state' } },
    );

    let state: State = {
      parameters: initial,
      states: optimizers.map((optimizer, i) => optimizer.init(pick(initial, i))),
    };
    for (let t = 0; t < facts.steps; t++) {
      const gradients = mapNamed(initial, (p, name) => {
        const all = inputs[`gradient.${name}`]!.data;
        return tensor(all.slice(t * p.size, (t + 1) * p.size), p.shape);
      });
      const learningRates = groups.map(({ lr }, i) => scalar(rates?.[t]?.[i] ?? lr));
      const result = await step(state, gradients, learningRates);
      state = result.state;
      if (norms) expectClose(`norm in step ${t}`, [await result.norm.item()], [norms[t]!], 2e-6);
      for (const [name, p] of Object.entries(state.parameters)) {
        const after = expected[`after.${name}`]!.data.slice(t * p.size, (t + 1) * p.size);
        expectClose(`${name} after step ${t}`, await p.toArray(), after, 5e-6);
      }
    }
    expect(step.traces).toBe(1);
    const flat = Object.assign({}, ...state.states) as Record<string, Tensor | Named>;
    for (const [key, { data }] of Object.entries(expected)) {
      const [kindOfState, name] = [key.split('.')[1]!, key.split('.')[2]!];
      if (!key.startsWith('state.')) continue;
      const ours = { exp_avg: 'mean', exp_avg_sq: 'square', momentum_buffer: 'velocity' }[kindOfState]!;
      const group = facts.groups.findIndex((names) => names.includes(name));
      const named = (state.states[group] as Record<string, Named>)[ours]!;
      expectClose(key, await named[name]!.toArray(), data, 2e-6);
    }
    expect(Object.keys(flat).length).toBeGreaterThan(0);
  });

  it('clip: norms and clipped gradients', async () => {
    const { cases } = json('clip') as { cases: readonly { max_norm: number; total_norm: number }[] };
    const expected = await arrays('clip');
    const names = facts.groups.flat();
    const gradients = Object.fromEntries(
      names.map((name) => [name, tensor(expected[`gradient.${name}`]!.data, expected[`gradient.${name}`]!.shape)]),
    );
    for (const [i, { max_norm: maxNorm, total_norm: totalNorm }] of cases.entries()) {
      const { gradients: clipped, norm } = clipByGlobalNorm(gradients, maxNorm);
      expectClose('norm', [await norm.item()], [totalNorm], 2e-6);
      for (const name of names) {
        expectClose(`${name}, case ${i}`, await clipped[name]!.toArray(), expected[`clipped.${i}.${name}`]!.data, 2e-6);
      }
    }
  });
});

describe('closed forms', () => {
  beforeEach(() => setEngine(referenceEngine()));

  /** The parameter after each of `count` updates by a gradient that may depend on it. */
  async function descend<State>(
    optimizer: Optimizer<State>,
    start: number[],
    gradient: (w: Tensor) => Tensor,
    rate: number,
    count: number,
  ) {
    const step = compile((state: { w: Tensor; inner: State }) => {
      const { parameters, state: inner } = optimizer.update(
        { w: state.w },
        { w: gradient(state.w) },
        state.inner,
        scalar(rate),
      );
      return { w: parameters.w!, inner };
    });
    let state = { w: tensor(start), inner: optimizer.init({ w: tensor(start) }) };
    const path: number[][] = [];
    for (let i = 0; i < count; i++) {
      state = await step(state);
      path.push(await state.w.toArray());
    }
    return path;
  }
  const always = (values: number[]) => () => tensor(values);

  it('AdamW: the first step has the size of the rate, whatever the gradient', async () => {
    const [after] = await descend(adamW({ epsilon: 0 }), [1, 2, 3], always([1e-6, -5, 1e4]), 0.1, 1);
    expectClose('w', after!, [0.9, 2.1, 2.9], 1e-7);
  });
  it('AdamW: under a constant gradient every step is rate · g / (|g| + ε)', async () => {
    const path = await descend(adamW({ epsilon: 0.5 }), [1, 1], always([0.5, -2]), 0.1, 50);
    path.forEach(([a, b], i) => {
      expectClose(`step ${i}`, [a!, b!], [1 - 0.1 * 0.5 * (i + 1), 1 + 0.1 * 0.8 * (i + 1)], 1e-6);
    });
  });
  it('AdamW: does not see the scale of the gradients', async () => {
    const loss = (scale: number) => (w: Tensor) => w.sub(0.3).mul(scale);
    const [small, large] = [
      await descend(adamW({ epsilon: 0 }), [1, -2], loss(1), 0.05, 20),
      await descend(adamW({ epsilon: 0 }), [1, -2], loss(1000), 0.05, 20),
    ];
    expectClose('last', large.at(-1)!, small.at(-1)!, 1e-6);
  });
  it('AdamW: decay is decoupled: without a gradient signal w shrinks by 1 - rate · λ, for the tensors that decay', async () => {
    const optimizer = adamW({ weightDecay: 0.5 });
    const parameters = { matrix: tensor([[4]]), bias: tensor([4]) };
    const nothing = { matrix: tensor([[0]]), bias: tensor([0]) };
    const { parameters: after } = optimizer.update(parameters, nothing, optimizer.init(parameters), scalar(0.125));
    expect([await after.matrix!.item(), await after.bias!.item()]).toEqual([3.75, 4]);
    const byName = adamW({ weightDecay: 0.5, decays: (name) => name === 'bias' });
    const { parameters: other } = byName.update(parameters, nothing, byName.init(parameters), scalar(0.125));
    expect([await other.matrix!.item(), await other.bias!.item()]).toEqual([4, 3.75]);
  });
  it('AdamW: a parameter without a gradient is left alone', async () => {
    const optimizer = adamW({ weightDecay: 0.5 });
    const parameters = { a: tensor([[1]]), b: tensor([[2]]) };
    const state = optimizer.init(parameters);
    const updated = optimizer.update(parameters, { a: tensor([[1]]) }, state, scalar(0.1));
    expect(updated.parameters.b).toBe(parameters.b);
    expect(await updated.state.mean.b!.item()).toBe(0);
    expect(await updated.state.step.item()).toBe(1);
  });
  it('AdamW: the bias correction is right after a hundred thousand steps, in float32', async () => {
    setEngine(onnxruntimeEngine());
    for (const t of [0, 1, 9, 999, 99_999]) {
      const optimizer = adamW({ epsilon: 0 });
      // With m = (1 - β₁ᵗ) and v = (1 - β₂ᵗ) as after t unit gradients, the next step has the size of the rate.
      const state = {
        step: tensor(t, [], 'int32'),
        mean: { w: tensor([1 - 0.9 ** t]) },
        square: { w: tensor([1 - 0.999 ** t]) },
      };
      const { parameters } = optimizer.update({ w: tensor([0]) }, { w: tensor([1]) }, state, scalar(1));
      expectClose(`t = ${t}`, await parameters.w!.toArray(), [-1], 2e-6);
    }
  });
  it('SGD: on a quadratic, w shrinks by 1 - rate · curvature', async () => {
    const path = await descend(sgd(), [3], (w) => w.mul(2), 0.125, 30);
    path.forEach(([w], i) => {
      expectClose(`step ${i}`, [w!], [3 * 0.75 ** (i + 1)], 1e-9);
    });
  });
  it('SGD: momentum under a constant gradient approaches rate · g / (1 - μ) per step', async () => {
    const mu = 0.9;
    const sums = (i: number) => (1 - mu ** (i + 1)) / (1 - mu);
    const plain = await descend(sgd({ momentum: mu }), [0], always([2]), 0.125, 20);
    const nesterov = await descend(sgd({ momentum: mu, nesterov: true }), [0], always([2]), 0.125, 20);
    let [w, v] = [0, 0];
    for (let i = 0; i < 20; i++) {
      w -= 0.125 * 2 * sums(i);
      v -= 0.125 * 2 * (1 + mu * sums(i));
      expectClose(`step ${i}`, [plain[i]![0]!, nesterov[i]![0]!], [w, v], 1e-9);
    }
  });
  it('clipping keeps the direction, and small gradients as they are', async () => {
    const gradients = { a: tensor([3, 0]), b: tensor([[4]]) };
    const { gradients: clipped, norm } = clipByGlobalNorm(gradients, 1);
    expect(await norm.item()).toBe(5);
    expectClose('a', await clipped.a!.toArray(), [0.6, 0], 1e-6);
    expectClose('norm', [await globalNorm(clipped).item()], [1], 1e-6);
    const { gradients: same } = clipByGlobalNorm(gradients, 10);
    expect(await same.b!.toArray()).toEqual([4]);
  });
  it('refuses options that do not exist', () => {
    expect(() => adamW({ weightdecay: 1 } as never)).toThrow(/weightDecay/);
    expect(() => sgd({ nestrov: true } as never)).toThrow(/nesterov/);
  });
});
