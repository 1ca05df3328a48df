import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  compile,
  Key,
  referenceEngine,
  setEngine,
  stopGradient,
  type Tensor,
  tensor,
  valueAndGrad,
} from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { mapNamed, type Named, sgd } from '@posttrain/core-tensor/optim';
import type { Generator } from '@posttrain/interfaces';
import { loadWeights } from '@posttrain/lm';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { failuresOf } from '../../../testing/failures-of.js';
import { streamRows } from '../../data/src/index.js';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import {
  addImportance,
  aGem,
  aGemRule,
  competenceCurriculum,
  drawnTokens,
  empiricalFisherDiagonal,
  ewc,
  experienceReplay,
  fisherDiagonal,
  generativeReplay,
  hiddenStates,
  l2Sp,
  learningWithoutForgetting,
  masImportance,
  negativeLogLikelihood,
  oLora,
  type Penalty,
  type ReplayBuffer,
  type RowSource,
  refineOutputs,
  reservoirBuffer,
  ringBuffer,
  selectByClusters,
  sft,
  synthesizeInstances,
  Trainer,
  type TrainingRow,
  tokenizeRows,
  toTrainingRows,
  updateByRule,
} from '../src/index.js';
import { testPenalty, testRowSource } from '../src/testing/index.js';
import { contents, expectClose, modelOf } from './model.js';
import { learnNext, learnt, tasks } from './replay-run.js';

const rowsOf = (sequences: number[][]): TrainingRow[] => {
  const count = sequences.reduce((sum, { length }) => sum + length - 1, 0);
  return sequences.map((tokens) => ({ tokens, weights: tokens.slice(1).map(() => 1 / count) }));
};
const old = rowsOf([
  [3, 17, 24, 9, 12],
  [9, 2, 31],
]);
const next = rowsOf([
  [3, 17, 5, 6, 7],
  [9, 2, 8],
]);

type Numbers = Readonly<Record<string, readonly number[]>>;
interface Described {
  readonly value: number;
  readonly gradient: Numbers;
}
const goldens = join(import.meta.dirname, '../../../goldens');
const facts = JSON.parse(readFileSync(join(goldens, 'continual/continual.json'), 'utf8')) as {
  readonly sequences: readonly (readonly number[])[];
  readonly shown: string;
  readonly importances: Readonly<Record<'fisher' | 'empirical' | 'mas', readonly number[]>>;
  readonly penalties: {
    readonly shapes: Numbers;
    readonly parameters: Numbers;
    readonly anchors: Numbers;
    readonly first: Numbers;
    readonly second: Numbers;
    readonly online_fisher: Numbers;
    readonly lambda: number;
    readonly gamma: number;
    readonly alpha: number;
    readonly beta: number;
    readonly ewc: Described;
    readonly online: Described;
    readonly l2_sp: Described;
  };
  readonly lwf: {
    readonly lambda: number;
    readonly temperature: number;
    readonly teacher: readonly number[];
    readonly loss: number;
    readonly nll: number;
    readonly distillation: number;
    readonly gradient: readonly number[];
  };
  readonly ssr: {
    readonly vectors: readonly (readonly number[])[];
    readonly count: number;
    readonly clusters: number;
    readonly selected: readonly number[];
  };
  readonly a_gem: readonly {
    readonly g: readonly number[];
    readonly reference: readonly number[];
    readonly interference: number;
    readonly step: readonly number[];
  }[];
};
const llama = () => loadWeights(join(goldens, 'models/llama'));
const sizeOf = (numbers: readonly number[]) => Math.max(...numbers.map(Math.abs));

const tensorsOf = (numbers: Numbers, shapes: Numbers): Named =>
  Object.fromEntries(Object.entries(numbers).map(([name, x]) => [name, tensor([...x], [...shapes[name]!])]));

beforeAll(() => setEngine(referenceEngine()));

const start = async () => Trainer.create(await tinyModel('llama', 3), { optimizer: sgd(), maxGradNorm: 0 });
const lossOf = async (trainer: Trainer, rows: readonly TrainingRow[], parameters?: Named) =>
  (await trainer.evaluate(rows, negativeLogLikelihood, parameters ? { parameters } : {})).loss;

async function train(
  trainer: Trainer,
  rows: readonly TrainingRow[],
  steps: number,
  { penalties = [], learningRate = 0.3 }: { penalties?: readonly Penalty[]; learningRate?: number } = {},
) {
  for (let step = 0; step < steps; step++) {
    await trainer.forwardBackward(rows, negativeLogLikelihood);
    await trainer.optimStep({ learningRate, penalties });
  }
}

describe('elastic weight consolidation', () => {
  it('learns the new task and forgets less of the old one; λ 0 changes nothing', async () => {
    const results: { before: readonly [number, number]; old: number; next: number }[] = [];
    for (const lambda of [undefined, 0, 10]) {
      const trainer = await start();
      await train(trainer, old, 5);
      const anchors = await trainer.copyParameters();
      const fisher = await fisherDiagonal(trainer, old, { samples: 4 });
      const before = [await lossOf(trainer, old), await lossOf(trainer, next)] as const;
      const penalties = lambda === undefined ? [] : [ewc({ anchors, fisher, lambda })];
      await train(trainer, next, 60, { penalties, learningRate: 0.02 });
      results.push({ before, old: await lossOf(trainer, old), next: await lossOf(trainer, next) });
    }
    const [plain, none, held] = results as [(typeof results)[0], (typeof results)[0], (typeof results)[0]];
    expectClose([none.old, none.next], [plain.old, plain.next], 1e-6);
    expect(plain.old).toBeGreaterThan(plain.before[0] + 0.1);
    expect(held.old - held.before[0]).toBeLessThan(0.75 * (plain.old - plain.before[0]));
    expect(held.next).toBeLessThan(held.before[1] - 2);
  });

  it('pulls with λ F (θ - θ*), is nothing at the anchor, and is logged', async () => {
    const trainer = await start();
    const anchors = await trainer.copyParameters();
    const ones = mapNamed(anchors, (x) => x.mul(0).add(1));
    const name = 'model.norm.weight';
    const shifted = { ...anchors, [name]: anchors[name]!.add(0.5) };
    const zero = mapNamed(anchors, (x) => x.mul(0));
    const at = await trainer.optimStep({
      learningRate: 1,
      gradients: zero,
      penalties: [ewc({ anchors, fisher: ones, lambda: 2 })],
    });
    expect([at.gradNorm, at.penalties.ewc]).toEqual([0, 0]);
    await trainer.assign(shifted);
    // 2 / 2 · 16 · 0.25, with the gradient 2 · 0.5 in 16 places.
    const away = await trainer.optimStep({
      learningRate: 0.25,
      gradients: zero,
      penalties: [ewc({ anchors, fisher: ones, lambda: 2 })],
    });
    expectClose([away.penalties.ewc!, away.gradNorm], [4, 4], 1e-5);
    const moved = await trainer.parameters[name]!.sub(anchors[name]!).toArray();
    expectClose(
      moved,
      moved.map(() => 0.25),
      1e-6,
    );
    const { [name]: _, ...fewer } = ones;
    expect(() => ewc({ anchors, fisher: fewer, lambda: 1 })).toThrow(/same parameters/);
  });

  it('takes other anchors and another λ without a new graph', async () => {
    let traced = 0;
    const trainer = await start();
    const compute = (parameters: Named, { factor }: Named): Tensor => {
      traced++;
      return parameters['model.norm.weight']!.square().sum().mul(factor!);
    };
    const anchors = await trainer.copyParameters();
    const zero = mapNamed(anchors, (x) => x.mul(0));
    const factorOf = (value: number) => anchors['model.norm.weight']!.slice(0, 0, 1).mul(0).add(value).sum();
    for (const value of [1, 2, 3]) {
      const penalty: Penalty = { name: 'norm', tensors: { factor: factorOf(value) }, compute };
      await trainer.optimStep({ learningRate: 0, gradients: zero, penalties: [penalty] });
    }
    expect(traced).toBe(1);
  });
});

describe('A-GEM', () => {
  const gradientsOf = async (trainer: Trainer, rows: readonly TrainingRow[]) => {
    await trainer.forwardBackward(rows, negativeLogLikelihood);
    return trainer.takeGradients();
  };

  it('turns a gradient that hurts what is remembered, and leaves one that does not', async () => {
    const trainer = await start();
    await train(trainer, old, 12);
    const [g, memory] = [await gradientsOf(trainer, next), await gradientsOf(trainer, old)];
    const { gradients, interference } = await aGem(g, memory);
    expect(interference).toBeLessThan(0);
    const after = await aGem(gradients, memory);
    expect(Math.abs(after.interference)).toBeLessThan(1e-5 * Math.abs(interference));
    const same = await aGem(memory, memory);
    expect(same.interference).toBeGreaterThan(0);
    for (const [name, x] of Object.entries(same.gradients))
      expect(await x.toArray()).toEqual(await memory[name]!.toArray());
  });

  it.each(facts.a_gem)(
    'projects as eq. 11 says, at g · g_ref = $interference',
    async ({ g, reference, ...expected }) => {
      const named = (x: readonly number[]): Named => ({ a: tensor(x.slice(0, 4), [2, 2]), b: tensor(x.slice(4), [2]) });
      const { gradients, interference } = await aGem(named(g), named(reference));
      expectClose([interference], [expected.interference], 1e-5);
      const step = [...(await gradients.a!.toArray()), ...(await gradients.b!.toArray())];
      expectClose(step, expected.step, 1e-6);
    },
  );

  it('as the rule of updates draws from one memory, and steps against none of it', async () => {
    const trainer = await start();
    await train(trainer, old, 12);
    const memory = await gradientsOf(trainer, old);
    const at = await trainer.copyParameters();
    const rule = aGemRule({ memory: old, batchSize: 2 });
    const { metrics } = await updateByRule(trainer, rule, next, negativeLogLikelihood, { learningRate: 1 });
    expect(metrics['a_gem/projected']).toBe(1);
    const moved = mapNamed(at, (p, name) => p.sub(trainer.parameters[name]!));
    const { interference } = await aGem(moved, memory);
    expect(Math.abs(interference)).toBeLessThan(1e-4 * Math.abs(metrics['a_gem/interference']!));
    expect(() => aGemRule({ memory: [] })).toThrow(/at least one row/);
  });

  it('steps that raise the loss of what is remembered no longer do, to first order, and the new one falls', async () => {
    const trainer = await start();
    await train(trainer, old, 12);
    const at = await trainer.copyParameters();
    const before = { old: await lossOf(trainer, old), next: await lossOf(trainer, next) };
    const [g, memory] = [await gradientsOf(trainer, next), await gradientsOf(trainer, old)];
    const changes: { old: number; next: number }[] = [];
    for (const gradients of [g, (await aGem(g, memory)).gradients]) {
      await trainer.optimStep({ learningRate: 1e-3, gradients });
      changes.push({
        old: (await lossOf(trainer, old)) - before.old,
        next: (await lossOf(trainer, next)) - before.next,
      });
      await trainer.assign(at);
    }
    expect(changes[0]!.old).toBeGreaterThan(0);
    expect(Math.abs(changes[1]!.old)).toBeLessThan(changes[0]!.old / 10);
    expect(changes[1]!.next).toBeLessThan(0);
    // The step that was taken back is gone.
    expect(await lossOf(trainer, old)).toBeCloseTo(before.old, 6);
  });
});

describe('importances', () => {
  const given = () => rowsOf(facts.sequences.map((row) => [...row]));
  const startLlama = async () => Trainer.create(modelOf(await llama()), { optimizer: sgd(), maxGradNorm: 0 });

  it.each([
    ['empirical', (trainer: Trainer) => empiricalFisherDiagonal(trainer, given(), negativeLogLikelihood)],
    ['mas', (trainer: Trainer) => masImportance(trainer, given())],
  ] as const)("%s: those of torch's autograd, row by row", async (name, importanceOf) => {
    const trainer = await startLlama();
    const found = await (await importanceOf(trainer))[facts.shown]!.toArray();
    expectClose(found, facts.importances[name], 1e-5 * sizeOf(facts.importances[name]));
  });

  it('the Fisher diagonal tends to the enumeration of all labels; the labels of the rows give another', async () => {
    setEngine(onnxruntimeEngine());
    onTestFinished(() => setEngine(referenceEngine()));
    const trainer = await startLlama();
    const found = await (await fisherDiagonal(trainer, given(), { samples: 60, seed: 5 }))[facts.shown]!.toArray();
    const { fisher, empirical } = facts.importances;
    const apart = (a: readonly number[]) => {
      const total = a.reduce((sum, x, i) => sum + Math.abs(x - fisher[i]!), 0);
      return total / fisher.reduce((x, y) => x + y);
    };
    expect(apart(found)).toBeLessThan(0.2);
    expect(apart(empirical)).toBeGreaterThan(2 * apart(found));
  });

  it('of a model that has learnt its rows: labels of its own still say what matters, those of the rows no longer', async () => {
    const trainer = await start();
    await train(trainer, old, 80);
    const total = async (named: Named) => {
      const all = await Promise.all(Object.values(named).map((x) => x.toArray()));
      return all.flat().reduce((a, b) => a + b, 0);
    };
    const own = await total(await fisherDiagonal(trainer, old, { samples: 24 }));
    const ofRows = await total(await empiricalFisherDiagonal(trainer, old, negativeLogLikelihood));
    const { gradients } = await trainer.gradients(old, negativeLogLikelihood);
    const ofBatch = await total(mapNamed(gradients, (g) => g.square()));
    expect(own).toBeGreaterThan(3 * ofRows);
    expect(ofRows).toBeGreaterThan(3 * ofBatch);
    await expect(fisherDiagonal(trainer, [])).rejects.toThrow(/there are none; give some/);
    await expect(fisherDiagonal(trainer, old, { samples: 0 })).rejects.toThrow(/samples/);
  });

  it('MAS of an output layer is |2 Σ z hᵀ|, as of any linear model', async () => {
    const trainer = await start();
    const importance = (await masImportance(trainer, old))['lm_head.weight']!;
    const matrix = await trainer.parameters['lm_head.weight']!.toArray();
    const [vocabulary, width] = importance.shape as [number, number];
    const states = await trainer.read(old, hiddenStates);
    const expected = new Array<number>(vocabulary * width).fill(0);
    for (const [r, { tokens }] of old.entries()) {
      const slope = new Array<number>(vocabulary * width).fill(0);
      for (let t = 0; t < tokens.length - 1; t++) {
        const h = states[r]!.slice(t * width, (t + 1) * width);
        for (let v = 0; v < vocabulary; v++) {
          const z = h.reduce((sum, x, i) => sum + x * matrix[v * width + i]!, 0);
          for (const [i, x] of h.entries()) slope[v * width + i]! += 2 * z * x;
        }
      }
      for (const [i, x] of slope.entries()) expected[i]! += Math.abs(x) / old.length;
    }
    expectClose(await importance.toArray(), expected, 1e-5 * sizeOf(expected));
  });

  it('labels are drawn by their probability, whatever the chunks of the vocabulary', async () => {
    const trainer = await start();
    const row = old[1]!;
    const us = Array.from({ length: 200 }, (_, i) => (i + 0.5) / 200);
    const asked = us.map((u) => ({ ...row, annotations: { u: [u, u] } }));
    const [whole, parts] = [{}, { chunkSize: 7 }].map((options) => drawnTokens({ uniforms: 'u', ...options }));
    const labels = await trainer.read(asked, whole!);
    expect(await trainer.read(asked, parts!)).toEqual(labels);
    for (const token of [0, 17, 39]) {
      const { loss } = await trainer.evaluate([{ tokens: [9, token], weights: [1] }], negativeLogLikelihood);
      const share = labels.filter(([first]) => first === token).length / us.length;
      expect(Math.abs(share - Math.exp(-loss))).toBeLessThanOrEqual(1 / 200);
    }
  });

  it('add up over tasks, or fade; of other parameters they are refused', async () => {
    const { online_fisher, gamma, shapes, first, second } = facts.penalties;
    const online = await addImportance(tensorsOf(first, shapes), tensorsOf(second, shapes), { gamma });
    for (const [name, x] of Object.entries(online)) expectClose(await x.toArray(), online_fisher[name]!, 1e-6);
    const { head: _, ...fewer } = tensorsOf(second, shapes);
    await expect(addImportance(fewer, tensorsOf(first, shapes))).rejects.toThrow(/head is not in both/);
    expect(await addImportance(undefined, fewer)).toBe(fewer);
  });
});

describe('penalties', () => {
  const { shapes, parameters, anchors, first, lambda, alpha, beta, online_fisher: online } = facts.penalties;
  const at = tensorsOf(anchors, shapes);
  const { head: _, ...known } = at;
  const cases: [keyof typeof facts.penalties, () => Penalty][] = [
    ['ewc', () => ewc({ anchors: at, fisher: tensorsOf(first, shapes), lambda })],
    ['online', () => ewc({ anchors: at, fisher: tensorsOf(online, shapes), lambda })],
    ['l2_sp', () => l2Sp({ anchors: known, alpha, beta })],
  ];
  it.each(cases)('%s: value and gradient of torch in float64', async (name, make) => {
    const { compute, tensors } = make();
    const both = compile((p: Named, given: Named) => valueAndGrad((x: Named) => compute(x, given))(p));
    const { value, gradient } = await both(tensorsOf(parameters, shapes), tensors!);
    const expected = facts.penalties[name] as Described;
    expectClose([await value.item()], [expected.value], 1e-5 * expected.value);
    for (const [key, x] of Object.entries(gradient as Named)) {
      expectClose(await x.toArray(), expected.gradient[key]!, 1e-5 * Math.max(1, sizeOf(expected.gradient[key]!)));
    }
  });

  /** Σ b/2 (θ - μ)² of the second task, whose curvature and optimum are these. */
  const [curvature, optimum] = [
    [0.5, 2, 8],
    [3, -1, 0.5],
  ] as const;
  const [before, importance] = [
    [1, 1, -2],
    [4, 0.25, 1],
  ] as const;
  const named = (x: readonly number[]): Named => ({ w: tensor([...x], [3]) });
  it.each<[string, () => Penalty | Promise<Penalty>, readonly number[]]>([
    // With λ = 1 and the curvature of the first task, that of both tasks together: what learning them jointly would find.
    ['EWC at λ 1', () => ewc({ anchors: named(before), fisher: named(importance), lambda: 1 }), importance],
    ['EWC at λ 0', () => ewc({ anchors: named(before), fisher: named(importance), lambda: 0 }), [0, 0, 0]],
    [
      'online EWC',
      async () => {
        const fisher = await addImportance(named(importance), named(importance), { gamma: 0.5 });
        return ewc({ anchors: named(before), fisher, lambda: 2 });
      },
      importance.map((x) => 3 * x),
    ],
    ['L2-SP', () => l2Sp({ anchors: named(before), alpha: 3 }), [3, 3, 3]],
  ])('%s: the minimum with a quadratic task is the mean, weighted by curvatures', async (_name, make, weights) => {
    const { compute, tensors } = await make();
    const step = compile((w: Named, given: Named) => {
      const loss = (x: Named) =>
        x
          .w!.sub(tensor([...optimum], [3]))
          .square()
          .mul(tensor([...curvature], [3]))
          .sum()
          .mul(0.5)
          .add(compute(x, given));
      const { gradient } = valueAndGrad(loss)(w);
      return { w: w.w!.sub((gradient as Named).w!.mul(0.05)) };
    });
    let w = named([0, 0, 0]);
    for (let i = 0; i < 400; i++) w = await step(w, tensors!);
    const expected = optimum.map(
      (mu, i) => (curvature[i]! * mu + weights[i]! * before[i]!) / (curvature[i]! + weights[i]!),
    );
    expectClose(await w.w!.toArray(), expected, 1e-3);
  });
});

describe('learning without forgetting', () => {
  it("has torch's loss and gradient, which is that of the labels alone where teacher and student agree", async () => {
    const { lambda, temperature, teacher: norm, ...expected } = facts.lwf;
    const parts = await llama();
    const student = modelOf(parts);
    const teacher = student.withWeights({ ...student.weights, [facts.shown]: tensor([...norm], [norm.length]) });
    const trainer = await Trainer.create(student, { optimizer: sgd(), maxGradNorm: 0 });
    const rows = rowsOf(facts.sequences.map((row) => [...row]));
    const loss = learningWithoutForgetting({ teacher, teacherName: 'a', lambda, temperature });
    const { gradients, ...found } = await trainer.gradients(rows, loss);
    expectClose([found.loss, found.metrics.nll!], [expected.loss, expected.nll], 1e-5);
    expectClose([found.metrics.distillation!], [expected.distillation], 1e-5);
    expectClose(await gradients[facts.shown]!.toArray(), expected.gradient, 1e-4 * sizeOf(expected.gradient));
    const alone = await trainer.gradients(rows, negativeLogLikelihood);
    const agreed = await trainer.gradients(
      rows,
      learningWithoutForgetting({ teacher: student, teacherName: 'b', lambda: 7 }),
    );
    expect(Math.abs(agreed.metrics.distillation!)).toBeLessThan(1e-6);
    const plain = await alone.gradients[facts.shown]!.toArray();
    expectClose(await agreed.gradients[facts.shown]!.toArray(), plain, 1e-5 * sizeOf(plain));
    expect(() => learningWithoutForgetting({ teacher: 'old' as never, teacherName: 'c' })).toThrow(/teacher is/);
  });
});

describe('a memory of rows', () => {
  const rows = Array.from({ length: 40 }, (_, i) => ({ text: `row ${i}` }));

  it('a reservoir keeps every row with the same probability, whenever it came', () => {
    const counts = new Array<number>(40).fill(0);
    const seeds = 800;
    for (let seed = 0; seed < seeds; seed++) {
      const buffer = reservoirBuffer<object>(10, { seed });
      for (let from = 0; from < 40; from += 8) buffer.add(rows.slice(from, from + 8));
      expect(buffer.rows).toHaveLength(10);
      for (const row of buffer.rows) counts[rows.indexOf(row as (typeof rows)[0])]!++;
    }
    // χ² of 39 degrees of freedom: above 75 by chance once in two thousand.
    const expected = seeds / 4;
    const statistic = counts.reduce((sum, count) => sum + (count - expected) ** 2 / (expected * 0.75), 0);
    expect(statistic).toBeLessThan(75);
  });

  it('a ring keeps the last rows of every task; bad uses are refused', () => {
    const ring = ringBuffer<object>(3);
    ring.add(rows.slice(0, 5), 'a');
    ring.add(rows.slice(5, 7), 'b');
    ring.add(rows.slice(7, 8), 'a');
    expect(ring.rows).toEqual([rows[3], rows[4], rows[7], rows[5], rows[6]]);
    expect(() => ring.add(rows)).toThrow(/their task is not said/);
    expect(() => reservoirBuffer(0)).toThrow(/capacity is 0/);
    expect(() => experienceReplay([], { buffer: ring })).toThrow(/rows are empty/);
    expect(() => experienceReplay(rows, { buffer: {} as ReplayBuffer<object> })).toThrow(/buffer/);
  });

  it('stands among new rows, γ for each, once there is something in it', async () => {
    const [old, fresh] = [rows.slice(0, 10), rows.slice(10)];
    const buffer = reservoirBuffer<object>(20);
    const take = async (given: { gamma?: number; adds?: boolean }, requests: number) => {
      const source = experienceReplay<object>(fresh, { buffer, ...given });
      const taken: object[] = [];
      for (let step = 0; step < requests; step++) {
        const next = await source.next({ count: 20, step, key: Key.fromSeed(step) });
        taken.push(...next.map(({ row }) => row));
      }
      return taken;
    };
    expect((await take({ adds: false }, 1)).every((row) => fresh.includes(row as (typeof rows)[0]))).toBe(true);
    buffer.add(old);
    const taken = await take({ gamma: 0.5, adds: false }, 30);
    const share = taken.filter((row) => old.includes(row as (typeof rows)[0])).length / taken.length;
    expect(Math.abs(share - 1 / 3)).toBeLessThan(3 * Math.sqrt(2 / 9 / 600));
    expect(buffer.rows).toEqual(old);
    await take({}, 2);
    expect(buffer.rows.length).toBe(20);
  });
});

describe('trial parameters', () => {
  it('give their loss without being taken: accepted, they are the parameters', async () => {
    const trainer = await start();
    await trainer.forwardBackward(next, negativeLogLikelihood);
    const gradients = await trainer.takeGradients();
    const before = await lossOf(trainer, next);
    const at = await trainer.copyParameters();
    const trial = (rate: number) => mapNamed(at, (p, name) => p.sub(gradients[name]!.mul(rate)));
    // Backtracking, as a line search does it.
    let rate = 100;
    while ((await lossOf(trainer, next, trial(rate))) >= before) rate /= 2;
    expect(rate).toBeLessThan(100);
    expect(await lossOf(trainer, next)).toBe(before);
    const expected = await lossOf(trainer, next, trial(rate));
    await trainer.assign(trial(rate));
    expectClose([await lossOf(trainer, next)], [expected], 1e-6);
    expect(trainer.step).toBe(0);
    await expect(trainer.assign({})).rejects.toThrow(/none of the shape of/);
    await trainer.forwardBackward(next, negativeLogLikelihood);
    await expect(trainer.assign(at)).rejects.toThrow(/gradients have been added/);
  });
});

describe('generative replay', () => {
  beforeAll(() => setEngine(onnxruntimeEngine()));

  /** Half of its samples, told by their seeds, are empty. */
  const scripted = (asked: { prompt: unknown; seed?: number | undefined }[]): Generator => ({
    name: 'scripted',
    async generate(requests) {
      asked.push(...requests);
      return requests.map(({ seed = 0 }) => {
        const text = (seed / 2 ** 24) % 2 === 0 ? '' : 'abc';
        return [{ text, finishReason: 'stop', usage: { promptTokens: 1, completionTokens: 1 } }];
      });
    },
  });

  it('has γ replayed rows for each fresh one, every fresh one before one comes again, and is a function of the request', async () => {
    const asked: { prompt: unknown }[] = [];
    const fresh = Array.from({ length: 40 }, (_, i) => ({ text: `fresh ${i}` }));
    const options = {
      generator: scripted(asked),
      generatorName: 'scripted',
      gamma: 0.5,
      prompts: ['x', 'y'],
      attempts: 12,
    };
    const source = generativeReplay<object>(fresh, options);
    const rows: object[] = [];
    for (let step = 0; step < 30; step++) {
      rows.push(...(await source.next({ count: 20, step, key: Key.fromSeed(step) })).map(({ row }) => row));
    }
    const replayed = rows.filter((row) => 'completion' in row);
    // A third, within three standard deviations of 600 draws.
    expect(Math.abs(replayed.length / rows.length - 1 / 3)).toBeLessThan(3 * Math.sqrt(2 / 9 / 600));
    expect(new Set(replayed.map((row) => JSON.stringify(row)))).toEqual(
      new Set(['x', 'y'].map((prompt) => JSON.stringify({ prompt, completion: 'abc' }))),
    );
    const others = rows.filter((row) => 'text' in row);
    expect(new Set(others.slice(0, 40))).toEqual(new Set(fresh));

    const again = generativeReplay<object>(fresh, options);
    await again.load!(JSON.parse(JSON.stringify(source.state!())));
    const request = { count: 20, step: 30, key: Key.fromSeed(30) };
    expect(await again.next(request)).toEqual(await source.next(request));
    const none = generativeReplay<object>(fresh, { ...options, gamma: 0 });
    asked.length = 0;
    await none.next(request);
    expect(asked).toEqual([]);
  });

  it('forgets less of the old task, and learns the new one', async () => {
    const differences: number[] = [];
    for (const seed of [1, 2, 3]) {
      const before = await learnt(seed);
      const measured = async (trainer: Trainer, rows: (typeof tasks)['old']) => {
        const trained = toTrainingRows(tokenizeRows(before, rows).rows);
        const { loss, metrics } = await trainer.evaluate(trained, negativeLogLikelihood);
        return { loss, accuracy: metrics.mean_token_accuracy! };
      };
      const [plain, replayed] = [(await learnNext(seed, 0)).trainer, (await learnNext(seed, 1)).trainer];
      const losses = [(await measured(plain, tasks.old)).loss, (await measured(replayed, tasks.old)).loss];
      differences.push(Math.log(losses[0]! / losses[1]!));
      for (const trainer of [plain, replayed])
        expect((await measured(trainer, tasks.next)).accuracy).toBeGreaterThan(0.8);
    }
    // By a third at least: Student's t with two degrees of freedom, 95 %.
    const mean = differences.reduce((a, b) => a + b) / 3;
    const error = Math.sqrt(differences.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2 / 3);
    expect(mean - 4.303 * error, String(differences)).toBeGreaterThan(0.3);
  });

  it('in a run that is killed goes on to the same bits and the same place among the rows', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'posttrain-replay-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const whole = await learnNext(1, 1, { steps: 8 });
    const killAt = 2 + Math.floor(Math.random() * 4);
    const script = join(import.meta.dirname, 'replay-run.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', script, folder, String(killAt)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
    const resumed = await learnNext(1, 1, { steps: 8, outputFolder: folder, resume: true, onWarning: () => {} });
    expect(await contents(resumed.trainer), `killed at step ${killAt}`).toEqual(await contents(whole.trainer));
    expect(resumed.rows.state!()).toEqual(whole.rows.state!());
    expect(whole.rows.state!()).not.toBe(48);
  });

  it('sft refuses it without steps', async () => {
    const rows = generativeReplay<object>(tasks.next, { generator: scripted([]), generatorName: 'scripted' });
    const message = /steps is missing; say how many updates there are. Rows of a source \(generative-replay\)/;
    await expect(sft({ model: await tinyModel('llama'), rows: rows as never })).rejects.toThrow(message);
  });
});

describe('self-synthesized rehearsal', () => {
  /** Writes sums, of which some are no instance, and of which every answer is wrong. */
  const scripted = (asked: string[], isSilent = false): Generator => ({
    name: 'scripted',
    async generate(requests) {
      asked.push(...requests.map(({ prompt }) => prompt as string));
      return requests.map((_, i) => {
        const sum = `${i % 5}+${i % 7}`;
        const text = isSilent || i % 11 === 0 ? ` ${sum}` : ` ${sum}\nOutput: wrong\n\nInput: 1+1`;
        return [{ text, finishReason: 'stop', usage: { promptTokens: 1, completionTokens: 1 } }];
      });
    },
  });
  const embedder = { name: 'first summand', embed: async (texts: readonly string[]) => texts.map(firstOf) };
  const firstOf = (text: string) => Float32Array.from({ length: 5 }, (_, i) => Number(i === Number(text[0])));
  const demonstrations = ['a', 'b', 'c'].map((prompt) => ({ prompt, completion: `${prompt}!` }));
  const options = (asked: string[]) => ({ base: scripted(asked), embedder, count: 10, clusters: 5, seed: 3 });

  it('selects of planted clusters what the script of the authors does, whatever the first centres', () => {
    const { vectors, count, clusters, selected } = facts.ssr;
    for (const seed of [0, 1, 2]) {
      expect(selectByClusters(vectors, { count, clusters, seed }).sort((a, b) => a - b)).toEqual(selected);
    }
    expect(selectByClusters(vectors, { count: 100, clusters, seed: 0 })).toHaveLength(vectors.length);
    expect(selectByClusters([[1, 0], [1, 0]], { count: 1, clusters: 2, seed: 0 })).toHaveLength(1); // biome-ignore format: rows
  });

  it('shows other demonstrations each time, keeps diverse inputs once, and takes its answers from the latest model', async () => {
    const asked: string[] = [];
    const written = await synthesizeInstances(demonstrations, options(asked));
    expect(asked).toHaveLength(30);
    const shown = /^Input: ([abc])\nOutput: \1!\n\nInput: ([abc])\nOutput: \2!\n\nInput:$/;
    for (const prompt of asked) expect(prompt).toMatch(shown);
    // Both orders of every two.
    expect(new Set(asked).size).toBe(6);
    expect(new Set(written.map(({ prompt }) => prompt)).size).toBe(10);
    // As many of each first summand as there are, which differ by one.
    const counts = [0, 1, 2, 3, 4].map((first) => written.filter(({ prompt }) => prompt.startsWith(`${first}`)).length);
    expect(counts).toEqual([2, 2, 2, 2, 2]);
    const latest: Generator = {
      name: 'adds',
      generate: async (requests) =>
        requests.map(({ prompt, temperature }) => {
          expect(temperature).toBe(0);
          const [a, b] = (prompt as string).split('+').map(Number) as [number, number];
          const text = a === 0 ? ' ' : `${a + b}`;
          return [{ text, finishReason: 'stop', usage: { promptTokens: 1, completionTokens: 1 } }];
        }),
    };
    const refined = await refineOutputs(written, latest);
    expect(refined).toHaveLength(8);
    for (const { prompt, completion } of refined) {
      expect(completion).toBe(`${prompt.split('+').reduce((sum, x) => sum + Number(x), 0)}`);
    }
  });

  it('says what it cannot write', async () => {
    await expect(synthesizeInstances(demonstrations.slice(2), options([]))).rejects.toThrow(
      /1 demonstrations, and shots/,
    );
    const silent = { ...options([]), base: scripted([], true) };
    await expect(synthesizeInstances(demonstrations, silent)).rejects.toThrow(
      /None of 30 texts of scripted is an instance/,
    );
  });
});

describe('kits of penalties and of sources of rows', async () => {
  const importances = (like: Named) => mapNamed(like, (x) => x.square().add(0.1));
  testPenalty(it, 'ewc', (anchors) => ewc({ anchors, fisher: importances(anchors), lambda: 3 }), {
    zeroAtAnchor: true,
  });
  testPenalty(it, 'o-lora', (anchors) => oLora({ earlier: [anchors], lambda: 2 }), {
    shapes: { 'm.lora_A.weight': [2, 4], 'n.lora_A.weight': [3, 2] },
  });
  testPenalty(it, 'l2-sp', (anchors) => l2Sp({ anchors, alpha: 2 }), { zeroAtAnchor: true });
  const norm = (parameters: Named) =>
    Object.values(parameters)
      .map((x) => x.square().sum())
      .reduce((a, b) => a.add(b));
  testPenalty(it, 'of the norm', () => ({ name: 'norm', compute: norm }));

  /** A generator that says its seed. */
  const speaking: Generator = {
    name: 'speaking',
    generate: async (requests) =>
      requests.map(({ seed: own }) => [{ text: `old ${own}`, finishReason: 'stop', usage: {} }]) as never,
  };
  const fresh = Array.from({ length: 7 }, (_, i) => ({ prompt: `${i}`, completion: `${i * i}` }));
  const given = { generator: speaking, generatorName: 'speaking' };
  testRowSource(it, () => generativeReplay<object>(fresh, { ...given, gamma: 1 }));
  testRowSource(it, () => generativeReplay<object>(fresh, { ...given, gamma: 0 }), { withoutRepeats: 7 });
  const filled = (buffer: ReplayBuffer<object>) => {
    buffer.add([{ text: 'old 1' }, { text: 'old 2' }], 'before');
    return buffer;
  };
  testRowSource(it, () => experienceReplay<object>(fresh, { buffer: filled(reservoirBuffer(4)) }));
  testRowSource(it, () => experienceReplay<object>(fresh, { buffer: filled(ringBuffer(2)), task: 'now' }));
  testRowSource(it, () => experienceReplay<object>(fresh, { buffer: filled(reservoirBuffer(4)), gamma: 0 }), {
    withoutRepeats: 7,
  });
  const lengths = fresh.map((_, i) => i);
  testRowSource(it, () => competenceCurriculum(fresh, lengths, { steps: 6, initialCompetence: 0.5 }));
  const folder = mkdtempSync(join(tmpdir(), 'stream-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'rows.jsonl'), fresh.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const streams = await Promise.all(Array.from({ length: 24 }, () => streamRows(folder, { bufferSize: 3 })));
  testRowSource(it, () => streams.pop()!, { withoutRepeats: 7 });

  const ours = (anchors: Named): Penalty => ewc({ anchors, fisher: importances(anchors), lambda: 3 });
  it.each<[string, RegExp, (anchors: Named) => Penalty, RegExp]>([
    [
      'a gradient that stops',
      /gradient/,
      (a) => ({ name: 'x', compute: (p) => stopGradient(norm(p)), tensors: a }),
      /the gradient is 0/,
    ],
    [
      'tensors that are constants',
      /reads/,
      (a) => ({ ...ours(a), compute: (p) => ours(a).compute(p, ours(a).tensors!) }),
      /constants of its graph/,
    ],
    [
      'what it does not declare',
      /reads/,
      () => ({ name: 'x', compute: (p, { none }) => norm(p).mul(none ? 2 : 1) }),
      /does not declare/,
    ],
    ['an anchor that is elsewhere', /anchor/, () => ({ name: 'x', compute: norm }), /at its anchor it is/],
    ['no number at all', /one finite/, () => ({ name: 'x', compute: (p) => norm(p).mul(-1).log() }), /it is NaN/],
    ['a vector', /one finite/, () => ({ name: 'x', compute: (p) => Object.values(p)[0]! }), /it is a scalar/],
  ])('%s in a penalty is found', async (_, only, make, message) => {
    const failures = await failuresOf((register) => testPenalty(register, 'x', make, { zeroAtAnchor: true }), only);
    expect(failures.join('\n')).toMatch(message);
  });

  const counting = (): RowSource & { at: number } => ({
    name: 'counting',
    settings: {},
    at: 0,
    next({ count }) {
      return Array.from({ length: count }, () => ({ row: this.at++ }));
    },
    state() {
      return { at: this.at };
    },
    load(state) {
      this.at = (state as { at: number }).at;
    },
  });
  let calls = 0;
  it.each<[string, RegExp, Partial<RowSource>, RegExp]>([
    ['nothing wrong', /^/, {}, /^$/],
    [
      'a row too many',
      /gives the rows/,
      { next: ({ count }) => Array.from({ length: count + 1 }, () => ({ row: 1 })) },
      /was asked for 1 rows/,
    ],
    [
      'rows that are not wrapped',
      /gives the rows/,
      { next: ({ count }) => Array.from({ length: count }, () => 1) as never },
      /is \{ row \}/,
    ],
    [
      'draws of its own',
      /function/,
      { next: ({ count }) => Array.from({ length: count }, () => ({ row: calls++ })) },
      /two of the same settings/,
    ],
    ['a state that it forgets', /goes on/, { load() {} }, /from a saved state/],
    ['a state that is no JSON', /checkpoint keeps/, { state: () => new Map([[1, 2]]) }, /hold the class no more/],
    [
      'a row that comes twice',
      /before one comes/,
      { next: ({ count, step }) => Array.from({ length: count }, () => ({ row: step })) },
      /a row came twice/,
    ],
  ])('%s in a source of rows is found', async (_, only, part, message) => {
    const make = () => Object.assign(counting(), part);
    const failures = await failuresOf((register) => testRowSource(register, make, { withoutRepeats: 6 }), only);
    expect(failures.join('\n')).toMatch(message);
  });
});

describe('competenceCurriculum', () => {
  const rows = Array.from({ length: 40 }, (_, i) => ({ n: (7 * i) % 40 }));
  const difficulties = rows.map(({ n }) => n);

  it('draws every row that is easy enough for the step equally often, and no other', async () => {
    for (const [power, step, part] of [
      // c(t) by hand: a straight line from 0.1, and √(0.01 + 0.99 t / T).
      [1, 0, 0.1],
      [1, 5, 0.55],
      [2, 5, Math.sqrt(0.505)],
      [2, 10, 1],
      [2, 99, 1],
    ] as const) {
      const source = competenceCurriculum(rows, difficulties, { steps: 10, initialCompetence: 0.1, power });
      expect(source.competence(step)).toBeCloseTo(part, 12);
      const counts = new Map<number, number>();
      for (let draw = 0; draw < 200; draw++) {
        const given = await source.next({ count: 3, step, key: Key.fromSeed(draw) });
        for (const { row } of given) counts.set(row.n, (counts.get(row.n) ?? 0) + 1);
      }
      const among = Math.max(1, Math.floor(part * 40 + 1e-9));
      expect([...counts.keys()].sort((a, b) => a - b)).toEqual(Array.from({ length: among }, (_, i) => i));
      // Five standard deviations of a count.
      const mean = 600 / among;
      for (const count of counts.values()) expect(Math.abs(count - mean)).toBeLessThan(5 * Math.sqrt(mean));
    }
  });

  it('gives equally difficult rows together, and says what is no difficulty', async () => {
    const same = competenceCurriculum(
      [1, 2, 3, 4].map((n) => ({ n })),
      [5, 5, 5, 9],
      { steps: 9, initialCompetence: 0.3 },
    );
    const drawn = await same.next({ count: 3, step: 0, key: Key.fromSeed(1) });
    expect(drawn.map(({ row }) => row.n).sort()).toEqual([1, 2, 3]);
    expect(() => competenceCurriculum([{}], [1, 2], { steps: 3 })).toThrow(/there are 2 for 1 rows/);
    expect(() => competenceCurriculum([{}], [Number.NaN], { steps: 3 })).toThrow(/difficulties\[0\] is NaN/);
  });
});
